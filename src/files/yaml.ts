/** YAML files: bounded, strict UTF-8, and the line of every key for whoever has something to say about it. */

import { LineCounter, type Node, parseDocument } from 'yaml';
import { CrayonError } from '../core/errors.js';
import { readSmallFile } from './io.js';
import { decodeUtf8 } from './json.js';

const MAX_BYTES = 2 ** 20;

export interface YamlFile {
  value: unknown;
  bytes: Uint8Array;
  /** The line, from 1, of what stands at a path such as `['server', 'port']`, or undefined where nothing does. */
  lineOf(path: readonly PropertyKey[]): number | undefined;
}

/**
 * @throws CrayonError `yaml-invalid` with the line, `file-not-found`
 *
 * @example
 * const { value, lineOf } = readYaml('configs/edge.yaml');
 * lineOf(['limits', 'queue']); // 39
 */
export function readYaml(path: string): YamlFile {
  const bytes = readSmallFile(path, MAX_BYTES);
  const lines = new LineCounter();
  const document = parseDocument(decodeUtf8(bytes, path, 'yaml-invalid'), { lineCounter: lines });
  const [error] = document.errors;
  if (error !== undefined) {
    throw new CrayonError('yaml-invalid', `${path}: ${error.message.split('\n')[0]}`, { cause: error });
  }
  const lineOf = (at: readonly PropertyKey[]) => {
    const node = at.length === 0 ? document.contents : document.getIn(at, true);
    const start = (node as Node | undefined | null)?.range?.[0];
    return start === undefined ? undefined : lines.linePos(start).line;
  };
  try {
    return { value: document.toJS({ maxAliasCount: 100 }), bytes, lineOf };
  } catch (error) {
    throw new CrayonError('yaml-invalid', `${path}: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
}
