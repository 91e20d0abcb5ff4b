/** Text for people: numbers, milliseconds and bytes as words, long texts and long lists cut short, "did you mean ...?". */

/** 1536 -> "1.5 kB" (powers of 1000, as disks and PEFT users count them). */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = -1;
  do {
    value /= 1000;
    unit++;
  } while (value >= 1000 && unit < units.length - 1);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

const BYTE_UNITS: Record<string, number> = { kb: 1e3, mb: 1e6, gb: 1e9, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 };

/** `6GB`, `800MB`, `5.5GiB`; NaN for anything else. */
export function parseBytes(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([KMG]i?B)$/i.exec(text.trim()) ?? [];
  return Math.floor(Number(number) * (BYTE_UNITS[unit?.toLowerCase() ?? ''] ?? Number.NaN));
}

/** 830 -> "830 ms", 61500 -> "1 min 2 s". */
export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** 1234567 -> "1,234,567". */
export function formatCount(n: number): string {
  return n.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

/** Rate with three significant digits: 1234.5 -> "1,230", 0.1234 -> "0.123". */
export function formatRate(perSecond: number): string {
  return Number(perSecond.toPrecision(3)).toLocaleString('en-US', { maximumSignificantDigits: 3 });
}

/** A bar of the given width for a share in [0, 1]; negative shares are drawn as empty. */
export function bar(share: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}

/** Cuts text to a width, marking the cut; line breaks become spaces. */
export function ellipsis(text: string, width: number): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= width ? line : `${line.slice(0, width - 1)}…`;
}

/** What moves a terminal's cursor, ends a line, turns the direction of reading, or is half a character. */
const STEERING = /[\p{Cc}\p{Cs}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/gu;

/**
 * Text from outside as a terminal or a log may have it: what would steer it is escaped as in JSON.
 *
 * @param keepLines leaves line feeds and tabs
 *
 * @example
 * printable('a\u001b[31mb'); // 'a\\u001b[31mb'
 */
export function printable(text: string, { keepLines = false }: { keepLines?: boolean } = {}): string {
  return text.replace(STEERING, (c) => {
    return keepLines && (c === '\n' || c === '\t') ? c : `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/**
 * The last lines of what a process said that hold anything, however it ends them, each cut where it is very long.
 *
 * @example
 * lastLines('1 %\r2 %\nError: full\n\n', 2); // ['2 %', 'Error: full']
 */
export function lastLines(text: string, most: number): string[] {
  const lines = text.split(/[\r\n]+/).map((line) => line.trimEnd());
  const last = lines.filter((line) => line !== '').slice(-most);
  return last.map((line) => (line.length > LONGEST_ITEM ? `${line.slice(0, LONGEST_ITEM)}…` : line));
}

/** Keeps the end of the text instead: prompts of one task often begin alike. */
export function ellipsisFront(text: string, width: number): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= width ? line : `…${line.slice(line.length - width + 1)}`;
}

/** maxTokens -> max_tokens: a name of the code as a file has it. */
export const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Characters of one item of a list: it may quote a file, and be as long as that. */
const LONGEST_ITEM = 1000;

/**
 * The first of many, each cut short where it is very long.
 *
 * @example
 * abridge(['a', 'b', 'c'], 2); // 'a; b; and 1 more'
 */
export function abridge(items: readonly string[], most: number, separator = '; '): string {
  const cut = (item: string) => (item.length > LONGEST_ITEM ? `${item.slice(0, LONGEST_ITEM)}…` : item);
  const shown = items.slice(0, most).map(cut).join(separator);
  return items.length > most ? `${shown}${separator}and ${items.length - most} more` : shown;
}

const LONGEST_NAME = 100;

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
  if (name.length > LONGEST_NAME) return undefined; // comparing takes time and memory of the product of both lengths
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

/** What was found, in short; of objects nothing, because some key of theirs may hold a secret. */
export function shown(found: unknown): string {
  if (typeof found === 'number') return String(found); // NaN and infinity too
  if (found === undefined) return 'missing';
  const json = jsonUpTo(found, MOST_SHOWN);
  return json.length > MOST_SHOWN ? `${json.slice(0, MOST_SHOWN)}...` : json;
}

const MOST_SHOWN = 60;

/** JSON of a value, or at least its first `most` characters: a file's values may be of any size and depth. */
function jsonUpTo(value: unknown, most: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, most));
  if (typeof value === 'bigint' || value instanceof Number) return String(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  if (!Array.isArray(value)) return Object.keys(value).length > 0 ? '{...}' : '{}';
  let json = '[';
  for (const [i, item] of value.entries()) {
    if (json.length > most) return json;
    json += (i > 0 ? ',' : '') + jsonUpTo(item, most - json.length);
  }
  return `${json}]`;
}
