/**
 * Choosing tokens where a request steers the choice: a grammar that the answer is held to, logits that it changes by the tokens that came
 * before or by name, a cut other than top_p. In llama.cpp's order: logit_bias, penalties, top_k, top_p, min_p, temperature.
 *
 * Of what is told of a distribution, its head, the choice is made as long as it cannot fall outside; then more of it is asked for. A
 * token that the grammar does not admit is struck off and the draw repeated, which is the distribution that is left: llama.cpp's way,
 * which then asks the grammar about the whole vocabulary at once (0.1 to 1 s for 262,144 tokens). Here, after some tries, the few
 * tokens that are admitted are looked for; where they are many, one of them is among the likeliest.
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
/** Tokens that are listed where the likeliest will not do, how much longer each list after it is, and when all may as well be. */
const HEAD = 128;
const LONGER = 16;
const MOST_LISTED = 2 ** 16;
/** How many of a list are struck off one by one, and of a longer one. */
const MOST_TRIES = 32;
const MORE_TRIES = 2;
/** Of what is left, the share that a list has at least, for a draw of it under a grammar: a smaller one mostly falls outside. */
const LEAST_LISTED = 0.9;

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
    const listed = next.ids[0] === next.best ? next : await more(HEAD);
    const draw: Draw = { uniform: null, struck: new Set(), tries: MOST_TRIES };
    let list = listed;
    let isMasked = false;
    for (let size = Math.max(HEAD, listed.ids.length); ; ) {
      const found = this.#of(list, listed, draw);
      if (typeof found === 'object') return found;
      if (isMasked && list.ids.length === list.vocabularySize) throw noneLeft();
      let few: number[] | null = null;
      if (found === 'spent') {
        // What is left after so many is drawn anew; one draw goes on where only more of the list was wanting.
        Object.assign(draw, { uniform: null, tries: Number.POSITIVE_INFINITY });
        isMasked = true;
        few = grammar!.few();
      } else if (size === Math.max(HEAD, listed.ids.length)) draw.tries = draw.struck.size + MORE_TRIES;
      if (few?.length === 0) throw noneLeft();
      size *= LONGER;
      const told = await more(few ?? (size > Math.min(MOST_LISTED, next.vocabularySize) ? 'all' : size));
      list = few === null ? told : { ...told, vocabularySize: told.ids.length };
      if (isMasked && few === null) for (const id of grammar!.refused(list.ids)) draw.struck.add(id);
    }
  }

  /** @param list of which is drawn @param model what the model holds of its likeliest */
  #of(list: NextToken, model: NextToken, draw: Draw): Chosen | 'unknown' | 'spent' {
    const { grammar, request, random } = this.#options;
    const { temperature, topP, topK, minP } = request;
    let seen = without(this.#changed(list), draw.struck);
    for (; seen.ids.length > 0 && draw.struck.size <= draw.tries; draw.uniform = null) {
      // Decided before there is a number to draw with: whether one falls outside the list must not choose the way.
      const isThin = draw.uniform === null && draw.tries < Number.POSITIVE_INFINITY && shareOf(seen) < LEAST_LISTED;
      if (temperature > 0 && grammar !== null && isThin) return 'spent';
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
      seen = without(seen, new Set([id]));
    }
    return draw.struck.size > draw.tries || seen.unseen.count <= 0 ? 'spent' : 'unknown';
  }

  /** The distribution with the logits that the request makes of the model's. */
  #changed(list: NextToken): Seen {
    const told = toldOf(list, this.also);
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

/** Of tokens that may stand in the list by name, likely or not. */
function toldOf(list: NextToken, also: readonly number[]): Seen {
  const seen = seenOf(list);
  if (also.length === 0 || seen.unseen.count <= 0) return seen;
  // Those that were asked for by name stand behind the head: what is not listed is bounded by the head's last.
  const named = new Set(also);
  let head = list.ids.length;
  while (head > 0 && named.has(list.ids[head - 1]!)) head--;
  return { ...seen, unseen: { ...seen.unseen, most: head === 0 ? Number.POSITIVE_INFINITY : list.logits[head - 1]! } };
}

function without({ ids, logits, unseen }: Seen, struck: ReadonlySet<number>): Seen {
  if (struck.size === 0) return { ids, logits, unseen };
  const left = logits.filter((_, i) => !struck.has(ids[i]!));
  const mass = left.length > 0 ? unseen.mass * Math.exp(logits[0]! - left[0]!) : unseen.mass;
  return { ids: ids.filter((id) => !struck.has(id)), logits: left, unseen: { ...unseen, mass } };
}

/** The least share of the distribution that its list has, before temperature. */
function shareOf({ logits, unseen }: Seen): number {
  const listed = logits.reduce((sum, logit) => sum + Math.exp(logit - logits[0]!), 0);
  return unseen.count <= 0 ? 1 : listed / (listed + unseen.mass);
}

function noneLeft(): CrayonError {
  return new CrayonError('format-unsupported', 'response_format: no token of the model goes on as the grammar wants', {
    hint: 'The model cannot write what the schema asks for.',
  });
}
