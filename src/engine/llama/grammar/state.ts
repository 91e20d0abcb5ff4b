/** Where an answer stands in its grammar: which tokens may come next. What it admits is llama.cpp's to say, token by token. */

import type { LlamaModel } from 'node-llama-cpp';
import { CrayonError } from '../../../core/errors.js';
import { type GrammarState, type GrammarText, grammarsOf } from '../inside.js';
import type { PromptTokens } from '../prompt.js';
import { admittedTokens, refusedOf, type TokenTree } from './token-tree.js';

/** So many tokens at most are few, and so many questions are worth asking: each is some microseconds of llama.cpp's. */
const FEW = { most: 64, asked: 4000 };

export class AnswerGrammar {
  readonly #calls: ReturnType<typeof grammarsOf>;
  readonly #prompts: PromptTokens;
  readonly #tree: TokenTree;
  readonly #end: number | null;
  readonly #state: GrammarState;

  /**
   * @param text in GBNF
   * @param code of the error where llama.cpp does not take the grammar
   */
  constructor(
    model: LlamaModel,
    prompts: PromptTokens,
    tree: TokenTree,
    text: string,
    code: 'format-unsupported' | 'tools-unsupported',
  ) {
    this.#calls = grammarsOf(model);
    this.#prompts = prompts;
    this.#tree = tree;
    this.#end = model.tokens.eos ?? model.tokens.eot;
    let grammar: GrammarText;
    try {
      grammar = this.#calls.parse(text);
    } catch (cause) {
      throw new CrayonError(code, 'llama.cpp does not take the grammar of this schema', {
        hint: 'A schema that refers to itself must hold something else too: an object, a list.',
        cause,
      });
    }
    this.#state = this.#calls.start(grammar);
  }

  /** Whether a token may come next. Of control tokens those alone that end the answer, where it may end. */
  allows(id: number): boolean {
    if (this.#prompts.isEnd(id)) return this.#end !== null && this.#calls.allows(this.#state, this.#end);
    return this.#tree.places[id]! >= 0 && this.#calls.allows(this.#state, id);
  }

  /** @param id an allowed one, and not one that ends the answer */
  accept(id: number): void {
    this.#calls.accept(this.#state, id);
  }

  /** All tokens that may come next, where they are few and soon found; null otherwise. */
  few(): number[] | null {
    const ends = this.#prompts.endIds.filter((id) => this.allows(id));
    const found = admittedTokens(this.#tree, (id) => this.allows(id), FEW);
    return found === null ? null : [...found, ...ends];
  }

  /** Those of `ids` that may not come next. */
  refused(ids: readonly number[]): Set<number> {
    return refusedOf(this.#tree, ids, (id) => this.allows(id));
  }
}
