/** Lists of numbers of unlike lengths, laid one behind the other in one array: as token ids lie in the files of a build. */

/** Where each of several lists begins when they lie behind one another, and where the last one ends. */
export function startsOf(lists: ReadonlyArray<{ length: number }>): Int32Array {
  const starts = new Int32Array(lists.length + 1);
  for (const [i, { length }] of lists.entries()) starts[i + 1] = starts[i]! + length;
  return starts;
}

export function flatOf(lists: ReadonlyArray<ArrayLike<number>>): Int32Array {
  const starts = startsOf(lists);
  const flat = new Int32Array(starts.at(-1)!);
  for (const [i, list] of lists.entries()) flat.set(list, starts[i]);
  return flat;
}

/** The lists again, as views. */
export function listsOf(flat: Int32Array, starts: Int32Array): Int32Array[] {
  return Array.from({ length: starts.length - 1 }, (_, i) => flat.subarray(starts[i], starts[i + 1]));
}
