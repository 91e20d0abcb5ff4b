/**
 * Calls of functions as an answer's text, in the form that the model's template writes (call-forms.ts) and tells the model of itself; to
 * any other model that of Hermes is explained in a system message: `<tool_call>` and a JSON object with name and arguments.
 */

import type { ChatMessage } from '../../../core/chat.js';
import { CrayonError } from '../../../core/errors.js';
import type { Prompt, ToolCallPiece, Tools } from '../../types.js';
import { type CallForm, HERMES } from './call-forms.js';
import { either, type GrammarRules, literal } from './rules.js';
import { schemaRule } from './schema.js';

const [BEGIN, END] = HERMES.marks as [string, string];
type Chat = Extract<Prompt, { kind: 'chat' }>;

/** The functions that an answer may call; null where it may call none. */
export function offered(prompt: Prompt): Tools | null {
  const tools = prompt.kind === 'chat' ? prompt.tools : undefined;
  return tools === undefined || tools.choice === 'none' || tools.list.length === 0 ? null : tools;
}

/** A conversation as a template without functions takes it: offers, calls and results as text. */
export function explained({ messages, ...rest }: Chat): ChatMessage[] {
  const told = messages.map(({ toolCalls = [], toolCallId, ...message }): ChatMessage => {
    if (message.role === 'tool')
      return { role: 'user', content: `<tool_response>\n${message.content}\n</tool_response>` };
    const calls = toolCalls.map(({ function: { name, arguments: given } }) => {
      return `${BEGIN}\n{"name": ${JSON.stringify(name)}, "arguments": ${given}}\n${END}`;
    });
    return { ...message, content: [message.content, ...calls].filter((text) => text !== '').join('\n') };
  });
  const tools = offered({ messages, ...rest });
  if (tools === null) return told;
  const text = explanation(tools);
  const [first, ...others] = told;
  if (first?.role !== 'system') return [{ role: 'system', content: text }, ...told];
  return [{ ...first, content: `${first.content}\n\n${text}` }, ...others];
}

const explanation = ({
  list,
}: Tools): string => `You may call functions to assist with the user query. These are offered, one JSON object a line:
<tools>
${list.map((tool) => JSON.stringify(tool)).join('\n')}
</tools>
For each call answer with a JSON object with the function's name and arguments within ${BEGIN} tags:
${BEGIN}
{"name": <name>, "arguments": <arguments as JSON object>}
${END}`;

/** Characters of the mark, of which a text may have any beginning and not the whole. */
function freeText(rules: GrammarRules, mark: string, then: string): string {
  const names = [...mark].map(() => rules.reserve());
  const first = mark[0]!;
  const no = (char: string): string => (/[[\]\\]/.test(char) ? `\\${char}` : char);
  for (const [i, char] of [...mark].entries()) {
    const next = names[i + 1] ?? then;
    const go =
      i === 0
        ? `[^${no(first)}] ${names[0]} | ${literal(first)} ${next}`
        : `[^${no(first)}${no(char)}] ${names[0]} | ${literal(first)} ${names[1]} | ${literal(char)} ${next}`;
    rules.define(names[i]!, `"" | ${go}`);
  }
  return names[0]!;
}

/**
 * The rule of an answer that may or must call functions.
 *
 * @param text rule of an answer that calls none; null for any text
 * @throws CrayonError `tools-unsupported` naming what of a function's schema no grammar is made of
 */
export function callsRule(tools: Tools, text: string | null, rules: GrammarRules, form: CallForm): string {
  const { list, choice = 'auto', parallel = true } = tools;
  const named = typeof choice === 'object' ? list.filter((tool) => tool.function.name === choice.name) : list;
  const calls = named.map((tool) => {
    const { name, parameters } = tool.function;
    const what = `tools[${list.indexOf(tool)}].function.parameters`;
    const schema =
      parameters === undefined ? { type: 'object', additionalProperties: false } : { type: 'object', ...parameters };
    if (schema.type !== 'object') {
      throw new CrayonError('tools-unsupported', `${what}.type is expected to be object: arguments have names`);
    }
    const args = schemaRule(schema, rules, { what, code: 'tools-unsupported' });
    return `${literal(form.open(JSON.stringify(name)))} ${args} ${form.close}`;
  });
  const call = rules.add(either(calls));
  const all = rules.add(form.list(call, parallel));
  if (choice !== 'auto') return rules.add(`${literal(form.begin)} ${all}`);
  return text === null ? freeText(rules, form.begin, all) : rules.add(`${text} | ${literal(form.begin)} ${all}`);
}

/** Cuts calls out of an answer's text as it comes. */
export class ToolCallReader {
  /** calls that have begun */
  count = 0;
  readonly #newId: () => string;
  readonly #form: CallForm;
  #held = '';
  #where: 'text' | 'head' | 'arguments' | 'tail' = 'text';
  #hasText = false;
  #depth = 0;
  #quoted: 'no' | 'yes' | 'escaped' = 'no';

  constructor(newId: () => string, form: CallForm = HERMES) {
    this.#newId = newId;
    this.#form = form;
  }

  /** @returns what of the text is none, and what it adds to calls */
  push(piece: string): { text: string; calls: ToolCallPiece[] } {
    this.#held += piece;
    const calls: ToolCallPiece[] = [];
    let text = '';
    for (let before = -1; before !== this.#held.length; ) {
      before = this.#held.length;
      if (this.#where === 'text') text += this.#text();
      else if (this.#where === 'head') calls.push(...this.#head());
      else if (this.#where === 'arguments') calls.push(...this.#arguments());
      else this.#tail();
    }
    return { text, calls };
  }

  /** @returns what was still held back of the text */
  end(): string {
    const left = this.#where === 'text' && (this.count === 0 || this.#held.trim() !== '') ? this.#held : '';
    this.#held = '';
    return left;
  }

  #tail(): void {
    const found = this.#form.tail.exec(this.#held);
    if (found === null) return;
    this.#held = this.#held.slice(found[0].length);
    this.#where = found[1] === ',' ? 'head' : 'text';
  }

  /** White space before a call and between calls is no text, and neither is what may be the mark's beginning. */
  #text(): string {
    const { begin } = this.#form;
    const at = this.#held.indexOf(begin);
    if (at >= 0) {
      const before = this.#held.slice(0, at);
      this.#held = this.#held.slice(at + begin.length);
      this.#where = 'head';
      return before.trim() === '' ? '' : before;
    }
    let holding = Math.min(this.#held.length, begin.length - 1);
    while (holding > 0 && !this.#held.endsWith(begin.slice(0, holding))) holding--;
    const shown = this.#held.slice(0, this.#held.length - holding);
    if (shown.trim() === '' && (!this.#hasText || this.count > 0)) return '';
    this.#hasText = true;
    this.#held = this.#held.slice(shown.length);
    return shown;
  }

  #head(): ToolCallPiece[] {
    const found = this.#form.head.exec(this.#held);
    if (found === null) return [];
    this.#held = this.#held.slice(found[0].length);
    this.#where = 'arguments';
    this.#depth = 0;
    const name = JSON.parse(found[1]!) as string;
    return [{ index: this.count++, id: this.#newId(), name, arguments: '' }];
  }

  /** Up to the bracket that closes the arguments' object. */
  #arguments(): ToolCallPiece[] {
    let end = 0;
    for (; end < this.#held.length && this.#where === 'arguments'; end++) {
      const c = this.#held[end];
      if (this.#quoted === 'escaped') this.#quoted = 'yes';
      else if (this.#quoted === 'yes') this.#quoted = c === '\\' ? 'escaped' : c === '"' ? 'no' : 'yes';
      else if (c === '"') this.#quoted = 'yes';
      else if (c === '{' || c === '[') this.#depth++;
      else if ((c === '}' || c === ']') && --this.#depth === 0) this.#where = 'tail';
    }
    const piece = this.#held.slice(0, end);
    this.#held = this.#held.slice(end);
    return piece === '' ? [] : [{ index: this.count - 1, arguments: piece }];
  }
}
