/**
 * What lm-evaluation-harness's `local-completions` and `local-chat-completions` send (test/fixtures/lm-eval/requests.json, recorded
 * by scripts/fixtures/lm_eval_requests.py), answered by the real server with the embedded model and an adapter, read by
 * lm-eval's own rule, beside our float32 forward pass.
 */

import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../src/files/json.js';
import { HfModel } from '../../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../../src/model/backend.js';
import type { Network } from '../../../src/model/network.js';
import { openNetwork } from '../../../src/model/open-network.js';
import { assembleEdge } from '../../../src/serve/assemble.js';
import { edgeConfig } from '../../../src/serve/config.js';
import { loadAdapterLora } from '../../../src/train/adapter-lora.js';
import { type EvaluationLora, scoreCompletions } from '../../../src/train/evaluate.js';
import { EDGE, poolAdapter } from '../../helpers/edge-gguf.js';
import { temporaryRoot } from '../../helpers/files.js';
import { fixtureJson, ROOT } from '../../helpers/fixtures.js';
import { type TestApp, testApp } from '../helpers.js';

interface Recorded {
  path: string;
  body: JsonObject & { prompt: number[][] };
  ctxlens: number[];
}
interface Fixture {
  choices: Array<{ record: { choices: string[]; answer: number }; requests: Recorded[] }>;
  batch: { record: { choices: string[] }; requests: Recorded[] };
  pairs: Array<{ pair: [string, string]; requests: Recorded[] }>;
  generate: Recorded[];
  chat: Recorded[];
}
interface Choice {
  index: number;
  text: string;
  message: { content: string };
  logprobs: {
    tokens: string[];
    token_logprobs: Array<number | null>;
    top_logprobs: Array<Record<string, number> | null>;
    text_offset: number[];
  };
}

const fixture = fixtureJson<Fixture>('lm-eval', 'requests.json');
/** Largest difference of a token's log-probability: the cache of keys and values is half precision. */
const CLOSE = 5e-3;

const dir = temporaryRoot();
let app: TestApp;
let close: () => Promise<void>;
let hf: HfModel;
let model: Network;
let lora: EvaluationLora;

beforeAll(async () => {
  await chooseBackend();
  hf = HfModel.open(EDGE);
  model = openNetwork(hf);
  lora = loadAdapterLora(poolAdapter(2), hf);
  const yaml = {
    model: EDGE,
    adapter: poolAdapter(2),
    cache_dir: dir,
    engine: { type: 'F32', threads: 1, gpu: false },
  };
  const parts = await assembleEdge(edgeConfig(yaml, { where: 'test', folder: ROOT }));
  close = parts.close;
  app = testApp({ parts });
});
afterAll(async () => {
  await close();
  model.dispose();
  hf.close();
  releaseBackend();
  rmSync(dir, { recursive: true, force: true });
});

async function choicesOf({ path, body }: Recorded): Promise<Choice[]> {
  const answer = await app.post(path, body);
  const document = (await answer.json()) as { choices: Choice[] };
  expect([answer.status, document]).toMatchObject([200, {}]);
  return document.choices.sort((a, b) => a.index - b.index);
}

/** `LocalCompletionsAPI.parse_logprobs` (lm_eval/models/openai_completions.py), line by line. */
function parseLogprobs(choices: readonly Choice[], ctxlens: readonly number[]): Array<[number, boolean]> {
  return choices.map(({ logprobs }, i) => {
    const tokens = logprobs.token_logprobs.slice(ctxlens[i], -1) as number[];
    const top = logprobs.top_logprobs.slice(ctxlens[i], -1) as Array<Record<string, number>>;
    const isGreedy = tokens.every((logprob, t) => logprob === Math.max(...Object.values(top[t]!)));
    return [tokens.reduce((sum, logprob) => sum + logprob, 0), isGreedy];
  });
}

async function expectOurs(recorded: readonly Recorded[]): Promise<number[]> {
  const sums: number[] = [];
  for (const request of recorded) {
    const { prompt } = request.body;
    const found = await choicesOf(request);
    expect(found).toHaveLength(prompt.length);
    // One more than the prompt has, though it be the token that ends the answer: lm-eval takes the last one off.
    for (const [i, { logprobs }] of found.entries()) {
      expect(Object.values(logprobs).map((list) => list.length)).toEqual(Array(4).fill(prompt[i]!.length + 1));
      expect([logprobs.token_logprobs[0], logprobs.top_logprobs[0], logprobs.text_offset[0]]).toEqual([null, null, 0]);
    }
    const sequences = prompt.map((ids, i) => ({ ids: Int32Array.from(ids), promptLength: request.ctxlens[i]! }));
    const expected = await scoreCompletions(model, sequences, { lora });
    const parsed = parseLogprobs(found, request.ctxlens);
    for (const [i, { logprob, tokens, isGreedy }] of expected.entries()) {
      expect(Math.abs(parsed[i]![0] - logprob)).toBeLessThan(tokens * CLOSE);
      expect(parsed[i]![1]).toBe(isGreedy);
      sums.push(parsed[i]![0]);
    }
  }
  return sums;
}

describe('the requests of lm-evaluation-harness', () => {
  it('for the choices of questions get our own log-probabilities and what greedy decoding would give', async () => {
    for (const { record, requests } of fixture.choices) {
      const sums = await expectOurs(requests);
      expect(new Set(sums.map((sum) => sum.toFixed(3))).size).toBe(record.choices.length);
    }
  });

  it('in lists get one choice for each', async () => {
    const sums = await expectOurs(fixture.batch.requests);
    expect(sums).toHaveLength(fixture.batch.record.choices.length);
  });

  it('for contexts that end in white space, and for none', async () => {
    for (const { requests } of fixture.pairs) await expectOurs(requests);
  });

  it('list the token that ends an answer at once', async () => {
    const last: string[] = [];
    for (const { requests } of fixture.choices) {
      for (const request of requests) last.push((await choicesOf(request))[0]!.logprobs.tokens.at(-1)!);
    }
    expect(last).toContain('</s>');
  });

  it('generate until one of six stop texts, as text and as a conversation', async () => {
    const texts: string[] = [];
    for (const request of fixture.generate) texts.push((await choicesOf(request))[0]!.text);
    const said: string[] = [];
    for (const request of fixture.chat) said.push((await choicesOf(request))[0]!.message.content);
    expect(texts.every((text) => /^ [A-Z]\w+$/.test(text))).toBe(true);
    // lm-eval asks in an order of its own; the plain template drops the space before the answer.
    expect(said.sort()).toEqual(texts.map((text) => text.trim()).sort());
  });

  it('with the tokens of another tokenizer are refused', async () => {
    const body = { ...fixture.choices[0]!.requests[0]!.body, prompt: [[0, 151_643]] };
    const answer = await app.post('/v1/completions', body);
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      { error: { code: 'request_invalid', message: 'token 151643 at 1, expected 0 to 3071' } },
    ]);
    const text = await app.post('/detokenize', { tokens: [151_643] });
    expect(text.status).toBe(400);
  });
});
