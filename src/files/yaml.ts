/**
 * YAML files: bounded, strict UTF-8, and the line of every key for whoever has something to say about it. What YAML can say and
 * JSON cannot, and what two readers of YAML take for two different things, is refused by its line.
 */

import {
  type Alias,
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  Parser,
  type Scalar,
  stringify,
  type YAMLMap,
} from 'yaml';
import { CrayonError, reasonOf } from '../core/errors.js';
import { shown } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { readSmallFile } from './io.js';
import { decodeUtf8, isJsonObject, setKey } from './json.js';
import { otherReading } from './pyyaml.js';

export interface YamlFile {
  value: unknown;
  bytes: Uint8Array;
  /**
   * The line, from 1, of the key at a path such as `['server', 'port']`; where it is missing, of what it should stand in.
   * Undefined for a missing key of the top level.
   */
  lineOf(path: readonly PropertyKey[]): number | undefined;
}

interface YamlOptions {
  /** refuse what PyYAML reads otherwise, but under these keys of the top level */
  asPyYaml?: { except: ReadonlySet<string> };
}

/** A document as other programs read it, without aliases and folded lines. */
export const yamlText = (value: object): string => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });

/**
 * @throws CrayonError `yaml-invalid` with the line, `file-not-found`
 *
 * @example
 * const { value, lineOf } = readYaml('configs/edge.yaml');
 * lineOf(['limits', 'queue']); // 39
 */
export function readYaml(path: string, { asPyYaml }: YamlOptions = {}): YamlFile {
  const { document, bytes, lines } = readYamlDocument(path);
  const lineOf = (path: readonly PropertyKey[]) => {
    let node: unknown = document.contents;
    let found = path.length === 0 ? node : undefined;
    for (const key of path) {
      if (isAlias(node)) node = node.resolve(document);
      const pair = isMap(node)
        ? node.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(key))
        : undefined;
      const item = isSeq(node) ? node.items[Number(key)] : undefined;
      if (pair === undefined && item === undefined) break;
      found = pair?.key ?? item;
      node = pair?.value ?? item;
    }
    return isNode(found) && found.range ? lines.linePos(found.range[0]).line : undefined;
  };
  return { value: new Converter(path, lines, asPyYaml?.except).convert(document), bytes, lineOf };
}

/**
 * The document of a file, for whoever changes one and keeps its comments. Its values are not looked at.
 *
 * @throws CrayonError `yaml-invalid`, `file-not-found`
 */
export function readYamlDocument(path: string): { document: Document.Parsed; bytes: Uint8Array; lines: LineCounter } {
  const bytes = readSmallFile(path, LIMITS.configBytes);
  const text = decodeUtf8(bytes, path, 'yaml-invalid');
  const lines = new LineCounter();
  // YAML's own rule; a carriage return alone ends a line for some readers.
  const control = /(?![\t\n\x85])\p{Cc}(?<!\r(?=\n))/u.exec(text);
  if (control !== null) {
    const line = text.slice(0, control.index).split('\n').length;
    throw new CrayonError(
      'yaml-invalid',
      `${path}: the control character ${JSON.stringify(control[0])} in line ${line}`,
    );
  }
  // The library's own search for equal keys, and its pictures of each error, take time quadratic in the file's size.
  const composer = new Composer({ uniqueKeys: false, prettyErrors: false });
  const documents = composer.compose(shallow(text, lines, path), true, text.length);
  const document = documents.next().value as Document.Parsed;
  if (documents.next().done !== true) throw new CrayonError('yaml-invalid', `${path}: several documents, expected one`);
  const [error] = [...document.errors, ...document.warnings]; // a warning is a tag that nobody knows, whose value is taken for text
  if (error === undefined) return { document, bytes, lines };
  const { line, col } = lines.linePos(error.pos[0]);
  const hint =
    error.code === 'TAG_RESOLVE_FAILED' ? 'Write the value itself: crayon runs no code of a YAML file.' : undefined;
  throw new CrayonError('yaml-invalid', `${path}: ${reasonOf(error)} at line ${line}, column ${col}`, {
    hint,
    cause: error,
  });
}

/** The parsed pieces of a text, unless it nests deeper than the composer, which takes a call for each level, may be let go. */
function* shallow(text: string, lines: LineCounter, path: string): Generator<CST.Token> {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme);
    if (parser.stack.length > LIMITS.nesting + 2) throw tooDeep(path); // a document, collections, a scalar
  }
  yield* parser.end();
}

const tooDeep = (path: string) =>
  new CrayonError('yaml-invalid', `${path}: nested more than ${LIMITS.nesting} levels deep`);

/** A converted value, how many levels it has, and how many characters, with those that its aliases repeat. */
interface Converted {
  value: unknown;
  levels: number;
  size: number;
}
/**
 * A document as plain values. The library's own conversion looks through the whole document for each alias, and follows one into
 * itself; here every node is looked at once, and what an alias stands for is shared.
 */
class Converter {
  readonly #path: string;
  readonly #lines: LineCounter;
  /** null while its value is being converted */
  readonly #anchors = new Map<string, Converted | null>();

  /** null: PyYAML has no say */
  readonly #unread: ReadonlySet<string> | null;
  #isRead = true;

  constructor(path: string, lines: LineCounter, unread: ReadonlySet<string> | null = null) {
    this.#path = path;
    this.#lines = lines;
    this.#unread = unread;
  }

  convert(document: Document.Parsed): unknown {
    return this.#node(document.contents, 1).value;
  }

  #node(node: unknown, depth: number): Converted {
    if (node === null || node === undefined) return { value: null, levels: 0, size: 1 }; // a key without a value
    if (!isNode(node)) throw this.#refusal('a value of a kind that JSON does not have', node);
    const converted = isAlias(node) ? this.#alias(node) : this.#anchored(node, depth);
    if (depth - 1 + converted.levels > LIMITS.nesting) throw tooDeep(this.#path);
    return converted;
  }

  #alias(node: Alias): Converted {
    const target = this.#anchors.get(node.source);
    if (target === null) throw this.#refusal(`the alias *${node.source} stands within what it stands for`, node);
    if (target === undefined) throw this.#refusal(`the alias *${node.source} stands for nothing before it`, node);
    return target;
  }

  #anchored(node: Exclude<Node, Alias>, depth: number): Converted {
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, null);
    const converted = this.#inside(node, depth);
    if (converted.size > LIMITS.yamlCharacters) {
      throw this.#refusal(`its aliases make it longer than ${LIMITS.yamlCharacters} characters`, node);
    }
    if (node.anchor !== undefined) this.#anchors.set(node.anchor, converted);
    return converted;
  }

  #inside(node: Node, depth: number): Converted {
    if (isScalar(node)) return { value: this.#scalar(node), levels: 0, size: 1 + String(node.value).length };
    if (isMap(node)) return this.#map(node, depth);
    if (!isSeq(node)) throw this.#refusal('a value of a kind that JSON does not have', node);
    const items = node.items.map((item) => this.#node(item, depth + 1));
    return { value: items.map(({ value }) => value), ...this.#sum(items) };
  }

  #sum(inner: readonly Converted[]): Omit<Converted, 'value'> {
    let [levels, size] = [0, 1];
    for (const item of inner) {
      levels = Math.max(levels, item.levels);
      size += item.size;
    }
    return { levels: levels + 1, size };
  }

  #scalar(node: Scalar): unknown {
    const { value, source = '' } = node;
    if (typeof value === 'number' && /^[-+]?\d+$/.test(source) && !Number.isSafeInteger(value)) {
      throw this.#refusal(`the number ${shown(source)} has more digits than are kept: write it in quotes`, node);
    }
    if (this.#unread !== null && this.#isRead && node.type === 'PLAIN' && node.tag === undefined) {
      const other = otherReading(source, value);
      if (other !== undefined)
        throw this.#refusal(`${shown(source)} is ${other}: write it in quotes, or otherwise`, node);
    }
    if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return value;
    throw this.#refusal('a value of a kind that JSON does not have', node);
  }

  #map(node: YAMLMap, depth: number): Converted {
    const object = {};
    const inner: Converted[] = [];
    const merged: Array<[source: unknown, at: Node]> = [];
    for (const { key, value } of node.items) {
      if (key !== null && !isScalar(key) && !isAlias(key)) throw this.#refusal('a key that is no plain text', key);
      const isRead = this.#isRead;
      this.#isRead = false; // keys are names
      const name = this.#node(key, depth + 1);
      this.#isRead = depth === 1 ? this.#unread?.has(String(name.value)) === false : isRead;
      const converted = this.#node(value, depth + 1);
      inner.push(name, converted);
      if (isScalar(key) && key.type === 'PLAIN' && key.value === '<<') {
        for (const source of [converted.value].flat(1)) merged.push([source, key]);
        continue;
      }
      const text = String(name.value ?? '');
      if (Object.hasOwn(object, text)) throw this.#refusal(`keys must be unique: ${shown(text)} stands twice`, key);
      setKey(object, text, converted.value);
    }
    // YAML 1.1's merge key, as PyYAML reads it: keys that stand here win, then those of the first.
    for (const [source, at] of merged) {
      if (!isJsonObject(source)) throw this.#refusal('<< is followed by no map', at);
      for (const [name, value] of Object.entries(source)) if (!Object.hasOwn(object, name)) setKey(object, name, value);
    }
    return { value: object, ...this.#sum(inner) };
  }

  #refusal(problem: string, at: unknown): CrayonError {
    const start = isNode(at) ? at.range?.[0] : undefined;
    const where = start === undefined ? '' : ` (line ${this.#lines.linePos(start).line})`;
    return new CrayonError('yaml-invalid', `${this.#path}: ${problem}${where}`);
  }
}
