/** How much of a distribution is asked for before a token is drawn from it, and that the token is the same whatever that was. */

import { describe, expect, it } from 'vitest';
import { createRandom } from '../../../src/core/random.js';
import { Drawing, HEADS } from '../../../src/engine/llama/drawing.js';
import { drawToken, type NextToken } from '../../../src/engine/llama/next-token.js';
import type { Listed } from '../../../src/engine/llama/reader.js';

const TEMPERATURE = { temperature: 1, topP: 1 };

/** Logits falling by `slope` from token to token: 1 is all in the first few, 0.0001 nearly flat. */
function distribution(slope: number, V: number) {
  const logits = Array.from({ length: V }, (_, i) => -slope * i);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  return (listed: Listed): NextToken => {
    const n = typeof listed === 'number' ? listed : V;
    return { best: 0, ids: logits.slice(0, n).map((_, i) => i), logits: logits.slice(0, n), total, vocabularySize: V };
  };
}

async function drawn(slope: number, times: number, V = 5000) {
  const list = distribution(slope, V);
  const drawing = new Drawing({ request: TEMPERATURE, random: createRandom(1, 'test') }, HEADS[0]);
  const asked: Listed[][] = [];
  const ids: number[] = [];
  for (let i = 0; i < times; i++) {
    const of: Listed[] = [];
    await drawing.take(list(HEADS[0]), async (listed) => {
      of.push(listed);
      return list(listed);
    });
    asked.push(of);
    ids.push(drawing.chosen.id);
  }
  const random = createRandom(1, 'test');
  const fromAll = ids.map(() => drawToken(list('all'), TEMPERATURE, random.uniform())!);
  return { asked, ids, fromAll };
}

describe('a draw', () => {
  it('asks for nothing more where it falls into the head', async () => {
    const { asked, ids, fromAll } = await drawn(0.5, 20);
    expect(asked.flat()).toEqual([]);
    expect(ids).toEqual(fromAll);
  });

  it('asks for a longer head first where it falls outside', async () => {
    const { asked, ids, fromAll } = await drawn(0.006, 40);
    expect(asked.some((of) => of.length === 1 && of[0] === HEADS[1])).toBe(true);
    expect(ids).toEqual(fromAll);
  });

  it('asks for one longer still of a large vocabulary, before all', async () => {
    const { asked, ids, fromAll } = await drawn(0.0008, 10, 100_000);
    expect(asked.some((of) => of.at(-1) === HEADS[2])).toBe(true);
    expect(ids).toEqual(fromAll);
  });

  it('goes on to all of it, and passes over a head that has fallen short too often', async () => {
    const { asked, ids, fromAll } = await drawn(0.0001, 20);
    expect(asked[0]).toEqual([HEADS[1], 'all']);
    expect(asked.at(-1)).toEqual(['all']);
    expect(ids).toEqual(fromAll);
  });
});
