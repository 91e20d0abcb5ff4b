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
import { LlamaModel } from '../../../src/model/llama.js';
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
let model: LlamaModel;

beforeAll(async () => {
  await chooseBackend();
  hf = HfModel.open(EDGE);
  model = new LlamaModel(hf);
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
