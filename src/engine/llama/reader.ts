/**
 * Reading tokens into a sequence and asking for the distribution after them. `controlledEvaluate` with the model's own logits
 * and their sum is the cheapest way that is also right: node-llama-cpp's `confidence` and `probabilities` are those after
 * temperature and top_p, and sort the vocabulary for it.
 */

import type { ControlledEvaluateInputItem, LlamaContextSequence, Token } from 'node-llama-cpp';
import { commonLength, type Lease } from './contexts.js';
import type { NextToken } from './next-token.js';

/** How much of the distribution is listed: nothing but the best token, the likeliest n, or everything. */
export type Listed = number | 'all';

/** Tokens read before cancelling takes effect: one batch of llama.cpp. */
const CHUNK = 512;

/** Only the last tokens of a prompt are scored: each costs its own output layer (0.6 ms for a vocabulary of 32,000). */
const SCORED_TOKENS = 64;

export class SequenceReader {
  readonly #lease: Lease;
  readonly #vocabularySize: number;

  constructor(lease: Lease, vocabularySize: number) {
    this.#lease = lease;
    this.#vocabularySize = vocabularySize;
  }

  /** @throws CrayonError `interrupted` when the answer is no longer wanted */
  check(): void {
    this.#lease.check();
  }

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
    const output = await this.#lease.run((sequence) => sequence.controlledEvaluate(input));
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
    await this.#lease.run((sequence) => {
      return sequence.eraseContextTokenRanges([{ start: sequence.nextTokenIndex - 1, end: sequence.nextTokenIndex }]);
    });
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
    const output = await this.#lease.run((sequence) => sequence.controlledEvaluate(input));
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
    return this.#lease.run(async (sequence) => {
      const common = Math.min(commonLength(sequence.contextTokens, ids), most);
      if (common < sequence.nextTokenIndex) {
        await sequence.eraseContextTokenRanges([{ start: common, end: sequence.nextTokenIndex }]);
      }
      return sequence.nextTokenIndex;
    });
  }

  /** Reads whole chunks while more than one remains before `end`. @returns where the rest starts */
  async #chunks(ids: readonly number[], from: number, end: number): Promise<number> {
    let start = from;
    for (; end - start > CHUNK; start += CHUNK) {
      const chunk = tokens(ids.slice(start, start + CHUNK));
      await this.#lease.run((sequence: LlamaContextSequence) => sequence.evaluateWithoutGeneratingNewTokens(chunk));
    }
    return start;
  }
}

/** node-llama-cpp brands its token ids; these come from its own tokenizer. */
function tokens(ids: readonly number[]): Token[] {
  return [...ids] as Token[];
}
