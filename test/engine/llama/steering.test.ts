/** Steered choices, compared with a dense computation of the distribution that the documents promise. */

import { describe, expect, it } from 'vitest';
import { createRandom, type Random } from '../../../src/core/random.js';
import type { AnswerGrammar } from '../../../src/engine/llama/grammar/state.js';
import type { NextToken } from '../../../src/engine/llama/next-token.js';
import { steering } from '../../../src/engine/llama/steering.js';
import type { GenerateRequest } from '../../../src/engine/types.js';
import { generateRequest } from '../../helpers/generate.js';

const V = 300;
const random = createRandom(3);
const LOGITS = Array.from({ length: V }, () => 2.5 * random.normal());
const TOTAL = LOGITS.reduce((sum, logit) => sum + Math.exp(logit - Math.max(...LOGITS)), 0);

/** As llama.cpp tells it: the likeliest, then those asked for by id. */
function told(size: number, also: readonly number[] = []): NextToken {
  const order = [...LOGITS.keys()].sort((a, b) => LOGITS[b]! - LOGITS[a]!);
  const head = order.slice(0, size);
  const ids = [...head, ...order.slice(size).filter((id) => also.includes(id))];
  return { best: order[0]!, ids, logits: ids.map((id) => LOGITS[id]!), total: TOTAL, vocabularySize: V };
}

type Asked = Partial<GenerateRequest>;

/** Probabilities by id, straight from the definitions. @param recent the last 64 tokens @param answer those of the answer */
function oracle(asked: Asked, recent: readonly number[], answer: readonly number[]): Map<number, number> {
  const {
    temperature = 1,
    topP = 1,
    topK = 0,
    minP = 0,
    repeatPenalty = 1,
    presencePenalty = 0,
    frequencyPenalty = 0,
    logitBias,
  } = asked;
  let rows = LOGITS.map((logit, id) => {
    let l = logit + (logitBias?.get(id) ?? 0);
    if (recent.includes(id)) l = l > 0 ? l / repeatPenalty : l * repeatPenalty;
    const count = answer.filter((one) => one === id).length;
    return { id, l: l - frequencyPenalty * count - (count > 0 ? presencePenalty : 0) };
  }).sort((a, b) => b.l - a.l);
  if (topK > 0) rows = rows.slice(0, topK);
  const best = rows[0]!.l;
  if (temperature === 0) return new Map([[rows[0]!.id, 1]]);
  const weight = (l: number) => Math.exp((l - best) / temperature);
  const all = rows.reduce((sum, { l }) => sum + weight(l), 0);
  let mass = 0;
  const nucleus = rows.filter(({ l }) => {
    const isIn = mass < topP * all;
    mass += weight(l);
    return isIn;
  });
  const left = nucleus.filter(({ l }) => Math.exp(l - best) >= minP);
  const sum = left.reduce((total, { l }) => total + weight(l), 0);
  return new Map(left.map(({ id, l }) => [id, weight(l) / sum]));
}

const PROMPT = Array.from({ length: 80 }, (_, i) => (i * 7) % V);
const ANSWER = [5, 9, 5, 5, 200, 9];

/** What is chosen for each of many uniforms, from a list of this size. */
async function drawn(
  asked: Asked,
  size: number,
  uniforms: readonly number[],
  times: number,
  grammar: AnswerGrammar | null = null,
) {
  let used = 0;
  let more = 0;
  const fixed = { uniform: () => uniforms[used++]! } as Random;
  const request = {
    ...generateRequest({ prompt: { kind: 'text', text: '' } }),
    temperature: 1,
    topP: 1,
    ...asked,
  } as GenerateRequest;
  const steered = steering({ request, random: fixed, grammar, ids: PROMPT })!;
  for (const id of ANSWER) steered.accept(id);
  const ids: number[] = [];
  const logprobs: number[] = [];
  for (let i = 0; i < times; i++) {
    await steered.take(told(size, steered.also), async (listed) => {
      more++;
      if (typeof listed === 'object') {
        const { ids, logits, ...rest } = told(V);
        const named = ids.filter((id) => listed.includes(id));
        return { ...rest, ids: named, logits: named.map((id) => logits[ids.indexOf(id)]!) };
      }
      return told(listed === 'all' ? V : listed, steered.also);
    });
    ids.push(steered.chosen.id);
    logprobs.push(steered.chosen.logprob);
  }
  return { ids, logprobs, more };
}

const chosen = (asked: Asked, size: number, uniforms: readonly number[]) =>
  drawn(asked, size, uniforms, uniforms.length);

const CASES: Array<[string, Asked]> = [
  ['top_k', { topK: 7 }],
  ['top_k beyond the list', { topK: 100 }],
  ['min_p', { minP: 0.05 }],
  ['min_p at a temperature', { minP: 0.05, temperature: 1.8 }],
  ['repeat_penalty', { repeatPenalty: 1.7 }],
  ['repeat_penalty that invites', { repeatPenalty: 0.4 }],
  ['presence and frequency', { presencePenalty: 1.5, frequencyPenalty: 0.7 }],
  ['their opposites', { presencePenalty: -2, frequencyPenalty: -1.5 }],
  [
    'logit_bias',
    {
      logitBias: new Map([
        [11, 9],
        [told(1).best, -100],
      ]),
    },
  ],
  [
    'all of them',
    {
      topK: 40,
      topP: 0.9,
      minP: 0.02,
      temperature: 0.7,
      repeatPenalty: 1.2,
      presencePenalty: 0.4,
      logitBias: new Map([[3, 4]]),
    },
  ],
  [
    'greedy, with penalties',
    { temperature: 0, repeatPenalty: 1.9, frequencyPenalty: 1, logitBias: new Map([[told(1).best, -100]]) },
  ],
];

describe('a choice that is steered', () => {
  const uniforms = Array.from({ length: 400 }, (_, i) => (i + 0.5) / 400);

  it.each(CASES)(
    'has the distribution that is promised, from the whole list and from its head: %s',
    async (_, asked) => {
      const expected = oracle(asked, [...PROMPT, ...ANSWER].slice(-64), ANSWER);
      for (const size of [V, 60]) {
        const { ids } = await chosen(asked, size, uniforms);
        // Inverse transform over an even grid: as often as probable, but for one at each side of a share.
        for (const [id, p] of expected)
          expect(Math.abs(ids.filter((one) => one === id).length / 400 - p)).toBeLessThanOrEqual(1 / 400 + 1e-9);
        expect(ids.every((id) => expected.has(id))).toBe(true);
      }
    },
  );

  it('asks for the whole list only where the head cannot tell, and gives the model’s own log-probability', async () => {
    const { more, ids, logprobs } = await chosen({ topK: 7, repeatPenalty: 1.1 }, 60, uniforms);
    expect(more).toBe(0);
    for (const [i, id] of ids.entries())
      expect(logprobs[i]).toBeCloseTo(LOGITS[id]! - Math.max(...LOGITS) - Math.log(TOTAL), 12);
    expect((await chosen({ topK: 100 }, 60, [0.5])).more).toBe(1);
  });

  /** Admits these ids; `isFew`: and can list them. */
  const grammarOf = (admitted: ReadonlySet<number>, isFew: boolean) =>
    ({
      allows: (id) => admitted.has(id),
      few: () => (isFew ? [...admitted] : null),
      refused: (ids) => new Set(ids.filter((id) => !admitted.has(id))),
      accept: () => {},
    }) as Pick<AnswerGrammar, 'allows' | 'few' | 'refused' | 'accept'> as AnswerGrammar;
  const order = told(V).ids;
  const HELD: Array<[string, readonly number[]]> = [
    ['tokens behind all that are tried', [100, 140, 141, 200, 250, 299]],
    ['one token', [170]],
    ['the likeliest, among others', [0, 1, 7, 50, 90, 120]],
  ];

  it.each(HELD)('under a grammar has the distribution that is left of it: %s', async (_, ranks) => {
    const admitted = new Set(ranks.map((rank) => order[rank]!));
    const all = ranks.reduce((sum, rank) => sum + Math.exp(LOGITS[order[rank]!]!), 0);
    // Two draws of one grid are not independent: whoever is drawn anew gets numbers of a generator.
    const generator = createRandom(11);
    const many = Array.from({ length: 12_000 }, () => generator.uniform());
    for (const isFew of [true, false])
      for (const size of [V, 60]) {
        const steered = grammarOf(admitted, isFew);
        const { ids } = await drawn({}, size, many, 300, steered);
        for (const id of admitted) {
          const p = Math.exp(LOGITS[id]!) / all;
          const share = ids.filter((one) => one === id).length / 300;
          expect(Math.abs(share - p)).toBeLessThan(4.5 * Math.sqrt((p * (1 - p)) / 300) + 1e-9);
        }
        expect(ids.every((id) => admitted.has(id))).toBe(true);
        const greedy = await drawn({ temperature: 0 }, 0, many, 1, steered);
        expect(greedy.ids).toEqual([order[ranks[0]!]]);
        expect(greedy.logprobs[0]).toBeCloseTo(LOGITS[greedy.ids[0]!]! - LOGITS[order[0]!]! - Math.log(TOTAL), 12);
      }
  });

  it('draws the same token under a grammar whether what it admits is few or many', async () => {
    const generator = createRandom(12);
    const many = Array.from({ length: 8000 }, () => generator.uniform());
    const admitted = new Set(order.slice(90, 140));
    for (const size of [V, 60]) {
      const [listed, sought] = [true, false].map((isFew) => drawn({}, size, many, 200, grammarOf(admitted, isFew)));
      const { ids } = await listed!;
      expect(ids).toEqual((await sought!).ids);
      expect(new Set(ids).size).toBeGreaterThan(10);
    }
  });

  it('fails where the grammar admits nothing', async () => {
    for (const isFew of [true, false])
      await expect(drawn({}, 60, uniforms, 1, grammarOf(new Set(), isFew))).rejects.toMatchObject({
        code: 'format-unsupported',
      });
  });

  it('is none where nothing is asked for', () => {
    const request = generateRequest({ prompt: { kind: 'text', text: '' } });
    const none = { topK: 0, minP: 0, repeatPenalty: 1, presencePenalty: 0, frequencyPenalty: 0, logitBias: new Map() };
    expect(steering({ request: { ...request, temperature: 1, ...none }, random, grammar: null, ids: [1] })).toBeNull();
    expect(
      steering({ request: { ...request, temperature: 0, topK: 5, minP: 0.1 }, random, grammar: null, ids: [1] }),
    ).toBeNull();
  });
});
