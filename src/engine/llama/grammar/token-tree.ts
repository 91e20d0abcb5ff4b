/**
 * A vocabulary by the bytes of its tokens. Where a grammar does not admit a text, it admits nothing that begins with it: most of a
 * vocabulary is struck off by asking about a few short tokens.
 */

import { breather } from '../../../core/long-work.js';

export interface TokenTree {
  /** ids in the order of their bytes, those without any left out */
  order: Int32Array;
  /** for each place in the order, the first one after it whose token does not begin with its token */
  after: Int32Array;
  /** by id: its place, or -1 */
  places: Int32Array;
}

/** @param bytesOf empty where a token is no text of an answer */
export async function tokenTree(vocabularySize: number, bytesOf: (id: number) => Uint8Array): Promise<TokenTree> {
  const breathe = breather();
  // Sorted by two bytes and then within them, so that others have their turn in between.
  const byBeginning = new Map<number, Array<{ id: number; text: string }>>();
  for (let id = 0; id < vocabularySize; id++) {
    const bytes = bytesOf(id);
    if (bytes.length === 0) continue;
    const key = 257 * bytes[0]! + (bytes[1] === undefined ? 0 : bytes[1] + 1);
    const alike = byBeginning.get(key);
    const one = { id, text: String.fromCharCode(...bytes) };
    if (alike === undefined) byBeginning.set(key, [one]);
    else alike.push(one);
    if (id % 1024 === 0) await breathe();
  }
  const order: number[] = [];
  const after: number[] = [];
  const places = new Int32Array(vocabularySize).fill(-1);
  const open: Array<{ place: number; text: string }> = [];
  const close = (next: string | null): void => {
    while (open.length > 0 && (next === null || !next.startsWith(open.at(-1)!.text)))
      after[open.pop()!.place] = order.length;
  };
  for (const key of [...byBeginning.keys()].sort((a, b) => a - b)) {
    const alike = byBeginning.get(key)!.sort((a, b) => (a.text < b.text ? -1 : Number(a.text > b.text)));
    for (const { id, text } of alike) {
      close(text);
      open.push({ place: order.length, text });
      places[id] = order.length;
      order.push(id);
    }
    await breathe();
  }
  close(null);
  return { order: Int32Array.from(order), after: Int32Array.from(after), places };
}

/** All tokens that are admitted; null where there are more than `most`, or more than `asked` have to be asked about. */
export function admittedTokens(
  { order, after }: TokenTree,
  allows: (id: number) => boolean,
  { most, asked }: { most: number; asked: number },
): number[] | null {
  const found: number[] = [];
  let left = asked;
  for (let place = 0; place < order.length; ) {
    if (left-- === 0) return null;
    const isAllowed = allows(order[place]!);
    if (isAllowed && found.push(order[place]!) > most) return null;
    place = isAllowed ? place + 1 : after[place]!;
  }
  return found;
}

/** Those of `ids` that are not admitted. */
export function refusedOf(
  { after, places }: TokenTree,
  ids: readonly number[],
  allows: (id: number) => boolean,
): Set<number> {
  const refused = new Set<number>();
  let until = -1;
  for (const id of [...ids].sort((a, b) => places[a]! - places[b]!)) {
    const place = places[id]!;
    if (place >= 0 && place < until) refused.add(id);
    else if (!allows(id)) {
      refused.add(id);
      if (place >= 0) until = after[place]!;
    }
  }
  return refused;
}
