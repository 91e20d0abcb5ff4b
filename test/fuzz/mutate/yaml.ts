/** YAML files: as values, which keeps them readable and reaches the checks of what they say; as text, which tries the parser. */

import { parse, stringify } from 'yaml';
import type { Random } from '../../../src/core/random.js';
import { mutateTree, toTree, treeText, type Words } from './json.js';
import { oneIn } from './odd.js';
import { mutateText, YAML_PIECES } from './text.js';

/** The library's search for equal keys and its pictures of errors take time quadratic in a text's size: a mutator that hangs is no finding. */
const PARSE = { maxAliasCount: 50, uniqueKeys: false, prettyErrors: false, logLevel: 'error' } as const;
/** Longer ones are changed as text. */
const LONGEST = 2 ** 16;

export function mutateYaml(bytes: Buffer, random: Random, words: Words): Buffer {
  if (!oneIn(random, 3) && bytes.length <= LONGEST) {
    try {
      // JSON is YAML: values that are no JSON, such as NaN, become words of it.
      const text = treeText(mutateTree(toTree(parse(bytes.toString('utf8'), PARSE)), random, words));
      return Buffer.from(oneIn(random, 2) ? text : stringify(JSON.parse(text)));
    } catch {
      // A mutant of a mutant that is no YAML any more: its text then.
    }
  }
  return mutateText(bytes, random, YAML_PIECES);
}
