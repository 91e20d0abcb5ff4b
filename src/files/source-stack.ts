/** Stacks of a built crayon (scripts/build.ts) in terms of its sources, by the maps beside its chunks, which Node reads only under a flag. */

import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { fileURLToPath } from 'node:url';

const PLACE = /(file:\/\/[^\s()]+\.js):(\d+):(\d+)/g;

/** A stack with every place that has a map beside it as file, line and column of the sources; the others as they are. */
export function sourceStack(stack: string): string {
  const maps = new Map<string, SourceMap | null>();
  const mapOf = (path: string): SourceMap | null => {
    if (!maps.has(path)) maps.set(path, readMap(`${path}.map`));
    return maps.get(path)!;
  };
  return stack.replace(PLACE, (place, url: string, line: string, column: string) => {
    const entry = mapOf(fileURLToPath(url))?.findEntry(Number(line) - 1, Number(column) - 1);
    if (entry === undefined || !('originalSource' in entry)) return place;
    const [source] = /\b(?:src|bin|node_modules)\/.*/.exec(entry.originalSource) ?? [entry.originalSource];
    return `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}

/** None, or one that cannot be read, leaves the places as they are: the error is what counts. */
function readMap(path: string): SourceMap | null {
  try {
    return new SourceMap(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return null;
  }
}
