/**
 * A prompt as the model's tokens. A text stands as it is, and nothing in it becomes a control token; a conversation is put
 * into the model's chat template, whose control tokens are the only ones (special-text.ts).
 */

import type { LlamaModel, Token } from 'node-llama-cpp';
import { ggufNumbers, ggufString, ggufStrings, TOKEN_TYPE } from '../../gguf/format.js';
import type { GgufFile } from '../../gguf/read.js';
import { type ChatMessage, chatRenderer, type RenderChat } from '../../hf/tokenizer.js';
import type { Prompt } from '../types.js';
import { type SpecialText, specialText, unusedCharacter } from './special-text.js';
import { type TokenKind, type TokenPieces, tokenPieces } from './token-pieces.js';

const SPACE = 0x20;

export interface PromptTokens {
  readonly vocabularySize: number;
  readonly pieces: TokenPieces;
  /** whether conversations go through the plain template, after which an answer begins with a space that is no part of it */
  readonly isPlain: boolean;
  /** the prompt as the model sees it: BOS where the model wants it */
  tokenize(prompt: Prompt): number[];
  /** without BOS */
  textTokens(text: string): number[];
  /** whether a space at the start of what follows these tokens is the tokenizer's, not the answer's */
  startsText(ids: readonly number[]): boolean;
  /** whether a token ends the answer */
  isEnd(id: number): boolean;
}

/**
 * @param template source of a Jinja template, `plain`, or undefined for the one in the GGUF file (plain where it has none)
 */
export function promptTokens(model: LlamaModel, file: GgufFile, template: string | undefined): PromptTokens {
  const texts = ggufStrings(file, 'tokenizer.ggml.tokens') ?? [];
  const types = ggufNumbers(file, 'tokenizer.ggml.token_type');
  const vocabulary = ggufString(file, 'tokenizer.ggml.model') ?? 'llama';
  // llama.cpp makes some tokens control tokens that their file calls normal, such as <|eot_id|>: it is the one to ask.
  const kinds = texts.map((_, id): TokenKind => {
    const attributes = model.getTokenAttributes(id as Token);
    if (attributes.control || attributes.unknown) return 'control';
    if (attributes.userDefined) return 'user-defined';
    if (attributes.byte || types?.[id] === TOKEN_TYPE.byte) return 'byte';
    return attributes.unused ? 'unused' : 'normal';
  });
  const control = new Map(texts.flatMap((text, id) => (kinds[id] === 'control' ? [[text, id] as const] : [])));
  const special = specialText([...control.keys()]);
  const source = template ?? ggufString(file, 'tokenizer.chat_template');
  const render =
    source === undefined || source === 'plain' ? null : chatRenderer(source, specialName(model), file.path);
  const { bos, shouldPrependBosToken } = model.tokens;

  const textTokens = (text: string): number[] => model.tokenize(text, false);
  const withBos = (ids: number[]): number[] => {
    return bos === null || !shouldPrependBosToken || ids[0] === bos ? ids : [bos, ...ids];
  };
  const pieces = tokenPieces(vocabulary, texts, (id) => kinds[id] ?? 'unused');
  const first = textTokens('a')[0];
  const addsSpace = first !== undefined && pieces.bytes(first)[0] === SPACE;

  return {
    vocabularySize: texts.length,
    pieces,
    isPlain: render === null,
    textTokens,
    tokenize(prompt) {
      if (prompt.kind === 'text') return withBos(textTokens(prompt.text));
      if (render === null) return withBos(textTokens(renderPlain(prompt.messages)));
      return withBos(templateTokens(prompt.messages, { render, special, control, model }));
    },
    isEnd: (id) => model.isEogToken(id as Token),
    startsText: (ids) => addsSpace && (ids.length === 0 || kinds[ids.at(-1)!] === 'control'),
  };
}

interface Template {
  render: RenderChat;
  special: SpecialText;
  /** ids of control tokens by their texts */
  control: ReadonlyMap<string, number>;
  model: LlamaModel;
}

function templateTokens(messages: readonly ChatMessage[], { render, special, control, model }: Template): number[] {
  const breaker = unusedCharacter(messages.flatMap(({ role, content }) => [role, content]));
  const guarded = messages.map(({ role, content }) => ({
    role: special.guard(role, breaker),
    content: special.guard(content, breaker),
  }));
  const rendered = render(guarded);
  // Without a name in any message, llama.cpp itself finds the template's: it knows which of them swallow white space.
  if (!rendered.includes(breaker)) return model.tokenize(rendered, true);
  return special
    .split(rendered, breaker)
    .flatMap((part) => (part.special ? [control.get(part.text)!] : model.tokenize(part.text, false)));
}

/**
 * The conversation format of a model without a chat template: contents joined by newlines, trailing white space trimmed, no
 * generation prompt.
 *
 * One user's message is then token for token the prompt that build-pool and blend have seen. Such models were trained with
 * lm-eval's target delimiter, one space before the answer, which is no part of it: AnswerText drops it (`dropLeadingSpace`).
 */
export function renderPlain(messages: readonly ChatMessage[]): string {
  return messages
    .map((message) => message.content)
    .join('\n')
    .trimEnd();
}

/** Texts under the names that templates use. */
function specialName(model: LlamaModel): (name: string) => string | null {
  const { bosString, eosString } = model.tokens;
  return (name) => (name === 'bos_token' ? bosString : name === 'eos_token' ? eosString : null);
}
