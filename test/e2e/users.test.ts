/** Customisations outlive a server that is killed: `crayon serve-edge` as a process, with the embedded model and the shipped pool. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addressOf, type Child, ROOT, scratch, start } from './helpers.js';

const dir = scratch();
const state = join(dir, 'state');
let server: Child;
let url: string;

/** With the same state each time. */
async function started(): Promise<void> {
  const config = join(dir, 'edge.yaml');
  writeFileSync(
    config,
    JSON.stringify({
      model: join(ROOT, 'models', 'crayon-edge'),
      pool: join(ROOT, 'models', 'crayon-edge-pool'),
      cache_dir: join(dir, 'cache'),
      state_dir: state,
      engine: { type: 'F32', threads: 1, gpu: false, sequences: 1 },
    }),
  );
  server = start(['serve-edge', '--config', config, '--port', '0']);
  url = await addressOf(server);
}
async function killed(): Promise<void> {
  server.process.kill('SIGKILL');
  await server.ended;
}
beforeAll(started);
afterAll(() => server.process.kill('SIGKILL'));

interface Card {
  id: string;
  model: string;
  name: string | null;
  version: number;
  coefficients: number[];
  problem?: object;
}

async function call<T>(method: string, path: string, body?: object): Promise<T> {
  const answer = await fetch(url + path, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}
const make = (body: object) => call<Card>('POST', '/v1/customizations', body);
/** In the order of their ids: two of one second have no other. */
const cards = async () => {
  const { data } = await call<{ data: Card[] }>('GET', '/v1/customizations');
  return data.sort((a, b) => (a.id < b.id ? -1 : 1));
};
const SHOWN = readFileSync(join(ROOT, 'suite', 'examples', 'bank.jsonl'), 'utf8')
  .trim()
  .split('\n');
const examples = SHOWN.map((line): object => JSON.parse(line));
const logprobs = async ({ model }: Card) => {
  const body = {
    model,
    prompt: (examples[0] as { prompt: string }).prompt,
    max_tokens: 4,
    temperature: 0,
    logprobs: 0,
  };
  const answer = await call<{ choices: Array<{ logprobs: { token_logprobs: number[] } }> }>(
    'POST',
    '/v1/completions',
    body,
  );
  return answer.choices[0]!.logprobs.token_logprobs;
};

describe('customisations of a server that is killed', () => {
  it('are there again, each with its answers, its versions and nobody’s text', async () => {
    const bank = await make({ examples, name: 'bank' });
    const merged = await make({ coefficients: [0, 0, 0, 0.5, 0.5, 0], combine: 'svd' });
    await make({ coefficients: [1, 0, 0, 0, 0, 0], name: 'ann' });
    const ann = await make({ coefficients: [0, 1, 0, 0, 0, 0], name: 'ann' });
    const before = [await logprobs(bank), await logprobs(merged), await logprobs(ann)];
    const kept = await cards();
    const last = await make({ coefficients: [0, 0, 1, 0, 0, 0], name: 'last' }); // acknowledged, and killed at once
    await killed();

    const files = readdirSync(state).filter((name) => name.endsWith('.json'));
    expect(files).toHaveLength(4);
    const texts = files.map((name) => readFileSync(join(state, name), 'utf8'));
    expect(texts.join().length).toBeLessThan(4 * 8192);
    for (const { prompt } of examples as Array<{ prompt: string }>) expect(texts.join()).not.toContain(prompt);
    writeFileSync(join(state, `${'0'.repeat(16)}.json`), '{"format":"crayon-customization"');

    await started();
    const found = await cards();
    expect(found.filter(({ id }) => id !== last.id)).toMatchObject(kept.map(({ problem: _, ...card }) => card));
    expect(found.find(({ id }) => id === last.id)).toEqual(last);
    const deadline = Date.now() + 60_000;
    let again: number[] | null = null;
    while (again === null && Date.now() < deadline) again = await logprobs(merged).catch(() => null);
    expect([await logprobs(bank), again, await logprobs(ann)]).toEqual(before);
    expect(server.stderr()).toContain(`${'0'.repeat(16)}.json`);

    const back = await call<Card>('POST', `/v1/customizations/${ann.id}/rollback`, {});
    expect([back.version, back.coefficients]).toEqual([1, [1, 0, 0, 0, 0, 0]]);
    await call('DELETE', `/v1/customizations/${last.id}`);
    await killed();
    await started();
    const left = await cards();
    expect(left.map(({ id }) => id)).toEqual(kept.map(({ id }) => id));
    expect(left.find(({ id }) => id === ann.id)).toMatchObject({ version: 1, name: 'ann' });
  }, 300_000);
});
