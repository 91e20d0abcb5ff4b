/** "Did you mean ...?": the known name that a mistyped one is closest to. */

/**
 * The nearest of the known names by edit distance, or undefined when none is near: more than a third of the letters would
 * have to change.
 *
 * @example
 * nearestName('therads', ['threads', 'type']); // 'threads'
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    // api_key for api_key_env: a name cut short, or one with something added
    const isPart = name.length >= 3 && (candidate.startsWith(name) || name.startsWith(candidate));
    const distance = isPart ? 1 : editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** Levenshtein distance with swaps of neighbours counted once (optimal string alignment). */
export function editDistance(a: string, b: string): number {
  const width = b.length + 1;
  const d = new Uint32Array((a.length + 1) * width);
  for (let i = 0; i <= a.length; i++) d[i * width] = i;
  for (let j = 0; j <= b.length; j++) d[j] = j;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(
        d[(i - 1) * width + j]! + 1,
        d[i * width + j - 1]! + 1,
        d[(i - 1) * width + j - 1]! + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, d[(i - 2) * width + j - 2]! + 1);
      }
      d[i * width + j] = least;
    }
  }
  return d[a.length * width + b.length]!;
}
