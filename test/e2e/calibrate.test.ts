/** `crayon calibrate` as a process on the embedded model: what the server gets wrong too is not sent, and the running edge does so. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadDataset } from '../../src/data/dataset.js';
import { startUpstream, type Upstream } from '../helpers/scripted-upstream.js';
import { answers } from '../helpers/upstream-answers.js';
import { addressOf, ROOT, scratch, start } from './helpers.js';

const dir = scratch();
/** One that the pool has, and two strangers to it. The larger model knows one of these. */
const SETS = ['route-bank', 'route-museum', 'route-airline'];
const KNOWN = 'route-airline';
const LIMIT = 24;
const examplesOf = (name: string, split: string, limit: number) =>
  loadDataset(join(ROOT, 'suite', `${name}.yaml`), { split, limit, seed: 0 }).examples;

let upstream: Upstream;
beforeAll(async () => {
  const known = new Map(
    examplesOf(KNOWN, 'test', 200).map(({ prompt, completion }) => [prompt.trim(), completion.trim()]),
  );
  upstream = await startUpstream((exchange) => {
    const { messages } = exchange.request.body as { messages: Array<{ content: string }> };
    return answers.answer([known.get(messages.at(-1)!.content.trim()) ?? 'Nobody'])(exchange);
  });
});
afterAll(() => upstream.close());

it('counts both parties in clusters of the questions, and the edge sends what the server alone gets right', async () => {
  const config = join(dir, 'edge.yaml');
  const edge = {
    model: join(ROOT, 'models', 'crayon-edge'),
    pool: join(ROOT, 'models', 'crayon-edge-pool'),
    gate: 'per-query',
    examples: join(ROOT, 'suite', 'examples', 'bank.jsonl'),
    cache_dir: join(dir, 'cache'),
    state_dir: false,
    engine: { type: 'F32', threads: 1, gpu: false, sequences: 1 },
    server: { base_url: upstream.baseUrl, model: 'larger' },
  };
  writeFileSync(config, JSON.stringify(edge));
  const data = SETS.flatMap((name) => ['--data', join(ROOT, 'suite', `${name}.yaml`)]);
  const calibrating = ['calibrate', '--config', config, ...data, '--limit', String(LIMIT), '--target-share', '0.7'];
  const outcome = await start([...calibrating, '--max-tokens', '4', '--json']).ended;
  expect(outcome.code, outcome.stderr).toBe(0);
  const found = JSON.parse(outcome.stdout);
  expect(found.clusters.taken.of).toBe('questions');
  expect(found.serverSuccess).toHaveLength(found.success.length);
  // Seven tenths may be sent; a third of the questions is worth it.
  expect(found.heldOut.share.estimate).toBeLessThan(0.55);
  expect(found.heldOut.accuracy.estimate).toBeGreaterThan(0.5);
  expect(found.edgeAccuracy.estimate).toBeLessThan(0.5);

  const server = start(['serve-edge', '--config', join(dir, 'edge.calibrated.yaml'), '--port', '0']);
  try {
    const url = await addressOf(server);
    const sources = async (name: string) => {
      const asked = examplesOf(name, 'test', LIMIT + 6).slice(LIMIT);
      const found: string[] = [];
      for (const { prompt } of asked) {
        const answer = await fetch(`${url}/v1/chat/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ model: 'crayon-edge', max_tokens: 4, messages: [{ role: 'user', content: prompt }] }),
        });
        expect(answer.status).toBe(200);
        found.push(answer.headers.get('x-crayon-source')!);
      }
      return found;
    };
    const inCloud = async (name: string) => (await sources(name)).filter((source) => source === 'in_cloud').length;
    expect(await inCloud(KNOWN)).toBeGreaterThanOrEqual(4);
    expect(await inCloud('route-museum')).toBeLessThanOrEqual(2);
    expect(await inCloud('route-bank')).toBeLessThanOrEqual(2);
  } finally {
    server.process.kill('SIGKILL');
  }
});
