/** `crayon score --through engine` and `both`: what is served beside what is computed in float32. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { ScoreDifference, ScoreReport } from '../../src/train/score.js';
import { document, ROOT, succeed } from '../e2e/helpers.js';
import { EDGE, edgeGguf, poolAdapter } from '../helpers/edge-gguf.js';
import { temporaryRoot } from '../helpers/files.js';

const dir = temporaryRoot();
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const gguf = edgeGguf();
const DATA = join(ROOT, 'suite', 'route-bank', 'test.jsonl');
const POOL = join(ROOT, 'models', 'crayon-edge-pool');

const args = (through: string, ...more: string[]) => [
  ...['score', '--data', DATA, '--limit', '12', '--through', through, '--cache-dir', join(dir, 'cache'), ...more],
];
interface Both {
  through: string;
  type: string;
  forward: ScoreReport;
  engine: ScoreReport;
  difference: ScoreDifference;
}

describe('crayon score through the engine', () => {
  it.each<[string, string[]]>([
    ['the base', []],
    ['an adapter', ['--adapter', poolAdapter(2)]],
    ['a pool, each example through its own mixture', ['--pool', POOL]],
    ['a pool, two adapters an example', ['--pool', POOL, '--top-k', '2']],
  ])('is close to float32: %s', async (_, more) => {
    const found = (await document(args('both', '--model', EDGE, '--type', 'F32', ...more))) as unknown as Both;
    const { forward, engine, difference } = found;
    expect(found).toMatchObject({ through: 'both', type: 'F32' });
    expect(engine).toMatchObject({ examples: 12, tokens: forward.tokens, acc: forward.acc, accNorm: forward.accNorm });
    // Of the cache in half precision and, with a pool, of coefficients in steps of a fiftieth.
    expect(difference.largest).toBeLessThan(more.includes('--pool') ? 0.3 : 0.02);
    expect(difference.largest).toBeGreaterThan(0);
    expect(difference).toMatchObject({ sameChoice: 1 });
    expect(difference.sameLikeliest).toBeGreaterThan(0.9);
  });

  it('takes a GGUF file as it is, and says that the scores are those that are served', async () => {
    const { stdout } = await succeed(args('engine', '--model', gguf.model));
    expect(stdout).toMatch(/served/);
    expect(stdout).not.toMatch(/float32/);
    const one = (await document(args('engine', '--model', gguf.model))) as unknown as ScoreReport & { through: string };
    expect(one).toMatchObject({ through: 'engine', type: null, backend: null, examples: 12 });
  });
});
