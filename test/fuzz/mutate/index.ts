/** Which mutator a file gets, by its name; and the words that its format knows, read off the sound inputs. */

import type { Random } from '../../../src/core/random.js';
import { mutateBytes } from './bytes.js';
import { mutateGguf } from './gguf.js';
import { mutateHttp } from './http.js';
import { mutateJson, type Words } from './json.js';
import { mutateSafetensors } from './safetensors.js';
import { JINJA_PIECES, mutateText, TABLE_PIECES } from './text.js';
import { mutateYaml } from './yaml.js';

/** One change of a file's bytes. */
export type Mutate = (bytes: Buffer, random: Random, words: Words) => Buffer;

const BY_ENDING: ReadonlyArray<[RegExp, Mutate]> = [
  [/\.json$/, mutateJson],
  [/\.safetensors$/, mutateSafetensors],
  [/\.gguf$/, mutateGguf],
  [/\.ya?ml$/, mutateYaml],
  [/\.jinja$/, (bytes, random) => mutateText(bytes, random, JINJA_PIECES)],
  [/\.(jsonl|csv|tsv|log)$/, mutateTable],
  [/\.http$/, mutateHttp],
];

export function mutatorOf(name: string): Mutate {
  return BY_ENDING.find(([ending]) => ending.test(name))?.[1] ?? mutateBytes;
}

/** A line of a table as JSON where it is that; the text otherwise. */
function mutateTable(bytes: Buffer, random: Random, words: Words): Buffer {
  const lines = bytes.toString('utf8').split('\n');
  const at = random.int(lines.length);
  if (random.int(2) === 0 || !lines[at]!.startsWith('{')) return mutateText(bytes, random, TABLE_PIECES);
  lines[at] = mutateJson(Buffer.from(lines[at]!), random, words).toString('utf8');
  return Buffer.from(lines.join('\n'));
}

/** Names and short texts in the files of sound inputs: keys, types, tensor names. */
export function wordsOf(files: Iterable<ReadonlyMap<string, Buffer>>): string[] {
  const words = new Set<string>();
  for (const map of files) {
    for (const [name, bytes] of map) {
      if (bytes.length > 2 ** 17 && !/\.(gguf|safetensors)$/.test(name)) continue;
      const text = bytes.toString('latin1', 0, 2 ** 15);
      for (const [word] of text.matchAll(/[A-Za-z_][\w.-]{2,47}/g)) if (words.size < 1500) words.add(word);
    }
  }
  return [...words];
}
