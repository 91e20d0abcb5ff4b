/**
 * JSON as a tree that keeps what JSON.parse loses: keys that occur twice, and numbers and other values as any text. A change is
 * made to the tree, and now and then to the text.
 */

import type { Random } from '../../../src/core/random.js';
import { mutateBytes } from './bytes.js';
import { ODD_TEXTS, oddJson, oneIn, pick, small } from './odd.js';

type Tree = { raw: string } | { list: Tree[] } | { entries: Array<[key: string, value: Tree]> };

/** Words of the format, to name keys and values by. */
export type Words = readonly string[];

export function toTree(value: unknown): Tree {
  if (Array.isArray(value)) return { list: value.map(toTree) };
  if (typeof value !== 'object' || value === null) return { raw: JSON.stringify(value) ?? 'null' };
  return { entries: Object.entries(value).map(([key, item]) => [key, toTree(item)]) };
}

export function treeText(tree: Tree): string {
  const parts: string[] = [];
  const write = (node: Tree): void => {
    if ('raw' in node) parts.push(node.raw);
    else if ('list' in node) {
      parts.push('[');
      for (const [i, item] of node.list.entries()) {
        if (i > 0) parts.push(',');
        write(item);
      }
      parts.push(']');
    } else {
      parts.push('{');
      for (const [i, [key, item]] of node.entries.entries()) {
        parts.push(i > 0 ? ',' : '', JSON.stringify(key), ':');
        write(item);
      }
      parts.push('}');
    }
  };
  write(tree);
  return parts.join('');
}

/** A copy with one thing changed at a random place. */
export function mutateTree(tree: Tree, random: Random, words: Words = []): Tree {
  const root = { list: [structuredClone(tree)] };
  const places: Array<{ parent: Exclude<Tree, { raw: string }>; index: number; depth: number }> = [];
  const collect = (parent: Tree, depth: number): void => {
    if ('raw' in parent) return;
    const items = 'list' in parent ? parent.list : parent.entries.map(([, item]) => item);
    // Of a long list or a vocabulary the first few and one more: it is the other keys that steer the reader.
    const shown = items.length <= 12 ? [...items.keys()] : [0, 1, 2, random.int(items.length)];
    for (const index of shown) {
      places.push({ parent, index, depth });
      collect(items[index]!, depth + 1);
    }
  };
  collect(root, 0);
  // Nodes near the root say most: a draw of two, the nearer one.
  const [one, two] = [pick(random, places), pick(random, places)];
  change(one.depth <= two.depth ? one : two, random, words);
  return root.list[0] ?? { raw: '' };
}

function change(
  { parent, index }: { parent: Exclude<Tree, { raw: string }>; index: number },
  random: Random,
  words: Words,
) {
  const get = () => ('list' in parent ? parent.list[index]! : parent.entries[index]![1]);
  const set = (value: Tree) => {
    if ('list' in parent) parent.list[index] = value;
    else parent.entries[index]![1] = value;
  };
  const here = get();
  const word = () => pick(random, words.length > 0 && !oneIn(random, 4) ? words : ODD_TEXTS);
  switch (random.int(13)) {
    case 0:
    case 1:
    case 2:
      return set({ raw: oddJson(random) });
    case 3:
    case 4:
      return set(nudged(here, random));
    case 5:
      return 'list' in parent ? parent.list.splice(index, 1) : parent.entries.splice(index, 1);
    case 6: // a second of the same: a duplicate key, or a repeated item
      return 'list' in parent
        ? parent.list.splice(index, 0, structuredClone(here))
        : parent.entries.push([parent.entries[index]![0], oneIn(random, 2) ? here : { raw: oddJson(random) }]);
    case 7:
      if ('entries' in parent) parent.entries[index]![0] = word();
      else set({ raw: JSON.stringify(word()) });
      return;
    case 8:
      return 'entries' in parent
        ? parent.entries.push([word(), { raw: oddJson(random) }])
        : parent.list.push({ raw: oddJson(random) });
    case 9: {
      const other = random.int('list' in parent ? parent.list.length : parent.entries.length);
      const items: Array<Tree | [string, Tree]> = 'list' in parent ? parent.list : parent.entries;
      [items[index], items[other]] = [items[other]!, items[index]!];
      return;
    }
    case 10:
      return set('list' in here ? (here.list[0] ?? { raw: 'null' }) : { list: [here] });
    case 11: {
      const times = pick(random, [2, 10, 300]);
      if ('list' in here)
        return set({
          list: Array.from({ length: times }, () => here.list)
            .flat()
            .slice(0, 5000),
        });
      if ('entries' in here)
        return here.entries.push(...Array.from({ length: times }, (_, i): [string, Tree] => [`k${i}`, { raw: '1' }]));
      return set({ list: Array.from({ length: times }, () => here) });
    }
    default:
      return set({ raw: JSON.stringify(word()) });
  }
}

/** Another value of the same kind, near the one that stands there. */
function nudged(node: Tree, random: Random): Tree {
  if ('list' in node) return { list: oneIn(random, 2) ? node.list.slice(0, -1) : node.list.toReversed() };
  if ('entries' in node) return { entries: node.entries.toReversed() };
  const value: unknown = safeParse(node.raw);
  if (typeof value === 'boolean') return { raw: String(!value) };
  if (typeof value === 'number') {
    const near = [
      value + 1,
      value - 1,
      value * 2,
      Math.floor(value / 2),
      -value,
      value + 0.5,
      value * 1e6,
      1 + small(random, 8),
    ];
    return { raw: oneIn(random, 8) ? JSON.stringify(String(value)) : String(pick(random, near)) };
  }
  if (typeof value !== 'string') return { raw: '0' };
  const at = random.int(value.length + 1);
  const changed = [
    value.slice(0, at),
    value + value,
    value.toUpperCase(),
    ` ${value}`,
    value.slice(0, at) + pick(random, ODD_TEXTS) + value.slice(at),
  ];
  return { raw: JSON.stringify(pick(random, changed)) };
}

function safeParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A JSON file: its tree, its text, or its bytes. */
export function mutateJson(bytes: Buffer, random: Random, words: Words): Buffer {
  const value = oneIn(random, 12) ? undefined : safeParse(bytes.toString('utf8'));
  try {
    if (value !== undefined) return Buffer.from(treeText(mutateTree(toTree(value), random, words)));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // nested too deep for a walk: it can still be cut and copied
  }
  return mutateBytes(bytes, random);
}
