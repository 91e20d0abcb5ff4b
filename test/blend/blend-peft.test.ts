// npx vitest run test/blend/blend-peft.test.ts
// Against PEFT's own add_weighted_adapter; the fixtures are made by scripts/fixtures/make_fixtures.py.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { blendAdapters } from '../../src/blend/blend.js';
import { openPeftAdapter } from '../../src/peft/read.js';
import { denseDelta, relativeDistance } from './helpers.js';

const fixtures = new URL('../fixtures/peft-combine/', import.meta.url).pathname;
const golden = JSON.parse(readFileSync(join(fixtures, 'golden.json'), 'utf8')) as {
  adapters: string[];
  coefficients: Record<string, number[]>;
  svdRank: number;
};
const dir = mkdtempSync(join(tmpdir(), 'crayon-peft-'));
afterAll(() => rmSync(dir, { recursive: true }));

it.each([
  ['cat', 'cat', undefined],
  ['cat-negative', 'cat', undefined],
  ['svd', 'svd', golden.svdRank],
] as const)('%s is the delta that PEFT makes of a plain, an rsLoRA and a patterned adapter', (name, combine, rank) => {
  const adapters = golden.adapters.map((adapter) => openPeftAdapter(join(fixtures, adapter)));
  const out = join(dir, name);
  const { modules } = blendAdapters({
    adapters,
    coefficients: golden.coefficients[name]!,
    combine,
    ...(rank === undefined ? {} : { rank }),
    baseModel: 'models/llama',
    out,
  });
  const [ours, theirs] = [openPeftAdapter(out), openPeftAdapter(join(fixtures, name))];
  expect(ours.modules.map((module) => module.name)).toEqual(theirs.modules.map((module) => module.name));
  for (const module of theirs.modules) {
    const expected = denseDelta([theirs], [1], module);
    expect(relativeDistance(denseDelta([ours], [1], module), expected)).toBeLessThan(2e-6);
    // and the reported error is the distance from the exact sum
    const exact = denseDelta(adapters, golden.coefficients[name]!, module);
    const { relativeError } = modules.find((candidate) => candidate.name === module.name)!;
    expect(relativeDistance(expected, exact)).toBeCloseTo(relativeError, 5);
  }
  for (const adapter of [...adapters, ours, theirs]) adapter.close();
});
