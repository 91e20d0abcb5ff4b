/**
 * Reading tokens into a sequence and asking for the distribution after them. `controlledEvaluate` with the model's own logits
 * and their sum is the cheapest way that is also right: node-llama-cpp's `confidence` and `probabilities` are those after
 * temperature and top_p, and sort the vocabulary for it.
 */

import type { ControlledEvaluateInputItem, LlamaContextSequence, Token } from 'node-llama-cpp';
import { interrupted } from '../clock.js';
import type { NextToken } from './next-token.js';

/** How much of the distribution is listed: nothing but the best token, the likeliest n, or everything. */
export type Listed = number | 'all';

/** Tokens read before cancelling takes effect: one batch of llama.cpp. */
const CHUNK = 512;

/** Only the last tokens of a prompt are scored: each costs its own output layer (0.6 ms for a vocabulary of 32,000). */
const SCORED_TOKENS = 64;

/** A sequence of a context. */
export interface SequenceSlot {
  sequence: LlamaContextSequence;
  busy: boolean;
  lastUsed: number;
  /** a computation failed: what it holds is not to be trusted */
  broken: boolean;
}

/** A sequence in use by one request. Its steps throw CrayonError `interrupted` once it is cancelled or the signal has fired. */
export class SequenceReader {
  readonly #slot: SequenceSlot;
  readonly #signal: AbortSignal;
  readonly #vocabularySize: number;
  readonly #onRelease: () => void;
  #computing = false;
  #ended = false;

  /** @param onRelease called once, when the sequence is free again */
  constructor(slot: SequenceSlot, signal: AbortSignal, vocabularySize: number, onRelease: () => void) {
    this.#slot = slot;
    this.#signal = signal;
    this.#vocabularySize = vocabularySize;
    this.#onRelease = onRelease;
    signal.addEventListener('abort', this.cancel);
  }

  /** @throws CrayonError `interrupted` when the answer is no longer wanted */
  check(): void {
    if (this.#ended || this.#signal.aborted) throw interrupted();
  }

  /** Frees the sequence: at once, or as soon as the running computation is done. */
  readonly cancel = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal.removeEventListener('abort', this.cancel);
    if (!this.#computing) this.#free();
  };

  /** Reads a prompt, but for what the sequence holds of it already. */
  async prompt(ids: readonly number[], listed: Listed): Promise<{ next: NextToken; cachedTokens: number }> {
    // The last token is read in any case: what comes after it is what is wanted.
    const cachedTokens = await this.#keep(ids, ids.length - 1);
    const start = await this.#chunks(ids, cachedTokens, ids.length);
    return { next: await this.next(ids.slice(start), listed), cachedTokens };
  }

  /** Reads the tokens and gives the distribution after the last of them. */
  async next(ids: readonly number[], listed: Listed): Promise<NextToken> {
    const logits = listed === 'all' || (listed > 0 && { filter: { tokens: [], includeTop: listed } });
    const options = { generateNext: { token: true, logits, totalLogitWeight: true } };
    const input: ControlledEvaluateInputItem[] = tokens(ids);
    input[ids.length - 1] = [ids.at(-1)! as Token, options];
    const output = await this.#run((sequence) => sequence.controlledEvaluate(input));
    const { token, logits: found, totalLogitWeight } = output[ids.length - 1]!.next;
    if (typeof token !== 'number' || totalLogitWeight === undefined) throw new Error('llama.cpp gave no next token');
    const listedLogits = found ?? new Map<Token, number>();
    return {
      best: token,
      ids: [...listedLogits.keys()],
      logits: [...listedLogits.values()],
      total: totalLogitWeight,
      vocabularySize: this.#vocabularySize,
    };
  }

  /** The last token read once more, with the whole distribution. */
  async again(id: number): Promise<NextToken> {
    await this.#run((sequence) => eraseFrom(sequence, sequence.nextTokenIndex - 1));
    return this.next([id], 'all');
  }

  /** Mean negative log-likelihood of the last tokens of a prompt, nats a token; 0 where there is none to predict. */
  async promptNll(ids: readonly number[]): Promise<number> {
    const first = Math.max(1, ids.length - SCORED_TOKENS);
    if (first >= ids.length) return 0;
    const cached = await this.#keep(ids, first - 1);
    const start = await this.#chunks(ids, cached, first);
    // Up to here only to be read; from `first - 1` on, each token says how likely the next one was. No list of the
    // vocabulary is made: the logits of that token and of the best one, and the sum, are enough.
    const input = ids.slice(start).map((id, i): ControlledEvaluateInputItem => {
      const target = ids[start + i + 1];
      if (start + i < first - 1 || target === undefined) return id as Token;
      const logits = { filter: { tokens: [target as Token], includeSelected: true } };
      return [id as Token, { generateNext: { logits, totalLogitWeight: true } }];
    });
    const output = await this.#run((sequence) => sequence.controlledEvaluate(input));
    let sum = 0;
    for (const [i, item] of output.entries()) {
      if (item?.next.logits === undefined) continue;
      const { logits, totalLogitWeight } = item.next;
      sum += Math.log(totalLogitWeight!) + Math.max(...logits.values()) - logits.get(ids[start + i + 1]! as Token)!;
    }
    return sum / (ids.length - first);
  }

  /** Makes the sequence hold a common beginning with `ids`, at most `most` tokens of it. @returns how many */
  #keep(ids: readonly number[], most: number): Promise<number> {
    return this.#run(async (sequence) => {
      const common = Math.min(commonLength(sequence.contextTokens, ids), most);
      if (common < sequence.nextTokenIndex) await eraseFrom(sequence, common);
      return sequence.nextTokenIndex;
    });
  }

  /** Reads whole chunks while more than one remains before `end`. @returns where the rest starts */
  async #chunks(ids: readonly number[], from: number, end: number): Promise<number> {
    let start = from;
    for (; end - start > CHUNK; start += CHUNK) {
      const chunk = tokens(ids.slice(start, start + CHUNK));
      await this.#run((sequence) => sequence.evaluateWithoutGeneratingNewTokens(chunk));
    }
    return start;
  }

  async #run<T>(compute: (sequence: LlamaContextSequence) => Promise<T>): Promise<T> {
    this.check();
    this.#computing = true;
    this.#slot.broken = true; // until it has gone well
    try {
      const result = await compute(this.#slot.sequence);
      this.#slot.broken = false;
      this.check();
      return result;
    } finally {
      this.#computing = false;
      if (this.#ended) this.#free();
    }
  }

  #free(): void {
    this.#slot.busy = false;
    this.#onRelease();
  }
}

/** Forgets what the sequence holds from this token on. */
function eraseFrom(sequence: LlamaContextSequence, start: number): Promise<void> {
  return sequence.eraseContextTokenRanges([{ start, end: sequence.nextTokenIndex }]);
}

/** node-llama-cpp brands its token ids; these come from its own tokenizer. */
function tokens(ids: readonly number[]): Token[] {
  return [...ids] as Token[];
}

/** Number of equal tokens at the start. */
export function commonLength(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}
