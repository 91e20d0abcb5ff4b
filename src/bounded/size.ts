/** How much plain data is. */

/**
 * Characters of text, and values in lists and objects, up to `most`. Each object counts once, as it is sent once.
 *
 * @param most where counting ends
 */
export function sizeOf(value: unknown, most: number): number {
  const seen = new Set<unknown>();
  const waiting: unknown[] = [value];
  let size = 0;
  while (waiting.length > 0 && size <= most) {
    const one = waiting.pop();
    size += typeof one === 'string' ? one.length : 1;
    if (typeof one !== 'object' || one === null || ArrayBuffer.isView(one) || seen.has(one)) continue;
    seen.add(one);
    for (const part of Object.values(one)) waiting.push(part);
  }
  return size;
}
