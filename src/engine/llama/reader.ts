/**
 * Reading tokens into a sequence and asking for the distribution after them. The model's own logits and their sum are the cheapest way
 * that is also right: node-llama-cpp's `confidence` and `probabilities` are those after temperature and top_p, and sort the vocabulary
 * for it.
 */

import { isCrayonError } from '../../core/errors.js';
import { interrupted } from '../clock.js';
import type { TokenScore } from '../types.js';
import type { Asked, Sequence, Told } from './decoder.js';
import type { ToldLogits } from './inside.js';
import { checkedTotal, type NextToken } from './next-token.js';

/** How much of the distribution is listed: nothing but the best token, the likeliest n, everything, or these tokens. */
export type Listed = number | 'all' | readonly number[];

/** How a token is chosen in its own turn, while more can be asked of its distribution. */
export interface Decide {
  /** tokens whose logits are told too, likely or not; read at each turn */
  also: readonly number[];
  /** @param more the same distribution with more of it listed */
  take(next: NextToken, more: (listed: Listed) => Promise<NextToken>): Promise<void>;
}

const toldFor = (listed: Listed, also: readonly number[] = []): ToldLogits => {
  if (typeof listed === 'object') return [listed, false, false, false, 0];
  return listed === 'all' || ((listed > 0 || also.length > 0) && [also, false, false, false, listed]);
};

const nextOf = ({ token, logits, total = Number.NaN }: Told, vocabularySize: number): NextToken => {
  return { best: token, ids: [...logits.keys()], logits: [...logits.values()], total, vocabularySize };
};

/** Of an answer whose log-probabilities nobody wants, the sum over the vocabulary is looked at once in so many tokens. */
const CHECKED_EVERY = 16;

/** Tokens scored at a time: one batch of llama.cpp. */
const CHUNK = 512;

/**
 * Tokens of a prompt that are read at a time, from its beginning on, before cancelling takes effect. llama.cpp's kernels round
 * otherwise in a batch of another size (0.02 to 0.16 nats in Q4_1, more than enough to turn a close answer), so that a prompt is always
 * cut at the same places, whatever of it the cache holds.
 */
const BLOCK = 128;

/** For the complexity only a prompt's last tokens are scored: each costs its own output layer (0.6 ms for 32,000 words). */
const SCORED_TOKENS = 64;

/** Logits that llama.cpp holds for one batch of scored tokens (64 MiB in single precision): a large vocabulary has short ones. */
const MAX_LOGITS = 2 ** 24;

const scoredAtOnce = (vocabularySize: number): number =>
  Math.max(1, Math.min(CHUNK, Math.floor(MAX_LOGITS / vocabularySize)));

const EVEN = 32;

/**
 * Tokens that are ever read at once: a block or a batch of scored ones, and a token of each sequence. llama.cpp reserves two rows of the
 * vocabulary for each, 594 MiB for its own 512 tokens and 151,936 words. A multiple of EVEN: with 132 it reads a block more slowly by a sixth
 * than with 128 or 160.
 */
export const largestBatch = (vocabularySize: number, sequences: number): number =>
  EVEN * Math.ceil((Math.max(BLOCK, scoredAtOnce(vocabularySize)) + sequences) / EVEN);

/** A sequence of a context. */
export interface SequenceSlot {
  sequence: Sequence;
  busy: boolean;
  lastUsed: number;
  /** it has NaN in its cells, which outlive that they are forgotten: 0 times NaN is NaN */
  diverged: boolean;
  /** of the tokens that the sequence holds, by position, those that were scored: a common beginning is not read again for them */
  scores: Array<KnownScore | undefined>;
  /** so many tokens from the beginning were read in blocks */
  inBlocks: number;
}

/** With how many alternatives it was asked for. */
interface KnownScore {
  score: TokenScore;
  topLogprobs: number;
  asGenerated: boolean;
}

/** A sequence in use by one request. Its steps throw CrayonError `interrupted` once it is cancelled or the signal has fired. */
export class SequenceReader {
  readonly #slot: SequenceSlot;
  readonly #signal: AbortSignal;
  readonly #vocabularySize: number;
  readonly #onRelease: () => void;
  #computing = false;
  #ended = false;
  /** tokens that were given without their sum */
  #unchecked = 0;

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
  async prompt(
    ids: readonly number[],
    listed: Listed,
    decide?: Decide,
    counted = true,
  ): Promise<{ next: NextToken; cachedTokens: number }> {
    // The last token is read in any case: what comes after it is what is wanted. It is read by itself, as the answer's tokens are,
    // so that an answer does not depend on how much of its prompt was in the cache (see `#read`).
    const cachedTokens = await this.#keep(ids, ids.length - 1);
    await this.#read(ids, cachedTokens, ids.length - 1);
    return { next: await this.next(ids.at(-1)!, listed, decide, counted), cachedTokens };
  }

  /**
   * Reads a token and gives the distribution after it, of which `decide` may ask more before anything else is read.
   *
   * @param counted whether `total` is wanted: else, where nothing is listed either, it may be NaN
   */
  async next(id: number, listed: Listed, decide?: Decide, counted = true): Promise<NextToken> {
    const logits = toldFor(listed, decide?.also);
    const total = counted || logits !== false || decide !== undefined || this.#unchecked++ % CHECKED_EVERY === 0;
    const one = { at: 0, logits, total };
    const asked = decide === undefined ? one : { ...one, decide: this.#deciding(decide) };
    const [told] = await this.#evaluate([id], [asked]);
    return nextOf(told!, this.#vocabularySize);
  }

  #deciding({ take, also }: Decide): NonNullable<Asked['decide']> {
    const next = (told: Told): NextToken => nextOf(told, this.#vocabularySize);
    return (told, more) => {
      checkedTotal(told.total, this.#vocabularySize);
      return take(next(told), async (listed) => next(await more(toldFor(listed, also))));
    };
  }

  /** Mean negative log-likelihood of the last tokens of a prompt, nats a token; 0 where there is none to predict. */
  async promptNll(ids: readonly number[]): Promise<number> {
    const first = Math.max(1, ids.length - SCORED_TOKENS);
    if (first >= ids.length) return 0;
    const { scores } = await this.scores(ids, first, 0);
    return -scores.reduce((sum, { logprob }) => sum + logprob, 0) / scores.length;
  }

  /**
   * The log-probabilities of the tokens from index `from` (at least 1) on. The last token is only predicted, never read. What
   * the sequence holds and has scored before is not computed again.
   *
   * @param asGenerated token by token, as an answer is made, instead of in batches
   */
  async scores(
    ids: readonly number[],
    from: number,
    topLogprobs: number,
    asGenerated = false,
  ): Promise<{ scores: TokenScore[]; cachedTokens: number }> {
    const common = commonLength(this.#slot.sequence.tokens, ids);
    const known = this.#slot.scores.slice(from, common);
    const unknown = known.findIndex(
      (one) => one === undefined || one.topLogprobs < topLogprobs || (asGenerated && !one.asGenerated),
    );
    if (unknown >= 0) known.length = unknown;
    const first = from + known.length; // the first to be predicted: what stands before it must be read
    const cachedTokens = await this.#keep(ids, first - 1);
    await this.#read(ids, cachedTokens, first - 1);
    const scores = known.map((one) => cut(one!.score, topLogprobs));
    const size = asGenerated ? 1 : scoredAtOnce(this.#vocabularySize);
    for (let at = first - 1; at < ids.length - 1; at += size) {
      scores.push(...(await this.#scored(ids, at, Math.min(ids.length - 1, at + size), topLogprobs)));
    }
    for (const [i, score] of scores.entries()) {
      // What comes in the last one's place is not known yet.
      if (from + i < ids.length - 1) this.#slot.scores[from + i] = known[i] ?? { score, topLogprobs, asGenerated };
    }
    return { scores, cachedTokens };
  }

  /**
   * Reads the tokens from `at` to `end`; each says how likely the next one was. No list of the vocabulary is made: the logits of
   * that token and of the likeliest, and the sum, are enough.
   */
  async #scored(ids: readonly number[], at: number, end: number, topLogprobs: number): Promise<TokenScore[]> {
    // One alternative is the token that is chosen at temperature 0; a longer list sorts the vocabulary.
    const likeliest = topLogprobs > 1 ? topLogprobs : 0;
    const asked = Array.from({ length: end - at }, (_, i): Asked => {
      return { at: i, logits: [[ids[at + i + 1]!], false, false, likeliest === 0, likeliest] };
    });
    const told = await this.#evaluate(ids.slice(at, end), asked);
    return told.map(({ token: best, logits, total }, i) => {
      return tokenScore(ids[at + i + 1]!, best, logits, total, topLogprobs);
    });
  }

  /** @throws CrayonError `numbers-diverged` */
  #evaluate(ids: readonly number[], asked: readonly Asked[]) {
    return this.#run(async (sequence) => {
      const told = await sequence.evaluate(ids, asked);
      return told.map(({ total, ...rest }, i) => {
        const isUnasked = total === undefined && asked[i]!.total === false;
        return { ...rest, total: isUnasked ? Number.NaN : checkedTotal(total, this.#vocabularySize) };
      });
    });
  }

  /** Makes the sequence hold a common beginning with `ids`, at most `most` tokens of it. @returns how many */
  #keep(ids: readonly number[], most: number): Promise<number> {
    return this.#run(async (sequence) => {
      let common = Math.min(commonLength(sequence.tokens, ids), most);
      // A block of which a part is kept would be read in another size than from the beginning.
      if (common < this.#slot.inBlocks) common -= common % BLOCK;
      if (common < sequence.tokens.length || sequence.isDamaged) await sequence.erase(common);
      const kept = sequence.tokens.length; // nothing, where the cache could not do it
      this.#slot.inBlocks = Math.min(this.#slot.inBlocks, kept);
      this.#slot.scores.length = Math.min(this.#slot.scores.length, kept);
      return kept;
    });
  }

  /**
   * Reads tokens that nothing is asked after, in blocks: what comes after them must not depend on whether they were in the cache.
   */
  async #read(ids: readonly number[], from: number, end: number): Promise<void> {
    for (let start = from; start < end; ) {
      const next = Math.min(end, start - (start % BLOCK) + BLOCK);
      await this.#run((sequence) => sequence.evaluate(ids.slice(start, next)));
      start = next;
    }
    this.#slot.inBlocks = Math.max(this.#slot.inBlocks, end);
  }

  async #run<T>(compute: (sequence: Sequence) => Promise<T>): Promise<T> {
    this.check();
    this.#computing = true;
    try {
      const result = await compute(this.#slot.sequence);
      this.check();
      return result;
    } catch (error) {
      if (isCrayonError(error, 'numbers-diverged')) this.#slot.diverged = true;
      throw error;
    } finally {
      this.#computing = false;
      if (this.#ended) this.#free();
    }
  }

  #free(): void {
    this.#onRelease();
  }
}

/**
 * The score of a token by the model's own logits, in single precision as llama.cpp gives them: log-softmax is taken here.
 *
 * @param total sum of exp(logit - largest logit) over the whole vocabulary
 */
function tokenScore(
  id: number,
  best: number,
  logits: ReadonlyMap<number, number>,
  total: number,
  topLogprobs: number,
): TokenScore {
  const offset = logits.get(best)! + Math.log(total);
  const listed = [...logits].map(([token, logit]) => ({ id: token, logprob: logit - offset }));
  listed.sort((a, b) => b.logprob - a.logprob || Number(b.id === best) - Number(a.id === best));
  return { id, logprob: logits.get(id)! - offset, best, top: listed.slice(0, topLogprobs) };
}

function cut(score: TokenScore, topLogprobs: number): TokenScore {
  return score.top.length === topLogprobs ? score : { ...score, top: score.top.slice(0, topLogprobs) };
}

/** Number of equal tokens at the start. */
export function commonLength(a: readonly number[], b: readonly number[]): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}
