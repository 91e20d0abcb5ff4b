/**
 * Jinja source as tokens, read as jinja2's lexer reads it (3.1, `lexer.py`): white space control, raw blocks, comments, numbers, and
 * the escapes of Python in strings.
 */

export interface LexerSettings {
  /** A line feed that ends the source stays. */
  keepTrailingNewline?: boolean;
  /** The line feed after a block's end goes. */
  trimBlocks?: boolean;
  /** White space before a block that begins its line goes. */
  lstripBlocks?: boolean;
}

export type TokenType =
  | 'data'
  | 'begin'
  | 'end'
  | 'open'
  | 'close'
  | 'name'
  | 'string'
  | 'integer'
  | 'float'
  | 'operator'
  | 'eof';

/** `begin` and `end` are `{%` and `%}`, `open` and `close` are `{{` and `}}`. */
export interface Token {
  type: TokenType;
  /** A string's without quotes and escapes. */
  text: string;
  line: number;
}

/** White space of Python's `str`, for a character class; JavaScript adds U+FEFF and leaves out U+001C to U+001F and U+0085. */
export const PYTHON_SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
/** Line ends of `str.splitlines()`, likewise; and CR LF. */
export const LINE_ENDS = '\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029';
const S = `[${PYTHON_SPACE}]`;

const SKIP = new RegExp(`${S}*`, 'y');
const TAG = new RegExp(`\\{%([-+]?)${S}*raw${S}*(-?)%\\}|\\{([%{#])([-+]?)`, 'g');
const END_OF_RAW = new RegExp(`\\{%([-+]?)${S}*endraw${S}*([-+]?)%\\}`, 'g');
const END_OF_COMMENT = /([-+]?)#\}/g;
const EXPRESSION = [
  ['float', /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy],
  ['integer', /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy],
  ['name', /[\p{L}\p{Nl}_\p{Mn}\p{Mc}\p{Nd}\p{Pc}]+/uy],
  ['string', /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"/y],
  ['operator', /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;]/y],
] as const;
const CLOSING: Readonly<Record<string, string>> = { '{': '}', '(': ')', '[': ']' };
const ESCAPES: Readonly<Record<string, string>> = {
  ...{ '\n': '', n: '\n', t: '\t', r: '\r', '\\': '\\', "'": "'", '"': '"', a: '\x07', b: '\b', f: '\f', v: '\v' },
};
const ESCAPE = /\\(?:x([\dA-Fa-f]{2})|u([\dA-Fa-f]{4})|U([\dA-Fa-f]{8})|([0-7]{1,3})|([xuUN])|([\s\S]))/g;

/** @throws Error saying what is wrong, and in which line */
export function tokenize(source: string, settings: LexerSettings = {}): Token[] {
  let text = source.replace(/\r\n?/g, '\n');
  if (settings.keepTrailingNewline !== true && text.endsWith('\n')) text = text.slice(0, -1);
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  let counted = 0;
  const lineAt = (position: number): number => {
    for (; counted < position; counted++) if (text[counted] === '\n') line++;
    return line;
  };
  const push = (type: TokenType, value: string) => tokens.push({ type, text: value, line: lineAt(at) });
  const fail = (problem: string): never => {
    throw new Error(`${problem} in line ${lineAt(at)}`);
  };
  const skip = () => {
    SKIP.lastIndex = at;
    at += SKIP.exec(text)![0].length;
  };
  /** @param lstrips whether `lstripBlocks` bears on the tag that follows */
  const data = (piece: string, sign: string, lstrips: boolean) => {
    let kept = piece;
    if (sign === '-') kept = piece.replace(new RegExp(`${S}+$`), '');
    else if (sign !== '+' && lstrips && settings.lstripBlocks === true) {
      const start = piece.lastIndexOf('\n') + 1;
      const startsLine = start > 0 || at === 0 || text[at - 1] === '\n';
      if (startsLine && new RegExp(`^${S}+$`).test(piece.slice(start))) kept = piece.slice(0, start);
    }
    if (kept !== '') push('data', kept);
  };
  /** After a tag of that sign: white space goes, or the line feed of a block. */
  const after = (sign: string, isBlock: boolean) => {
    if (sign === '-') skip();
    else if (sign === '' && isBlock && settings.trimBlocks === true && text[at] === '\n') at++;
  };
  for (;;) {
    TAG.lastIndex = at;
    const tag = TAG.exec(text);
    if (tag === null) {
      if (at < text.length) push('data', text.slice(at));
      push('eof', '');
      return tokens;
    }
    const [whole, rawSign, rawEnd, kind, sign] = tag;
    data(text.slice(at, tag.index), kind === undefined ? rawSign! : sign!, kind !== '{');
    at = tag.index + whole.length;
    if (kind === undefined) {
      after(rawEnd!, false);
      END_OF_RAW.lastIndex = at;
      const end = END_OF_RAW.exec(text) ?? fail('a raw block without its end');
      data(text.slice(at, end.index), end[1]!, true);
      at = end.index + end[0].length;
      after(end[2]!, true);
    } else if (kind === '#') {
      END_OF_COMMENT.lastIndex = at;
      const end = END_OF_COMMENT.exec(text) ?? fail('a comment without its end');
      at = end.index + end[0].length;
      after(end[1]!, true);
    } else {
      push(kind === '%' ? 'begin' : 'open', whole);
      inside(kind === '%');
    }
  }

  function inside(isBlock: boolean): void {
    const END = isBlock ? /([-+]?)%\}/y : /(-?)\}\}/y;
    const open: string[] = [];
    for (;;) {
      skip();
      END.lastIndex = at;
      const end = open.length === 0 ? END.exec(text) : null;
      if (end !== null) {
        push(isBlock ? 'end' : 'close', end[0]);
        at += end[0].length;
        after(end[1]!, isBlock);
        return;
      }
      const [type, found] = next();
      if (type === 'operator') {
        if (CLOSING[found] !== undefined) open.push(CLOSING[found]);
        else if ('})]'.includes(found) && open.pop() !== found) fail(`unexpected '${found}'`);
      }
      if (type === 'name' && !/^[\p{L}\p{Nl}_]/u.test(found)) fail(`"${found}" is no name`);
      push(type, type === 'string' ? unescaped(found.slice(1, -1)) : found);
      at += found.length;
    }
  }

  function next(): [TokenType, string] {
    for (const [type, pattern] of EXPRESSION) {
      pattern.lastIndex = at;
      const found = pattern.exec(text);
      if (found !== null) return [type, found[0]];
    }
    return fail(at >= text.length ? 'unexpected end' : `unexpected ${JSON.stringify(text[at])}`);
  }

  function unescaped(string: string): string {
    if (!string.includes('\\')) return string;
    return string.replace(ESCAPE, (whole, x, u, U, octal, named, other: string) => {
      const hex = x ?? u ?? U;
      if (hex !== undefined) {
        const code = Number.parseInt(hex, 16);
        return code > 0x10ffff ? fail('a character beyond Unicode') : String.fromCodePoint(code);
      }
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      if (named !== undefined) return fail(`the escape \\${named} in a string`);
      return ESCAPES[other] ?? whole;
    });
  }
}
