/**
 * Choosing tokens where a request steers the choice: a grammar that the answer is held to, logits that it changes by the tokens that came
 * before or by name, a cut other than top_p. In llama.cpp's order: logit_bias, penalties, top_k, top_p, min_p, temperature.
 *
 * Of what is told of a distribution, its head, the choice is made as long as it cannot fall outside; asking for more costs the time of
 * the whole vocabulary. A token that the grammar does not admit is struck off and the draw repeated, which is the distribution that is
 * left: llama.cpp's way, but that it then asks the grammar about the whole vocabulary at once, as is done here after some tries only.
 */

import { CrayonError } from '../../core/errors.js';
import type { Random } from '../../core/random.js';
import type { GenerateRequest } from '../types.js';
import type { AnswerGrammar } from './grammar/state.js';
import { bestLogprob, drawSeen, type NextToken, type Seen, seenOf } from './next-token.js';
import type { Decide } from './reader.js';

/** A token, and how likely the model itself holds it. */
export interface Chosen {
  id: number;
  logprob: number;
}

/** One draw under way: of `uniform`, from which the tokens that the grammar does not admit are struck off. */
interface Draw {
  uniform: number | null;
  struck: Set<number>;
  /** so many may be */
  tries: number;
}

export interface SteeringOptions {
  request: GenerateRequest;
  random: Random;
  /** null: the answer is free */
  grammar: AnswerGrammar | null;
  /** the prompt's tokens */
  ids: readonly number[];
}

/** llama.cpp's `repeat_last_n`. */
const REPEAT_WINDOW = 64;
/** Tokens that are listed where the likeliest will not do, and how many of a list are struck off before the grammar is asked about all. */
const HEAD = 128;
const MOST_TRIES = 32;
/** And of the whole vocabulary, where each try costs as much as the list. */
const MORE_TRIES = 2;

/** Null where nothing of a request needs it. */
export function steering(options: SteeringOptions): Steering | null {
  const { topK = 0, minP = 0 } = options.request;
  const isCut = options.request.temperature > 0 && (topK > 0 || minP > 0);
  return options.grammar !== null || isCut || changesLogits(options.request) ? new Steering(options) : null;
}

function changesLogits(request: GenerateRequest): boolean {
  const { repeatPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, logitBias } = request;
  return repeatPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0 || (logitBias?.size ?? 0) > 0;
}

export class Steering implements Decide {
  readonly #options: SteeringOptions;
  readonly #changes: boolean;
  /** the last tokens of prompt and answer */
  readonly #recent: number[];
  /** how often the answer has each of its tokens */
  readonly #counts = new Map<number, number>();
  #chosen: Chosen | null = null;

  constructor(options: SteeringOptions) {
    this.#options = options;
    this.#changes = changesLogits(options.request);
    this.#recent = options.ids.slice(-REPEAT_WINDOW);
  }

  /** Tokens that may be likelier than the model holds them; one that is less likely is in no way of the others. */
  get also(): readonly number[] {
    const { repeatPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, logitBias } = this.#options.request;
    const raised = [...(logitBias ?? [])].filter(([, bias]) => bias > 0).map(([id]) => id);
    if (repeatPenalty < 1) raised.push(...this.#recent);
    if (presencePenalty < 0 || frequencyPenalty < 0) raised.push(...this.#counts.keys());
    return raised.length === 0 ? raised : [...new Set(raised)];
  }

  /** The token that was chosen in the last turn. */
  get chosen(): Chosen {
    return this.#chosen!;
  }

  readonly take: Decide['take'] = async (next, more) => {
    const { grammar, request } = this.#options;
    this.#chosen =
      request.temperature === 0 && !this.#changes && grammar?.allows(next.best)
        ? { id: next.best, logprob: bestLogprob(next) }
        : await this.#search(next, more);
  };

  /** It is the answer's next token, and does not end it. */
  accept(id: number): void {
    this.#options.grammar?.accept(id);
    if (!this.#changes) return;
    this.#recent.push(id);
    if (this.#recent.length > REPEAT_WINDOW) this.#recent.shift();
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
  }

  async #search(next: NextToken, more: Parameters<Decide['take']>[1]): Promise<Chosen> {
    const { grammar } = this.#options;
    const listed = next.ids.length > 0 ? next : await more(HEAD);
    const draw: Draw = { uniform: null, struck: new Set(), tries: MOST_TRIES };
    let list = listed;
    let isMasked = false;
    for (;;) {
      const found = this.#of(list, listed, draw);
      if (typeof found === 'object') return found;
      if (found === 'spent' && isMasked) throw noneLeft();
      // What is left after so many is drawn anew; one draw goes on where only more of the list was wanting.
      if (found === 'spent') Object.assign(draw, { uniform: null, tries: Number.POSITIVE_INFINITY });
      else if (grammar !== null && !isMasked) draw.tries = draw.struck.size + MORE_TRIES;
      isMasked ||= found === 'spent';
      const asked = more('all', isMasked ? grammar?.copy() : undefined);
      list = await asked.catch((cause: unknown) => {
        throw isMasked ? noneLeft(cause) : cause;
      });
    }
  }

  /** @param list of which is drawn @param model what the model holds of its likeliest */
  #of(list: NextToken, model: NextToken, draw: Draw): Chosen | 'unknown' | 'spent' {
    const { grammar, request, random } = this.#options;
    const { temperature, topP, topK, minP } = request;
    let seen = this.#changed(list);
    for (const id of draw.struck) seen = without(seen, seen.ids.indexOf(id));
    for (; seen.ids.length > 0 && draw.struck.size <= draw.tries; draw.uniform = null) {
      draw.uniform ??= temperature === 0 ? 0 : random.uniform();
      const isKnown = seen.unseen.count <= 0 || seen.logits[0]! >= seen.unseen.most;
      const at = temperature > 0 ? drawSeen(seen, { temperature, topP, topK, minP }, draw.uniform) : isKnown ? 0 : null;
      if (at === null) return 'unknown';
      const id = seen.ids[at]!;
      if (grammar === null || grammar.allows(id)) {
        const logit = list.logits[list.ids.indexOf(id)]!;
        return { id, logprob: logit - model.logits[0]! - Math.log(model.total) };
      }
      draw.struck.add(id);
      seen = without(seen, at);
    }
    return 'spent';
  }

  /** The distribution with the logits that the request makes of the model's. */
  #changed(list: NextToken): Seen {
    const told = admitted(list, this.also);
    if (!this.#changes) return told;
    const { repeatPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, logitBias } = this.#options.request;
    const recent = new Set(repeatPenalty === 1 ? [] : this.#recent);
    const pairs = told.ids.map((id, i) => {
      let logit = told.logits[i]! + (logitBias?.get(id) ?? 0);
      if (recent.has(id)) logit = logit <= 0 ? logit * repeatPenalty : logit / repeatPenalty;
      const count = this.#counts.get(id) ?? 0;
      return { id, logit: logit - count * frequencyPenalty - (count > 0 ? presencePenalty : 0) };
    });
    pairs.sort((a, b) => b.logit - a.logit);
    const mass = told.unseen.mass * Math.exp(told.logits[0]! - pairs[0]!.logit);
    return {
      ids: pairs.map(({ id }) => id),
      logits: pairs.map(({ logit }) => logit),
      unseen: { ...told.unseen, mass },
    };
  }
}

/** What a grammar has struck off is at the list's end, with a logit of -Infinity. */
function admitted(list: NextToken, also: readonly number[]): Seen {
  const struck = list.logits.indexOf(Number.NEGATIVE_INFINITY);
  if (struck >= 0) {
    return {
      ids: list.ids.slice(0, struck),
      logits: list.logits.slice(0, struck),
      unseen: { count: 0, most: Number.NEGATIVE_INFINITY, mass: 0 },
    };
  }
  const seen = seenOf(list);
  if (also.length === 0 || seen.unseen.count <= 0) return seen;
  // Those that were asked for by name stand behind the head: what is not listed is bounded by the head's last.
  const named = new Set(also);
  let head = list.ids.length;
  while (head > 0 && named.has(list.ids[head - 1]!)) head--;
  return { ...seen, unseen: { ...seen.unseen, most: head === 0 ? Number.POSITIVE_INFINITY : list.logits[head - 1]! } };
}

function without(seen: Seen, at: number): Seen {
  if (at < 0) return seen;
  const { ids, logits, unseen } = seen;
  const kept = <T>(list: readonly T[]): T[] => list.filter((_, i) => i !== at);
  const left = kept(logits);
  const mass = at === 0 && left.length > 0 ? unseen.mass * Math.exp(logits[0]! - left[0]!) : unseen.mass;
  return { ids: kept(ids), logits: left, unseen: { ...unseen, mass } };
}

function noneLeft(cause?: unknown): CrayonError {
  return new CrayonError('format-unsupported', 'response_format: no token of the model goes on as the grammar wants', {
    hint: 'The model cannot write what the schema asks for.',
    cause,
  });
}
