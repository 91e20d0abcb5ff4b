/** Long lists in messages: the first few items, and how many more there are. */

/**
 * @example
 * abridge(['a', 'b', 'c'], 2); // 'a; b; and 1 more'
 */
export function abridge(items: readonly string[], most: number, separator = '; '): string {
  const shown = items.slice(0, most).join(separator);
  return items.length > most ? `${shown}${separator}and ${items.length - most} more` : shown;
}
