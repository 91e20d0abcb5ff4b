/**
 * Drawing tokens that nothing else steers, each in its turn: from the distribution's head, as long as the draw cannot fall outside, then
 * from a longer one, then from all. Every length gives the same token; it is the time that differs: of 49,152 words, the head of 128 takes
 * 1 ms, that of 1,024 takes 3, all 40; of 262,144 words all takes 240.
 */

import type { Random } from '../../core/random.js';
import type { GenerateRequest } from '../types.js';
import { drawToken, logprobOf } from './next-token.js';
import type { Decide } from './reader.js';
import type { Chosen } from './steering.js';

/** How much is listed, one after the other; what comes after the last is all. */
export const HEADS = [128, 1024, 16_384] as const;

/** A head outside of which every second draw falls is passed over, after so many draws. */
const TRIED = 8;

export interface DrawingOptions {
  request: Pick<GenerateRequest, 'temperature' | 'topP'>;
  random: Random;
}

export class Drawing implements Decide {
  readonly also = [];
  readonly #request: DrawingOptions['request'];
  readonly #random: Random;
  /** of `HEADS` that are asked for after what is told at first, and how often each fell short */
  readonly #heads: Array<{ size: number; tried: number; missed: number }>;
  #chosen: Chosen | null = null;

  /** @param first what is told of each token without being asked */
  constructor({ request, random }: DrawingOptions, first: number | 'all') {
    this.#request = request;
    this.#random = random;
    this.#heads = HEADS.filter((size) => first !== 'all' && size > first).map((size) => ({
      size,
      tried: 0,
      missed: 0,
    }));
  }

  /** The token that was drawn in the last turn. */
  get chosen(): Chosen {
    return this.#chosen!;
  }

  readonly take: Decide['take'] = async (next, more) => {
    const { temperature, topP } = this.#request;
    const uniform = this.#random.uniform();
    let list = next;
    let at = drawToken(list, { temperature, topP }, uniform);
    for (const head of this.#heads) {
      const isMost = 2 * head.size > next.vocabularySize; // all is little more then
      if (at !== null || isMost || (head.tried >= TRIED && head.missed * 2 > head.tried)) continue;
      list = await more(head.size);
      at = drawToken(list, { temperature, topP }, uniform);
      head.tried++;
      if (at === null) head.missed++;
    }
    if (at === null) {
      list = await more('all');
      at = drawToken(list, { temperature, topP }, uniform)!;
    }
    this.#chosen = { id: list.ids[at]!, logprob: logprobOf(list, at) };
  };
}
