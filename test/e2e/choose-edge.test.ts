/** Customisations that their examples choose: `crayon serve-edge` as a process, with the embedded model and the shipped pool. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Example, loadDataset } from '../../src/data/dataset.js';
import { addressOf, type Child, ROOT, scratch, start } from './helpers.js';

const dir = scratch();
let server: Child;
let url: string;

beforeAll(async () => {
  const config = join(dir, 'edge.yaml');
  writeFileSync(
    config,
    JSON.stringify({
      model: join(ROOT, 'models', 'crayon-edge'),
      pool: join(ROOT, 'models', 'crayon-edge-pool'),
      cache_dir: join(dir, 'cache'),
      engine: { type: 'F32', threads: 1, gpu: false, sequences: 1 },
    }),
  );
  server = start(['serve-edge', '--config', config, '--port', '0']);
  url = await addressOf(server);
});
afterAll(() => server.process.kill('SIGKILL'));

const shown = (name: string, count: number): object[] =>
  loadDataset(join(ROOT, 'suite', name, 'heldout.jsonl'))
    .examples.slice(0, count)
    .map(({ prompt, completion, choices, answer }: Example) => ({ prompt, completion, choices, answer }));

interface Made {
  id: string;
  model: string;
  coefficients: number[] | null;
  coverage: { verdict: string; sentence: string };
  notices: string[];
  choice: {
    chosen: string;
    chosen_fixed: string;
    seconds: number;
    candidates: Array<{ name: string; loss: number | null; right: number | null; standard_error: number | null }>;
  };
}

const send = (path: string, body: object, signal?: AbortSignal) =>
  fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  });
async function customise(body: object): Promise<Made> {
  const answer = await send('/v1/customizations', { choose: true, ...body });
  expect(answer.status).toBe(201);
  return (await answer.json()) as Made;
}
async function complete(model: string, prompt: string): Promise<string> {
  const answer = await send('/v1/completions', { model, prompt, max_tokens: 3, temperature: 0 });
  return ((await answer.json()) as { choices: Array<{ text: string }> }).choices[0]!.text;
}
const kept = async () => ((await (await fetch(`${url}/v1/customizations`)).json()) as { data: Made[] }).data;

describe('POST /v1/customizations with choose', () => {
  it('chooses the pool’s adapter for a user of one task', async () => {
    const { id, choice, coefficients, coverage } = await customise({ examples: shown('intent', 4) });
    expect(choice.chosen).toBe('per-query');
    expect([coefficients, choice.chosen_fixed]).toEqual([null, 'mean-gate']);
    const { base, nearest } = Object.fromEntries(choice.candidates.map((one) => [one.name, one]));
    expect(nearest!.right).toBe(4);
    expect(base!.loss!).toBeGreaterThan(nearest!.loss! + 1);
    expect(coverage.verdict).toBe('covered');
    expect((await (await fetch(`${url}/v1/customizations/${id}`)).json()) as Made).toMatchObject({ choice });
  });

  it('serves a user of two tasks the pool per query, and answers others meanwhile', async () => {
    const [farm, bank] = [shown('route-farm', 6), shown('route-bank', 6)];
    const choosing = customise({ examples: [...farm.slice(0, 3), ...bank.slice(0, 3)] });
    let isChosen = false;
    void choosing.then(() => {
      isChosen = true;
    });
    let answered = 0;
    while (!isChosen && answered < 5) {
      expect(await complete('crayon-edge', `Once upon a time ${answered}`)).not.toBe('');
      if (!isChosen) answered++;
    }
    expect(answered).toBe(5); // the choice is still under way
    const { model, choice, coefficients, coverage } = await choosing;
    expect(choice.chosen).toMatch(/^per-query/);
    expect([coefficients, choice.chosen_fixed.startsWith('per-query')]).toEqual([null, false]);
    expect(coverage.sentence).not.toContain('outside');
    // It does both tasks, on examples that it was not shown.
    const asked = [...farm.slice(3), ...bank.slice(3)] as Array<{ prompt: string; completion: string }>;
    let right = 0;
    for (const { prompt, completion } of asked) {
      if ((await complete(model, prompt)).startsWith(completion)) right++;
    }
    expect(right).toBeGreaterThanOrEqual(4);
  });

  it('serves a user outside the pool the bare model, and says so', async () => {
    const { model, choice, coefficients, coverage } = await customise({ examples: shown('swap-words', 4) });
    expect([choice.chosen, coefficients]).toEqual(['base', [0, 0, 0, 0, 0, 0]]);
    expect(coverage).toMatchObject({ verdict: 'not-covered', sentence: expect.stringContaining('bare model does as') });
    const prompt = 'Once upon a time there was';
    expect(await complete(model, prompt)).toBe(await complete('crayon-edge', prompt));
  });

  it('is the blend by similarity where the time was up', async () => {
    const examples = shown('route-bank', 4);
    const late = await customise({ examples, choose_seconds: 0.1 });
    const plain = (await (await send('/v1/customizations', { examples })).json()) as Made;
    expect([late.choice.chosen, late.coefficients]).toEqual(['similarity', plain.coefficients]);
    expect([late.notices.length, plain.choice]).toEqual([1, null]);
  });

  it('leaves nothing behind of a client that has gone', async () => {
    const before = (await kept()).length;
    const gone = new AbortController();
    const choosing = send('/v1/customizations', { choose: true, examples: shown('intent', 10) }, gone.signal);
    setTimeout(() => gone.abort(), 600);
    await expect(choosing).rejects.toThrow(/abort/);
    const running = async () => /crayon_edge_running (\d+)/.exec(await (await fetch(`${url}/metrics`)).text())![1];
    while ((await running()) !== '0');
    expect(await kept()).toHaveLength(before);
    expect(server.stderr()).toContain('client_closed');
  });
});
