/** Where an answer stands in its grammar: which tokens may come next. What it admits is llama.cpp's to say, token by token. */

import type { LlamaModel } from 'node-llama-cpp';
import { CrayonError } from '../../../core/errors.js';
import { type GrammarState, type GrammarText, grammarsOf } from '../inside.js';
import type { PromptTokens } from '../prompt.js';

export class AnswerGrammar {
  readonly #calls: ReturnType<typeof grammarsOf>;
  readonly #prompts: PromptTokens;
  readonly #end: number | null;
  readonly #state: GrammarState;

  /**
   * @param text in GBNF
   * @param code of the error where llama.cpp does not take the grammar
   */
  constructor(
    model: LlamaModel,
    prompts: PromptTokens,
    text: string,
    code: 'format-unsupported' | 'tools-unsupported',
  ) {
    this.#calls = grammarsOf(model);
    this.#prompts = prompts;
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
    return this.#prompts.isWritten(id) && this.#calls.allows(this.#state, id);
  }

  /** @param id an allowed one, and not one that ends the answer */
  accept(id: number): void {
    this.#calls.accept(this.#state, id);
  }

  /** To be changed by whoever gets it. */
  copy(): GrammarState {
    return this.#calls.copy(this.#state);
  }
}
