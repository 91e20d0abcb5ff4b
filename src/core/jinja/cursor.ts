/** Where a parser is in a list of tokens. */

import type { Token, TokenType } from './lexer.js';

/** Each level is some twelve calls on the stack of whoever reads, compiles or evaluates it. */
const DEEPEST = 150;

export class Cursor {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  /** @param tokens the last of them is `eof` */
  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get current(): Token {
    return this.#tokens[this.#at]!;
  }

  get following(): Token {
    return this.#tokens[this.#at + 1] ?? this.current;
  }

  next(): Token {
    const token = this.current;
    if (token.type === 'eof') this.fail('the template ends too early');
    this.#at++;
    return token;
  }

  skip(count = 1): void {
    for (let i = 0; i < count; i++) this.next();
  }

  fail(problem: string, token: Token = this.current): never {
    throw new Error(`${problem} in line ${token.line}`);
  }

  shown({ type, text }: Token = this.current): string {
    return type === 'eof' ? 'the end of the template' : `"${text.slice(0, 40)}"`;
  }

  is(type: TokenType, text?: string): boolean {
    return this.current.type === type && (text === undefined || this.current.text === text);
  }

  isOperator(...texts: string[]): boolean {
    return this.current.type === 'operator' && texts.includes(this.current.text);
  }

  isWord(...texts: string[]): boolean {
    return this.current.type === 'name' && texts.includes(this.current.text);
  }

  /** Goes on where the token is wanted. */
  take(isWanted: boolean): boolean {
    if (isWanted) this.#at++;
    return isWanted;
  }

  expect(type: TokenType, text?: string): Token {
    if (!this.is(type, text)) {
      this.fail(`${this.shown()} where ${text === undefined ? type : `"${text}"`} should be`);
    }
    return this.next();
  }

  operator(text: string): Token {
    return this.expect('operator', text);
  }

  nested<T>(read: () => T): T {
    if (++this.#depth > DEEPEST) this.fail(`more than ${DEEPEST} levels, one within the other,`);
    const made = read();
    this.#depth--;
    return made;
  }

  /** Items with commas between, and one after the last where there is one, to the end. */
  separated<T>(end: string, read: () => T): T[] {
    const items: T[] = [];
    while (!this.isOperator(end)) {
      if (items.length > 0) this.operator(',');
      if (this.isOperator(end)) break;
      items.push(read());
    }
    this.operator(end);
    return items;
  }

  /** A name that may have dots. */
  dotted(): string {
    let { text: name } = this.expect('name');
    while (this.take(this.isOperator('.'))) name += `.${this.expect('name').text}`;
    return name;
  }
}
