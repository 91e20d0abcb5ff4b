import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { sourceStack } from '../../src/files/source-stack.js';

const dir = mkdtempSync(join(tmpdir(), 'crayon-stack-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A chunk with a map, and what its places are called in a stack. */
function chunk(name: string, map: string | null): string {
  const path = join(dir, name);
  writeFileSync(path, '');
  if (map !== null) writeFileSync(`${path}.map`, map);
  return pathToFileURL(path).href;
}

/** Its second line from column 2 on is line 41, column 4, of src/blend/x.ts. */
const MAP = JSON.stringify({ version: 3, sources: ['../../src/blend/x.ts'], names: [], mappings: ';EAwCI' });

describe('a stack of a built crayon', () => {
  it('names the sources where a map does', () => {
    const url = chunk('a.js', MAP);
    expect(sourceStack(`Error: no\n    at blend (${url}:2:9)\n    at async ${url}:2:3`)).toBe(
      'Error: no\n    at blend (src/blend/x.ts:41:5)\n    at async src/blend/x.ts:41:5',
    );
  });

  it.each([
    ['without a map', null],
    ['with a map that was cut off', MAP.slice(0, 20)],
    ['before what the map knows', MAP],
  ])('stays as it is %s', (_, map) => {
    const stack = `Error: no\n    at blend (${chunk('b.js', map)}:1:1)\n    at node:internal/main:1:1`;
    expect(sourceStack(stack)).toBe(stack);
  });
});
