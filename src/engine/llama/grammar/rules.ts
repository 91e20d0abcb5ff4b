/**
 * Grammars in GBNF, the notation of llama.cpp's grammar engine: rules by name, the same body once, and what all JSON has in common.
 * Space is free where JSON has it, as llama.cpp's own JSON grammars have it: none, one, or a line break and the next line's indent.
 */

import { LIMITS } from '../../../core/limits.js';

/** JSON as RFC 8259 has it; numbers so long that every parser takes them, and no half of a surrogate pair. */
const JSON_RULES = String.raw`ws ::= | " " | "\n" [ \t]{0,20}
hex ::= [0-9a-fA-F]
chr ::= [^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" ([0-9a-cefA-CEF] hex{3} | [dD] [0-7] hex{2}))
str ::= "\"" chr* "\""
int ::= "-"? ("0" | [1-9] [0-9]{0,14})
num ::= int ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?
value ::= object | array | str | num | "true" | "false" | "null"
object ::= "{" ws (str ":" ws value (ws "," ws str ":" ws value)* ws)? "}"
array ::= "[" ws (value (ws "," ws value)* ws)? "]"`;

/** A text that stands as it is. */
export const literal = (text: string): string => {
  const escaped = text.replace(/[\\"\n\r\t]/g, (c) => ({ '\n': '\\n', '\r': '\\r', '\t': '\\t' })[c] ?? `\\${c}`);
  return `"${escaped}"`;
};

export const either = (alternatives: Iterable<string>): string => {
  const all = [...new Set(alternatives)];
  return all.length === 1 ? all[0]! : `(${all.join(' | ')})`;
};

/** llama.cpp takes no larger counts in one repetition. */
const MOST_TIMES = 2000;

/** One name after the other that stands for a rule. */
export class GrammarRules {
  readonly #rules = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #refuseLong: (what: string) => never;
  #reserved = 0;
  #length = 0;
  #times = 0;

  /** @param refuseLong throws for a grammar that is too large */
  constructor(refuseLong: (what: string) => never) {
    this.#refuseLong = refuseLong;
  }

  /** A rule's name, the same for the same body. */
  add(body: string): string {
    const known = this.#names.get(body);
    if (known !== undefined) return known;
    const name = this.reserve();
    this.#names.set(body, name);
    this.define(name, body);
    return name;
  }

  /** The name of a rule that is defined later, for one that holds itself. */
  reserve(): string {
    return `r${this.#reserved++}`;
  }

  define(name: string, body: string): void {
    this.#rules.set(name, body);
    this.#length += body.length;
    if (this.#length > LIMITS.grammarCharacters)
      this.#refuseLong(`makes a grammar of more than ${LIMITS.grammarCharacters} characters`);
  }

  /** `item` at least `min` and at most `max` times, one after the other. */
  repeated(item: string, min: number, max: number): string {
    this.#times += Number.isFinite(max) ? max : min;
    if (this.#times > LIMITS.grammarTimes)
      this.#refuseLong(`counts up to more than ${LIMITS.grammarTimes} items or characters`);
    const parts: string[] = [];
    for (let left = min; left > 0; left -= MOST_TIMES) parts.push(`${item}{${Math.min(left, MOST_TIMES)}}`);
    if (max === Number.POSITIVE_INFINITY) parts.push(`${item}*`);
    else
      for (let left = max - min; left > 0; left -= MOST_TIMES) parts.push(`${item}{0,${Math.min(left, MOST_TIMES)}}`);
    return parts.length === 0 ? '""' : parts.join(' ');
  }

  /** The whole grammar's text. */
  text(root: string): string {
    const rules = [...this.#rules].map(([name, body]) => `${name} ::= ${body}`);
    return [`root ::= ${root}`, ...rules, JSON_RULES].join('\n');
  }
}
