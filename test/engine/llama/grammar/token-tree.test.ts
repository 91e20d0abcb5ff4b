/** A vocabulary by its bytes, asked by a language of which every beginning is one of its own, compared with asking about every token. */

import { expect, it } from 'vitest';
import { createRandom } from '../../../../src/core/random.js';
import { admittedTokens, refusedOf, tokenTree } from '../../../../src/engine/llama/grammar/token-tree.js';

const random = createRandom(5);
const utf8 = new TextEncoder();
/** Short words of few letters, two of which are more than a byte; some twice, some empty, as control tokens are. */
const TEXTS = Array.from({ length: 3000 }, (_, id) =>
  id % 50 === 0 ? '' : Array.from({ length: 1 + random.int(5) }, () => 'ab"é€'[random.int(5)]).join(''),
);
const SENTENCES = ['a"é€b', 'aaab', '€€é"', 'bab'];
const isAllowed = (id: number): boolean => SENTENCES.some((one) => one.startsWith(TEXTS[id]!));
const isText = (id: number): boolean => TEXTS[id] !== '';
const wanted = [...TEXTS.keys()].filter((id) => isText(id) && isAllowed(id));
const tree = await tokenTree(TEXTS.length, (id) => utf8.encode(TEXTS[id]));

it('finds all that are admitted, and asks about few', () => {
  let asked = 0;
  const count = (id: number) => {
    asked++;
    return isAllowed(id);
  };
  const all = { most: wanted.length, asked: TEXTS.length };
  expect(admittedTokens(tree, count, all)!.sort((a, b) => a - b)).toEqual(wanted);
  expect(wanted.length).toBeGreaterThan(20);
  expect(asked).toBeLessThan(TEXTS.length / 4);
  expect(admittedTokens(tree, isAllowed, { ...all, most: wanted.length - 1 })).toBeNull();
  expect(admittedTokens(tree, isAllowed, { ...all, asked: asked - 1 })).toBeNull();
  expect(admittedTokens(tree, isAllowed, { ...all, asked })).not.toBeNull();
});

it('tells of a list which are refused', () => {
  const list = Array.from({ length: 400 }, () => random.int(TEXTS.length)).filter(isText);
  const refused = list.filter((id) => !isAllowed(id));
  expect(refusedOf(tree, list, isAllowed)).toEqual(new Set(refused));
  // What has no text, as a token that ends the answer, is asked about by itself.
  expect(refusedOf(tree, [0, ...list], (id) => id !== 0 && isAllowed(id)).has(0)).toBe(true);
  expect(refusedOf(tree, [0, ...list], isAllowed).has(0)).toBe(false);
});
