/** YAML files: bounded, strict UTF-8, and the line of every key for whoever has something to say about it. */

import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { CrayonError, messageOf, reasonOf } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { readSmallFile } from './io.js';
import { decodeUtf8 } from './json.js';

export interface YamlFile {
  value: unknown;
  bytes: Uint8Array;
  /**
   * The line, from 1, of the key at a path such as `['server', 'port']`; where it is missing, of what it should stand in.
   * Undefined for a missing key of the top level.
   */
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
  const bytes = readSmallFile(path, LIMITS.configBytes);
  const lines = new LineCounter();
  const document = parseDocument(decodeUtf8(bytes, path, 'yaml-invalid'), { lineCounter: lines });
  const [error] = document.errors;
  if (error !== undefined) {
    throw new CrayonError('yaml-invalid', `${path}: ${reasonOf(error)}`, { cause: error });
  }
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
  try {
    return { value: document.toJS({ maxAliasCount: LIMITS.yamlAliases }), bytes, lineOf };
  } catch (error) {
    throw new CrayonError('yaml-invalid', `${path}: ${messageOf(error)}`, { cause: error });
  }
}
