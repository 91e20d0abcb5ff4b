/** llama.cpp's answers and probabilities beside our own forward pass, with and without adapters, and a known text. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertLlama2c } from '../../../scripts/convert-llama2c.js';
import { type LlamaCppEngine, openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { HfModel } from '../../../src/hf/model.js';
import { loadTokenizer } from '../../../src/hf/tokenizer.js';
import { chooseBackend, releaseBackend } from '../../../src/model/backend.js';
import type { Network } from '../../../src/model/network.js';
import { openNetwork } from '../../../src/model/open-network.js';
import { openPeftAdapter } from '../../../src/peft/read.js';
import { stackAdapters } from '../../../src/train/adapter-lora.js';
import { generateGreedy } from '../../../src/train/answer.js';
import { type EvaluationLora, scoreCompletions } from '../../../src/train/evaluate.js';
import { EDGE, edgeGguf, poolAdapter, request, wholeAnswer } from '../../helpers/edge-gguf.js';
import { hasShared, shared } from '../../helpers/fixtures.js';

const PROMPT = 'Once upon a time there was a man who';
const TASK = 'Request: If you can. Do I need an umbrella tonight, says Daisy. Intent:';
/** Largest difference of two natural logarithms, with keys and values in single precision. */
const CLOSE = 1e-4;

const gguf = edgeGguf();
const tokenizer = loadTokenizer(EDGE);
let engine: LlamaCppEngine;
let hf: HfModel;
let model: Network;

beforeAll(async () => {
  await chooseBackend();
  hf = HfModel.open(EDGE);
  model = openNetwork(hf);
  const options = { model: gguf.model, name: 'edge', threads: 1, gpu: false, sequences: 2 } as const;
  engine = await openLlamaCppEngine({ ...options, cacheType: 'F32' });
});
afterAll(async () => {
  await engine.close();
  model.dispose();
  hf.close();
  releaseBackend();
});

/** Log-probability of each of the ids after the prompt, by our own forward pass. */
async function ownLogprobs(prompt: number[], ids: number[], lora?: EvaluationLora): Promise<number[]> {
  const examples = ids.map((_, i) => {
    const upTo = Int32Array.from([...prompt, ...ids.slice(0, i + 1)]);
    return { ids: upTo, promptLength: upTo.length - 1 };
  });
  return (await scoreCompletions(model, examples, { lora })).map(({ logprob }) => logprob);
}

function stacked(gate: Record<number, number>): EvaluationLora {
  const adapters = Object.keys(gate).map((n) => openPeftAdapter(poolAdapter(Number(n))));
  try {
    return stackAdapters(adapters, hf, [Object.values(gate)]);
  } finally {
    for (const adapter of adapters) adapter.close();
  }
}

describe('the llama.cpp engine beside our own forward pass', () => {
  it('sees the same tokens', () => {
    for (const text of [PROMPT, TASK, '  two  spaces\n\nand 1234', 'naïve 数 🙂']) {
      expect([...engine.tokenize({ kind: 'text', text })], text).toEqual(tokenizer.encode(text));
      expect([...engine.textTokens(text)], text).toEqual(tokenizer.encode(text, { addBos: false }));
    }
  });

  it('answers the same text with the same log-probabilities', async () => {
    const prompt = tokenizer.encode(PROMPT);
    const ids = await generateGreedy(model, prompt, { maxNewTokens: 24, stopIds: model.config.eosTokenIds });
    const answer = await wholeAnswer(engine, request(PROMPT, { maxTokens: 24 }));
    expect(answer.text).toBe(tokenizer.decode(ids));
    const own = await ownLogprobs(prompt, ids);
    expect(answer.tokens).toHaveLength(own.length);
    for (const [i, { logprob }] of answer.tokens.entries()) expect(Math.abs(logprob! - own[i]!)).toBeLessThan(CLOSE);
  });

  it.each([{ 0: 1 }, { 4: 0.5 }, { 1: 0.6, 3: 0.3, 5: 0.1 }] as Array<Record<number, number>>)(
    'gives its log-probabilities under the adapters %o',
    async (gate) => {
      const prompt = tokenizer.encode(TASK);
      const adapters = Object.entries(gate).map(([n, scale]) => gguf.adapter(Number(n), scale));
      // The first token of each of the likeliest: a probability of one says little.
      const answer = await wholeAnswer(engine, request(TASK, { maxTokens: 1, topLogprobs: 20, adapters }));
      const top = answer.tokens[0]!.detail!.top;
      expect(top).toHaveLength(20);
      const own = stacked(gate);
      const likely = top.map(({ token }) => tokenizer.encode(token, { addBos: false }));
      expect(likely.every((ids) => ids.length === 1)).toBe(true);
      for (const [i, ids] of likely.entries()) {
        const [logprob] = await ownLogprobs(prompt, ids, own);
        expect(Math.abs(top[i]!.logprob - logprob!), top[i]!.token).toBeLessThan(CLOSE);
      }
    },
  );

  it.each([[[]], [[2]]])('measures the prompt’s mean negative log-likelihood under adapters %o', async (numbers) => {
    const text = `${TASK} weather. ${PROMPT} lived in the wood, and it was said of him that he had never seen the sea.`;
    const ids = Int32Array.from(tokenizer.encode(text.repeat(2)));
    expect(ids.length).toBeGreaterThan(80); // only the last 64 are scored
    const lora = numbers.length === 0 ? undefined : stacked({ [numbers[0]!]: 1 });
    const [own] = await scoreCompletions(model, [{ ids, promptLength: ids.length - 64 }], { lora });
    const adapters = numbers.map((n) => gguf.adapter(n));
    const asked = request(text.repeat(2), { maxTokens: 1, adapters });
    const nll = await engine.promptNll(asked.query, adapters, asked.signal);
    expect(Math.abs(nll + own!.logprob / 64)).toBeLessThan(CLOSE);
    // The generation that follows finds the prompt in the cache.
    expect((await wholeAnswer(engine, asked)).usage.cachedTokens).toBe(ids.length - 1);
  });
});

describe('tokens that are given', () => {
  const SENTENCE = `${TASK} weather. ${PROMPT} lived in the wood, and it was said of him that he had never seen the sea.`;
  const { signal } = new AbortController();

  it.each([[{}], [{ 2: 1 }], [{ 1: 0.6, 3: 0.4 }]] as Array<[Record<number, number>]>)(
    'have the log-probabilities of our own forward pass, each of them, under the adapters %o',
    async (gate) => {
      const ids = tokenizer.encode(SENTENCE);
      const adapters = Object.entries(gate).map(([n, scale]) => gguf.adapter(Number(n), scale));
      const { tokens } = await engine.scoreTokens({ ids, from: 1, topLogprobs: 3, adapters, signal });
      expect(tokens.map(({ id }) => id)).toEqual(ids.slice(1));
      const lora = adapters.length === 0 ? undefined : stacked(gate);
      const expected = await ownLogprobs(ids.slice(0, 1), ids.slice(1), lora);
      for (const [i, { logprob }] of tokens.entries()) expect(Math.abs(logprob - expected[i]!)).toBeLessThan(CLOSE);
      for (const { id, logprob, best, top } of tokens) {
        expect(top).toHaveLength(3);
        expect(top[0]!.id).toBe(best);
        expect(top[0]!.logprob >= top[1]!.logprob && top[1]!.logprob >= top[2]!.logprob).toBe(true);
        // Exactly the same number, by which lm-evaluation-harness tells what greedy decoding would have produced.
        if (id === best) expect(logprob).toBe(top[0]!.logprob);
        else expect(logprob).toBeLessThanOrEqual(top[0]!.logprob);
      }
    },
  );

  it('are the same when only one alternative is wanted, or none, and from a later one on', async () => {
    const ids = tokenizer.encode(SENTENCE);
    const other = await openLlamaCppEngine({ model: gguf.model, name: 'b', threads: 1, gpu: false, cacheType: 'F32' });
    const ask = (from: number, topLogprobs: number) => other.scoreTokens({ ids, from, topLogprobs, signal });
    const same = (some: Awaited<ReturnType<typeof ask>>, all: typeof some, skipped = 0) => {
      const tokens = all.tokens.slice(skipped);
      expect(some.tokens.map(({ id, best }) => [id, best])).toEqual(tokens.map(({ id, best }) => [id, best]));
      for (const [i, { logprob }] of some.tokens.entries()) {
        expect(Math.abs(logprob - tokens[i]!.logprob)).toBeLessThan(CLOSE);
      }
    };
    try {
      const late = await ask(20, 0);
      const three = await ask(1, 3);
      const one = await ask(1, 1);
      same(late, three, 19);
      same(one, three);
      expect(late.tokens.every(({ top }) => top.length === 0)).toBe(true);
      expect(one.tokens.every(({ top, best }) => top.length === 1 && top[0]!.id === best)).toBe(true);
    } finally {
      await other.close();
    }
  });

  it('of a completion are the same numbers, whether its prompt was in the cache or not', async () => {
    const prompt = tokenizer.encode(`${SENTENCE} Intent:`);
    const choices = [' weather', ' alarm and clock', ' music'].map((text) => tokenizer.encode(text, { addBos: false }));
    const quantised = join(gguf.dir, 'edge-q8.gguf');
    exportModelGguf({ model: EDGE, out: quantised, type: 'Q8_0' });
    const score = async (order: number[][]) => {
      const fresh = await openLlamaCppEngine({ model: quantised, name: 'q', threads: 1, gpu: false });
      const found = new Map<number[], unknown>();
      for (const choice of order) {
        const ids = [...prompt, ...choice];
        found.set(choice, (await fresh.scoreTokens({ ids, from: prompt.length, topLogprobs: 1, signal })).tokens);
      }
      await fresh.close();
      return choices.map((choice) => found.get(choice));
    };
    expect(await score(choices)).toEqual(await score([...choices].reverse()));
  });

  it('of an answer as it is generated are its own, whatever of its prompt was in the cache', async () => {
    const quantised = join(gguf.dir, 'edge-q4.gguf');
    exportModelGguf({ model: EDGE, out: quantised, type: 'Q4_0' });
    const other = await openLlamaCppEngine({ model: quantised, name: 'q', threads: 1, gpu: false, sequences: 1 });
    try {
      const prompt = tokenizer.encode(`${SENTENCE} ${SENTENCE} ${SENTENCE} Intent:`);
      const beginsAlike = [...prompt.slice(0, -4), ...tokenizer.encode(' Something else:', { addBos: false })];
      const generated = async (ids: number[]) => {
        const asked = request('', { prompt: { kind: 'text', text: '', ids }, maxTokens: 6, topLogprobs: 1 });
        const events = [];
        for await (const event of other.generate(asked)) events.push(event);
        const logprobs = events.flatMap((event) => (event.type === 'token' ? [event.logprob] : []));
        const end = events.at(-1)!;
        return { logprobs, cached: end.type === 'end' ? end.usage.cachedTokens : -1 };
      };
      const cold = await generated(prompt);
      const warm = await generated(prompt);
      await generated(beginsAlike);
      const partly = await generated(prompt);
      expect([cold, warm, partly].map(({ cached }) => cached)).toEqual([0, prompt.length - 1, 128]);
      expect(warm.logprobs).toEqual(cold.logprobs);
      expect(partly.logprobs).toEqual(cold.logprobs);

      const answer = [];
      for (let i = 0; i < cold.logprobs.length; i++) {
        const ids = [...prompt, ...answer, 0];
        const from = ids.length - 1;
        const { tokens } = await other.scoreTokens({ ids, from, topLogprobs: 0, asGenerated: true, signal });
        answer.push(tokens[0]!.best);
      }
      const ids = [...prompt, ...answer];
      const scored = await other.scoreTokens({ ids, from: prompt.length, topLogprobs: 0, asGenerated: true, signal });
      for (const [i, { logprob }] of scored.tokens.entries()) expect(logprob).toBeCloseTo(cold.logprobs[i]!, 5);
      expect(scored.tokens.every(({ id, best }) => id === best)).toBe(true);
    } finally {
      await other.close();
    }
  });

  it('are computed once where sequences begin alike, and the answer that follows finds them read', async () => {
    const prompt = tokenizer.encode(`${SENTENCE} Intent:`);
    const choices = [' weather', ' alarm and clock', ' music'].map((text) => tokenizer.encode(text, { addBos: false }));
    const fresh = await openLlamaCppEngine({ model: gguf.model, name: 'c', threads: 1, gpu: false, cacheType: 'F32' });
    try {
      const found = [];
      for (const choice of choices) {
        found.push(await fresh.scoreTokens({ ids: [...prompt, ...choice], from: 1, topLogprobs: 1, signal }));
      }
      expect(found.map(({ cachedTokens }) => cachedTokens)).toEqual([0, prompt.length - 1, prompt.length - 1]);
      const sums = found.map(({ tokens }) => tokens.slice(prompt.length - 1).reduce((sum, t) => sum + t.logprob, 0));
      const examples = choices.map((choice) => {
        return { ids: Int32Array.from([...prompt, ...choice]), promptLength: prompt.length };
      });
      const expected = await scoreCompletions(model, examples);
      for (const [i, { logprob }] of expected.entries()) expect(Math.abs(sums[i]! - logprob)).toBeLessThan(2 * CLOSE);
      // What was scored under another context of the same length is not taken for this one's.
      const elsewhere = [prompt[0]!, ...prompt.slice(1).reverse(), ...choices[2]!];
      const { tokens } = await fresh.scoreTokens({ ids: elsewhere, from: 1, topLogprobs: 1, signal });
      const reversed = await ownLogprobs(elsewhere.slice(0, 1), elsewhere.slice(1));
      for (const [i, { logprob }] of tokens.entries()) expect(Math.abs(logprob - reversed[i]!)).toBeLessThan(CLOSE);
      const ids = [...prompt, ...choices[1]!];
      await fresh.scoreTokens({ ids, from: 1, topLogprobs: 1, signal });
      const asked = request('', { prompt: { kind: 'text', text: '', ids }, maxTokens: 4 });
      expect((await wholeAnswer(fresh, asked)).usage.cachedTokens).toBe(ids.length - 1);
      // The answer stands where the next choice would: its tokens were not scored, and are read anew.
      const longer = [...ids, ...choices[2]!];
      const again = await fresh.scoreTokens({ ids: longer, from: 1, topLogprobs: 1, signal });
      const all = await ownLogprobs(longer.slice(0, 1), longer.slice(1));
      for (const [i, { logprob }] of again.tokens.entries()) expect(Math.abs(logprob - all[i]!)).toBeLessThan(CLOSE);
    } finally {
      await fresh.close();
    }
  });
});

// Skipped where the checkpoint, whose licence does not permit shipping it, is not beside the repository.
describe.skipIf(!hasShared)('stories260K in the llama.cpp engine', () => {
  it('continues the BOS token with the text that its author published', async () => {
    const dir = join(gguf.dir, 'stories260k');
    const source = shared('stories260k', 'data');
    convertLlama2c(join(source, 'stories260K.bin'), join(source, 'tok512.bin'), dir);
    const path = join(gguf.dir, 'stories260k.gguf');
    exportModelGguf({ model: dir, out: path, type: 'F32' });
    const stories = await openLlamaCppEngine({ model: path, name: 'stories', threads: 1, gpu: false });
    try {
      const expected = readFileSync(shared('stories260k', 'greedy.txt'), 'utf8').trim();
      const answer = await wholeAnswer(stories, request('', { maxTokens: 256 }));
      expect(answer.text.trim()).toBe(expected);
      expect(answer.text.startsWith('Once')).toBe(true); // the space before it is the tokenizer's
    } finally {
      await stories.close();
    }
  });
});
