/** Answers in batches are the answers one by one; records say of them what the model says. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerExamples, type LoadedModel, timeAnswers } from '../../src/bench/answers.js';
import { EXAMPLE_DELIMITER, inContext } from '../../src/bench/strategies/plain.js';
import type { Example } from '../../src/data/dataset.js';
import { HfModel } from '../../src/hf/model.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { LlamaModel } from '../../src/model/llama.js';
import { loadAdapterLora } from '../../src/train/adapter-lora.js';
import { answerPrompts, generateGreedy } from '../../src/train/answer.js';
import { scoreCompletions } from '../../src/train/evaluate.js';
import { fixture } from '../helpers/fixtures.js';

let base: LoadedModel;
beforeAll(async () => {
  await chooseBackend('wasm');
  const dir = fixture('models', 'llama');
  const source = HfModel.open(dir);
  base = { source, model: new LlamaModel(source), tokenizer: loadTokenizer(dir) };
});
afterAll(() => {
  base.model.dispose();
  base.source.close();
  releaseBackend();
});

const PROMPTS = ['the cat', 'a very much longer prompt of several words', 'x', '12 + 3 =', 'once upon'];

describe('answerPrompts', () => {
  const encode = (prompt: string) => base.tokenizer.encode(prompt);
  const plain = (prompt: string, maxNewTokens: number) =>
    generateGreedy(base.model, encode(prompt), { maxNewTokens, stopIds: base.model.config.eosTokenIds });

  it('gives the tokens of one prompt at a time', async () => {
    const answers = await answerPrompts(
      base.model,
      base.tokenizer,
      PROMPTS.map((p) => ({ prompt: encode(p) })),
      {
        maxNewTokens: 12,
        batchSize: 2,
      },
    );
    for (const [i, prompt] of PROMPTS.entries()) {
      const text = base.tokenizer.decode(await plain(prompt, 12));
      expect(answers[i]!.text).toBe(text.split('\n')[0]);
    }
  });

  it('gives the same answers and probabilities with a right guess, a half right and a wrong one', async () => {
    const right = await Promise.all(PROMPTS.map((prompt) => plain(prompt, 10)));
    const halfRight = right.map((ids) => ids.map((id, i) => (i < 4 ? id : (id + 1) % 200)));
    const wrong = right.map((ids) => ids.map((id) => (id + 7) % 200));
    const run = (guesses?: number[][]) =>
      answerPrompts(
        base.model,
        base.tokenizer,
        PROMPTS.map((p, i) => ({ prompt: encode(p), ...(guesses && { guess: guesses[i]! }) })),
        { maxNewTokens: 10, lora: undefined },
      );
    const without = await run();
    for (const guesses of [right, halfRight, wrong]) {
      const guessed = await run(guesses);
      guessed.forEach((answer, i) => {
        expect(answer.text).toBe(without[i]!.text);
        expect(answer.logprobs).toEqual(without[i]!.logprobs.map((x) => expect.closeTo(x, 4)));
      });
    }
  });

  it('applies an adapter', async () => {
    const lora = loadAdapterLora(fixture('lora', 'llama'), base.source);
    const options = { maxNewTokens: 8 };
    const requests = PROMPTS.map((p) => ({ prompt: encode(p) }));
    const [without, withLora, switchedOff] = await Promise.all([
      answerPrompts(base.model, base.tokenizer, requests, options),
      answerPrompts(base.model, base.tokenizer, requests, { ...options, lora }),
      answerPrompts(base.model, base.tokenizer, requests, {
        ...options,
        lora: { ...lora, gates: PROMPTS.map(() => [0]) },
      }),
    ]);
    const texts = (answers: typeof without) => answers.map(({ text }) => text);
    expect(texts(withLora)).not.toEqual(texts(without));
    expect(texts(switchedOff)).toEqual(texts(without));
  });

  it('stops when asked', async () => {
    const stop = new AbortController();
    stop.abort();
    const running = answerPrompts(base.model, base.tokenizer, [{ prompt: encode('x') }], {
      maxNewTokens: 4,
      signal: stop.signal,
    });
    await expect(running).rejects.toMatchObject({ code: 'interrupted' });
  });
});

describe('scoreCompletions', () => {
  it('reads what differs in the last token once, and scores it as if apart', async () => {
    const ids = (...list: number[]) => Int32Array.from(list);
    const examples = [
      { ids: ids(1, 20, 30, 40), promptLength: 3 },
      { ids: ids(1, 20, 30, 41), promptLength: 3 },
      { ids: ids(1, 20, 30, 42), promptLength: 2 },
      { ids: ids(1, 20, 31, 40, 50), promptLength: 3 },
    ];
    const lora = loadAdapterLora(fixture('lora', 'llama'), base.source);
    for (const gates of [[[1]], [[1], [0.5], [1], [1]]]) {
      const together = await scoreCompletions(base.model, examples, { lora: { ...lora, gates } });
      for (const [i, example] of examples.entries()) {
        const own = { ...lora, gates: [gates[gates.length > 1 ? i : 0]!] };
        const [alone] = await scoreCompletions(base.model, [example], { lora: own });
        expect(together[i]).toEqual({ ...alone, logprob: expect.closeTo(alone!.logprob, 4) });
      }
    }
  });
});

describe('answerExamples', () => {
  const choice: Example = {
    id: 'c:0',
    dataset: 'c',
    prompt: 'the sky is',
    completion: ' blue',
    choices: [' red', ' blue', ' grey and wet'],
    answer: 1,
  };

  it('records the choice that is likeliest, and how sure the model is of it', async () => {
    const settings = { method: 'loglikelihood' as const, batchSize: 4, maxTokens: 5 };
    const { records } = await answerExamples(base, [choice], settings);
    const [record] = records;
    const at = choice.choices!.findIndex((text) => text.trim() === record!.answer);
    expect(at).toBeGreaterThanOrEqual(0);
    expect(record!.correct).toBe(at === 1 ? 1 : 0);
    expect(record!.promptHash).toMatch(/^[0-9a-f]{64}$/);
    expect(JSON.stringify(record)).not.toContain('sky');
    expect(await timeAnswers(base, [choice, choice], settings)).toHaveLength(2);
  });

  it('answers the last tokens of a long prompt, without BOS, as lm-evaluation-harness does', async () => {
    const { maxPositionEmbeddings } = base.source.config;
    const [maxTokens, ids] = [30, base.tokenizer.encode('the cat sat on the mat and '.repeat(maxPositionEmbeddings))];
    const settings = { method: 'generation' as const, batchSize: 1, maxTokens };
    const prompt = base.tokenizer.decode(ids);
    const made = await answerExamples(base, [{ id: 'g:0', dataset: 'g', prompt, completion: ' x' }], settings);
    const whole = base.tokenizer.encode(prompt.trimEnd());
    const [expected] = await answerPrompts(
      base.model,
      base.tokenizer,
      [{ prompt: whole.slice(maxTokens - maxPositionEmbeddings) }],
      { maxNewTokens: maxTokens },
    );
    expect(made.records[0]!.answer).toBe(expected!.text.trim());
    expect(made.cutPrompts).toBe(1);
  });

  it('judges a generated answer by its whole line', async () => {
    const settings = { method: 'generation' as const, batchSize: 4, maxTokens: 30 };
    const ask = async (prompt: string, completion: string) =>
      (await answerExamples(base, [{ id: 'g:0', dataset: 'g', prompt, completion }], settings)).records[0]!;
    const { answer } = await ask('the cat', ' nothing like it');
    const again = await ask('the cat', ` ${answer}`);
    expect(again.answer).toBe(answer);
    expect((await ask('the cat', ` ${answer.slice(0, 3)}`)).correct).toBe(0);
  });
});

describe('inContext', () => {
  const shown = Array.from(
    { length: 5 },
    (_, i): Example => ({
      id: `s:${i}`,
      dataset: 's',
      prompt: `colour ${i} is`,
      completion: ` red${i}`,
    }),
  );
  const question: Example = { id: 'q:0', dataset: 's', prompt: 'colour of the sky is', completion: ' blue' };
  const room = 4;

  it('puts the first examples before the prompt, as many as fit', () => {
    const asked = inContext(shown, base, room)(question);
    const count = asked.prompt.split(EXAMPLE_DELIMITER).length - 1;
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(5); // the fixture's context is 64 tokens
    const texts = shown.map(({ prompt, completion }) => prompt + completion + EXAMPLE_DELIMITER);
    const text = (n: number) => texts.slice(0, n).join('') + question.prompt;
    expect(asked.prompt).toBe(text(count));
    const length = (n: number) => base.tokenizer.encode(text(n)).length;
    expect(length(count) + room).toBeLessThanOrEqual(64);
    expect(length(count + 1) + room).toBeGreaterThan(64);
  });

  it('leaves the prompt alone where none fits', () => {
    expect(inContext(shown, base, 60)(question)).toBe(question);
  });
});
