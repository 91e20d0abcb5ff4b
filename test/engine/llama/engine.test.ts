/** The llama.cpp engine with the embedded model: answers, stop texts, sampling, cancelling, queue, errors. */

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type CrayonError, isCrayonError } from '../../../src/core/errors.js';
import { type LlamaCppEngine, openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import { type GenerateRequest, Query } from '../../../src/engine/types.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { SafetensorsFile } from '../../../src/safetensors/read.js';
import { writeSafetensors } from '../../../src/safetensors/write.js';
import { EDGE, edgeGguf, request, wholeAnswer } from '../../helpers/edge-gguf.js';
import { ROOT } from '../../helpers/fixtures.js';

const PROMPT = 'Once upon a time there was a man who';
const OPTIONS = { name: 'edge', threads: 1, gpu: false } as const;

const gguf = edgeGguf();
let engine: LlamaCppEngine;

beforeAll(async () => {
  engine = await openLlamaCppEngine({ ...OPTIONS, model: gguf.model, sequences: 2, queue: 1 });
});
afterAll(() => engine.close());

async function codeOf(promise: Promise<unknown>): Promise<CrayonError> {
  const error = await promise.then(
    () => new Error('nothing was thrown'),
    (thrown: unknown) => thrown,
  );
  if (isCrayonError(error)) return error;
  throw error;
}

/** The device model with 6000 tokens: those it never learnt share its least likely ones' place. */
function largeVocabulary(dir: string): string {
  const V = 6000;
  const model = join(dir, 'large');
  cpSync(EDGE, model, { recursive: true });
  const config = join(model, 'config.json');
  writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')), vocab_size: V }));
  const source = SafetensorsFile.open(join(EDGE, 'model.safetensors'));
  const tensors = [...source.tensors].map(([name, { shape }]) => {
    const [rows, columns] = shape;
    const isTable = name === 'model.embed_tokens.weight';
    const data = isTable ? new Float32Array(V * columns!) : source.readF32(name);
    if (isTable) {
      const table = source.readF32(name);
      data.set(table);
      for (let row = rows!; row < V; row++) data.set(table.subarray(2 * columns!, 3 * columns!), row * columns!);
    }
    return { name, dtype: 'F32' as const, shape: isTable ? [V, columns!] : shape, data };
  });
  source.close();
  writeSafetensors(join(model, 'model.safetensors'), tensors);
  const out = join(dir, 'large.gguf');
  exportModelGguf({ model, out, type: 'F32' });
  return out;
}

/** Starts an answer and holds it after its start event. */
async function held(asked: GenerateRequest) {
  const iterator = engine.generate(asked)[Symbol.asyncIterator]();
  const first = await iterator.next();
  expect(first.value?.type).toBe('start');
  return iterator;
}

describe('an answer', () => {
  it('starts with the prompt’s tokens, then tokens, and ends with what was used', async () => {
    const { events, tokens, finishReason, usage } = await wholeAnswer(engine, request(PROMPT));
    const promptTokens = engine.tokenize({ kind: 'text', text: PROMPT }).length;
    expect(events[0]).toMatchObject({ type: 'start', promptTokens });
    expect(events.filter(({ type }) => type !== 'token')).toHaveLength(2);
    expect(finishReason).toBe('length');
    expect(tokens).toHaveLength(16);
    expect(usage).toMatchObject({ promptTokens, completionTokens: 16 });
    for (const { logprob } of tokens) expect(logprob).toBeLessThanOrEqual(0);
  });

  it('is the same read from the cache, and says so', async () => {
    const first = await wholeAnswer(engine, request(`${PROMPT} had`));
    const again = await wholeAnswer(engine, request(`${PROMPT} had`));
    expect(again.text).toBe(first.text);
    expect(again.usage.cachedTokens).toBe(first.usage.promptTokens - 1);
  });

  it('ends where the model ends the text', async () => {
    const asked = request('Request: Play some jazz, says Ann. Intent:', {
      adapters: [gguf.adapter(0)],
      maxTokens: 100,
    });
    const { finishReason, usage, text } = await wholeAnswer(engine, asked);
    expect(finishReason).toBe('stop');
    expect(usage.completionTokens).toBeLessThan(20);
    expect(text).not.toContain('</s>');
  });

  it('lists the likeliest tokens, and margin and entropy when asked', async () => {
    const { tokens } = await wholeAnswer(engine, request(PROMPT, { topLogprobs: 3, distribution: true, maxTokens: 4 }));
    for (const { detail, logprob, margin, entropy } of tokens) {
      expect(detail!.top).toHaveLength(3);
      expect(detail!.top[0]!.logprob).toBe(detail!.logprob); // greedy
      expect(detail!.logprob).toBe(logprob);
      expect(Buffer.from(detail!.bytes).toString()).toBe(detail!.token);
      const [first, second] = detail!.top.map((token) => Math.exp(token.logprob));
      expect(margin).toBeCloseTo(first! - second!, 5);
      expect(entropy).toBeGreaterThan(-Math.log(first!) * first!);
      expect(entropy).toBeLessThan(Math.log(3072));
    }
    const plain = await wholeAnswer(engine, request(PROMPT, { topLogprobs: 0, maxTokens: 1 }));
    expect(plain.tokens[0]!.detail!.top).toEqual([]);
    expect(plain.tokens[0]).not.toHaveProperty('margin');
  });

  it('ends before a stop text that begins in one token and ends in another, and shows nothing of it', async () => {
    const whole = await wholeAnswer(engine, request(PROMPT));
    const pieces = whole.tokens.map(({ text }) => text);
    // The end of one token and the beginning of the next.
    const stop = pieces[3]!.slice(-2) + pieces[4]!.slice(0, 2);
    const before = whole.text.slice(0, whole.text.indexOf(stop));
    const stopped = await wholeAnswer(engine, request(PROMPT, { stop: ['not in it', stop] }));
    expect(stopped.text).toBe(before);
    expect(stopped.finishReason).toBe('stop');
    let shown = '';
    for (const event of stopped.events) {
      if (event.type !== 'start') shown += event.text;
      expect(before.startsWith(shown)).toBe(true);
    }
  });

  it('gives back what looked like the beginning of a stop text', async () => {
    const whole = await wholeAnswer(engine, request(PROMPT));
    const never = `${whole.text.slice(-3)}~never`;
    expect((await wholeAnswer(engine, request(PROMPT, { stop: [never] }))).text).toBe(whole.text);
  });
});

describe('sampling', () => {
  it('repeats itself with the same seed, from a cold and a warm cache, and not with another', async () => {
    const sample = (seed: number | null, over: Partial<GenerateRequest> = {}) =>
      wholeAnswer(engine, request(PROMPT, { temperature: 1, seed, ...over })).then(({ text }) => text);
    const first = await sample(7);
    expect(await sample(7)).toBe(first);
    expect(await sample(8)).not.toBe(first);
    expect(await sample(null)).not.toBe(await sample(null));
    expect(await sample(7, { topP: 1e-9 })).toBe((await wholeAnswer(engine, request(PROMPT))).text);
    expect(await sample(7, { temperature: 1e-6 })).toBe((await wholeAnswer(engine, request(PROMPT))).text);
  });

  it('gives the model’s own log-probability, whatever the temperature', async () => {
    const asked = { temperature: 1.7, topP: 0.8, seed: 3, maxTokens: 1, topLogprobs: 20 } as const;
    const greedy = await wholeAnswer(engine, request(PROMPT, { maxTokens: 1, topLogprobs: 20 }));
    const own = new Map(greedy.tokens[0]!.detail!.top.map(({ token, logprob }) => [token, logprob]));
    const sampled = await wholeAnswer(engine, request(PROMPT, asked));
    for (const { token, logprob } of sampled.tokens[0]!.detail!.top) expect(own.get(token)).toBeCloseTo(logprob, 3);
  });

  it('draws from the head of a large vocabulary what it would from all of it', async () => {
    const own = await openLlamaCppEngine({ ...OPTIONS, model: largeVocabulary(gguf.dir), sequences: 1 });
    try {
      for (const [temperature, topP] of [
        [1, 1],
        [0.8, 0.9],
      ] as const) {
        const asked = request(PROMPT, { temperature, topP, seed: 5, maxTokens: 24 });
        const head = await wholeAnswer(own, asked);
        const all = await wholeAnswer(own, { ...asked, distribution: true });
        expect(head.text).toBe(all.text);
        for (const [i, { logprob }] of all.tokens.entries()) expect(head.tokens[i]!.logprob).toBeCloseTo(logprob!, 3);
      }
    } finally {
      await own.close();
    }
  });

  it('leaves out the log-probabilities that nobody wants, and says the same', async () => {
    const told = await wholeAnswer(engine, request(PROMPT, { maxTokens: 40 }));
    const untold = await wholeAnswer(engine, request(PROMPT, { maxTokens: 40, logprobs: false }));
    expect(untold.text).toBe(told.text);
    expect(told.tokens.every(({ logprob }) => typeof logprob === 'number' && Number.isFinite(logprob))).toBe(true);
    expect(untold.tokens.map(({ logprob }) => logprob)).toEqual(untold.tokens.map(() => null));
    const listed = await wholeAnswer(engine, request(PROMPT, { maxTokens: 1, logprobs: false, topLogprobs: 2 }));
    expect(listed.tokens[0]).toMatchObject({ logprob: told.tokens[0]!.logprob, detail: { top: [{}, {}] } });
  });

  it('draws tokens as often as their probabilities say', async () => {
    const asked = { temperature: 1, maxTokens: 1, topLogprobs: 1 } as const;
    const { token, logprob } = (await wholeAnswer(engine, request(PROMPT, asked))).tokens[0]!.detail!.top[0]!;
    const p = Math.exp(logprob);
    let hits = 0;
    const draws = 150;
    for (let seed = 0; seed < draws; seed++) {
      const answer = await wholeAnswer(engine, request(PROMPT, { ...asked, seed }));
      if (answer.tokens[0]?.detail?.token === token) hits++;
    }
    // Four standard deviations.
    expect(Math.abs(hits / draws - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / draws));
  });
});

describe('cancelling, queue and end', () => {
  it('ends within one token and frees the sequence', async () => {
    const controller = new AbortController();
    const asked = request(PROMPT, { maxTokens: 400, signal: controller.signal });
    let tokens = 0;
    const reading = (async () => {
      for await (const event of engine.generate(asked)) {
        if (event.type === 'token' && ++tokens === 3) controller.abort();
      }
    })();
    expect((await codeOf(reading)).code).toBe('interrupted');
    expect(tokens).toBe(3);
    expect(engine.load().running).toBe(0);
  });

  it('frees the sequence at once where nobody reads on, or the reader leaves', async () => {
    const controller = new AbortController();
    const stuck = await held(request(PROMPT, { signal: controller.signal }));
    expect(engine.load().running).toBe(1);
    controller.abort();
    expect(engine.load().running).toBe(0);
    expect((await codeOf(stuck.next())).code).toBe('interrupted');
    const left = await held(request(PROMPT));
    await left.return?.();
    expect(engine.load().running).toBe(0);
    expect((await wholeAnswer(engine, request(PROMPT))).usage.completionTokens).toBe(16);
  });

  it('scores in its turn, and ends it when cancelled: what was read is right for the next', async () => {
    const ids = [...engine.tokenize({ kind: 'text', text: 'word '.repeat(400) })];
    const ask = (signal = new AbortController().signal) => engine.scoreTokens({ ids, from: 1, topLogprobs: 1, signal });
    const running = [await held(request(PROMPT)), await held(request(PROMPT))];
    const controller = new AbortController();
    const waiting = codeOf(ask(controller.signal));
    expect(engine.load()).toMatchObject({ running: 2, waiting: 1 });
    expect((await codeOf(ask())).code).toBe('engine-busy');
    controller.abort();
    expect((await waiting).code).toBe('interrupted');
    for (const iterator of running) await iterator.return?.();
    const late = new AbortController();
    const cut = codeOf(ask(late.signal));
    await new Promise((resolve) => setTimeout(resolve, 1));
    late.abort();
    expect((await cut).code).toBe('interrupted');
    const [first, again] = [await ask(), await ask()];
    expect(first.tokens).toHaveLength(ids.length - 1);
    expect(again.cachedTokens).toBeGreaterThan(ids.length - 3);
    expect(again.tokens.slice(0, -1)).toEqual(first.tokens.slice(0, -1));
    expect(engine.load().running).toBe(0);
  });

  it('refuses with engine-busy when the queue is full; a waiter that is cancelled leaves it', async () => {
    const running = [await held(request(PROMPT)), await held(request(PROMPT))];
    const controller = new AbortController();
    const waiting = codeOf(wholeAnswer(engine, request(PROMPT, { signal: controller.signal })));
    expect(engine.load()).toEqual({ running: 2, waiting: 1, capacity: 2, queue: 1 });
    expect((await codeOf(wholeAnswer(engine, request(PROMPT)))).code).toBe('engine-busy');
    controller.abort();
    expect((await waiting).code).toBe('interrupted');
    const next = wholeAnswer(engine, request(PROMPT));
    await running[0]!.return?.();
    expect((await next).usage.completionTokens).toBe(16);
    await running[1]!.return?.();
    expect(engine.load()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('waits for running answers when it is closed, and takes no new ones', async () => {
    const own = await openLlamaCppEngine({ ...OPTIONS, model: gguf.model });
    const iterator = own.generate(request(PROMPT))[Symbol.asyncIterator]();
    await iterator.next();
    let closed = false;
    const closing = own.close().then(() => {
      closed = true;
    });
    expect((await codeOf(wholeAnswer(own, request(PROMPT)))).code).toBe('engine-unavailable');
    let tokens = 0;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) tokens++;
    expect(tokens).toBe(17); // and the end
    expect(closed).toBe(false);
    await closing;
    await own.close(); // twice does no harm
  });

  it('ends answers that go on for too long after it is closed', async () => {
    const own = await openLlamaCppEngine({ ...OPTIONS, model: gguf.model, closeTimeoutMs: 1 });
    const iterator = own.generate(request(PROMPT, { maxTokens: 400 }))[Symbol.asyncIterator]();
    await iterator.next();
    await own.close();
    expect((await codeOf(iterator.next())).code).toBe('interrupted');
  });
});

describe('bad input', () => {
  it('names the tokens found and allowed when they do not fit', async () => {
    const error = await codeOf(wholeAnswer(engine, request('word '.repeat(600))));
    expect(error.code).toBe('context-exceeded');
    expect(error.message).toMatch(/\d+ tokens of prompt and 16 of answer, expected at most 512/);
    const query = new Query({ kind: 'text', text: 'word '.repeat(600) });
    expect((await codeOf(engine.promptNll(query, [], new AbortController().signal))).code).toBe('context-exceeded');
  });

  it('asks for the tokens of a query once, for its complexity and its answer', async () => {
    const tokenize = vi.spyOn(engine, 'tokenize');
    const asked = request(PROMPT, { maxTokens: 2 });
    await engine.promptNll(asked.query, [], asked.signal);
    await wholeAnswer(engine, asked);
    expect(tokenize).toHaveBeenCalledTimes(1);
    tokenize.mockRestore();
  });

  it('fills the context to its last token', async () => {
    const text = 'word '.repeat(470);
    const maxTokens = 512 - engine.tokenize({ kind: 'text', text }).length;
    expect(maxTokens).toBeLessThan(100);
    const { usage, finishReason } = await wholeAnswer(engine, request(text, { maxTokens }));
    expect(finishReason).toBe('length');
    expect(usage.promptTokens + usage.completionTokens).toBe(512);
  });

  it('scores no token that the model lacks, none without another before it, and no sequence beyond the context', async () => {
    const { signal } = new AbortController();
    const ask = (ids: number[], from = 1) => codeOf(engine.scoreTokens({ ids, from, topLogprobs: 0, signal }));
    const lacking = await ask([0, 5, 1_000_000]);
    expect([lacking.code, lacking.message]).toEqual(['request-invalid', 'token 1000000 at 2, expected 0 to 3071']);
    expect((await ask([0, -1])).code).toBe('request-invalid');
    expect((await ask([0, 1.5])).code).toBe('request-invalid');
    expect((await ask([])).code).toBe('request-invalid');
    expect((await ask([0, 5], 0)).code).toBe('request-invalid');
    expect((await ask(Array(513).fill(5))).code).toBe('context-exceeded');
    expect(() => engine.vocabulary.spell([9999])).toThrow('token 9999 at 0');
    expect(() => engine.vocabulary.decode([9999])).toThrow('token 9999 at 0');
    expect((await engine.scoreTokens({ ids: [0, 5], from: 2, topLogprobs: 0, signal })).tokens).toEqual([]);
  });

  it('says what is wrong with a model', async () => {
    const open = (model: string) => codeOf(openLlamaCppEngine({ ...OPTIONS, model }));
    expect((await open(join(gguf.dir, 'none.gguf'))).code).toBe('file-not-found');
    const text = join(gguf.dir, 'text.gguf');
    writeFileSync(text, 'this is no model at all, only text');
    expect((await open(text)).code).toBe('gguf-invalid');
    expect((await open(gguf.adapter(0).path)).code).toBe('gguf-unsupported');
    const long = codeOf(openLlamaCppEngine({ ...OPTIONS, model: gguf.model, contextTokens: 513 }));
    expect((await long).message).toContain('expected 2 to 512');
    const many = codeOf(openLlamaCppEngine({ ...OPTIONS, model: gguf.model, sequences: 300 }));
    expect((await many).message).toContain('300 sequences, expected 1 to 256');
  });

  it('says what is wrong with an adapter, and answers the next request', async () => {
    const none = { id: 'none', path: join(gguf.dir, 'none.gguf'), scale: 1 };
    expect((await codeOf(wholeAnswer(engine, request(PROMPT, { adapters: [none] })))).code).toBe('file-not-found');
    const base = { id: 'base', path: gguf.model, scale: 1 };
    expect((await codeOf(wholeAnswer(engine, request(PROMPT, { adapters: [base] })))).code).toBe('adapter-mismatch');
    expect(engine.load().running).toBe(0);
    expect((await wholeAnswer(engine, request(PROMPT))).usage.completionTokens).toBe(16);
  });
});

it('prints nothing', () => {
  const script = join(gguf.dir, 'script', 'quiet.mts');
  mkdirSync(join(gguf.dir, 'script'));
  const source = JSON.stringify(join(ROOT, 'src', 'engine', 'llama', 'engine.ts'));
  const types = JSON.stringify(join(ROOT, 'src', 'engine', 'types.ts'));
  const model = JSON.stringify(gguf.model);
  writeFileSync(
    script,
    `const { openLlamaCppEngine } = await import(${source});
    const signal = new AbortController().signal;
    const engine = await openLlamaCppEngine({ model: ${model}, name: 'edge', threads: 1, gpu: 'auto' });
    const { Query } = await import(${types});
    const query = new Query({ kind: 'text', text: 'Once upon' });
    const adapters = [{ id: 'no', path: ${model}, scale: 1 }];
    for await (const _ of engine.generate({ query, maxTokens: 4, temperature: 0, topP: 1, seed: 1, stop: [], topLogprobs: 1, signal }));
    await engine.promptNll(query, adapters, signal).catch(() => {});
    await openLlamaCppEngine({ model: ${JSON.stringify(gguf.adapter(0).path)}, name: 'no' }).catch(() => {});
    await engine.close();`,
  );
  const run = spawnSync(process.execPath, ['--import', 'tsx', script], { encoding: 'utf8', timeout: 60_000 });
  expect({ status: run.status, stdout: run.stdout, stderr: run.stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
});
