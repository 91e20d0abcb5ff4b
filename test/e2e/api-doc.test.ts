/** Runs every TypeScript block of docs/api.md, in order, as its reader would; and compares its names with the exports. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryRoot } from '../helpers/files.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const document = readFileSync(join(ROOT, 'docs', 'api.md'), 'utf8');
const blocks = [...document.matchAll(/## (.*?)\n[\s\S]*?```ts\n([\s\S]*?)```/g)];
/** The package's entrances: the name that is imported, and the file under src/. */
const ENTRANCES = { 'crayon-edge': 'index', 'crayon-edge/formats': 'formats' };

/** What an entrance exports, values and types: all that it has are re-exports by name. */
function exportsOf(entrance: string): string[] {
  const source = readFileSync(join(ROOT, 'src', `${entrance}.ts`), 'utf8');
  const statements = [...source.matchAll(/^export (?:type )?\{([^}]*)\} from '[^']+';$/gm)];
  expect(statements).toHaveLength(source.match(/^export\b/gm)!.length);
  return statements.flatMap(([, names]) => names!.split(',').map((name) => name.replace(/\btype\b/, '').trim())).sort();
}

/** The names in the first column of the table after "From `<entrance>`:". */
function documented(entrance: string): string[] {
  const table = document.split(`From \`${entrance}\`:\n\n`)[1]!.split('\n\n')[0]!;
  const rows = table.trim().split('\n').slice(2);
  return rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`(\w+)`/g)].map(([, name]) => name!)).sort();
}

describe('docs/api.md', () => {
  let dir: string;
  beforeAll(() => {
    dir = temporaryRoot();
    mkdirSync(join(dir, 'test'));
    symlinkSync(join(ROOT, 'test', 'fixtures'), join(dir, 'test', 'fixtures'));
    symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it.each(Object.entries(ENTRANCES))('names what %s exports, and nothing else', (name, entrance) => {
    expect(documented(name)).toEqual(exportsOf(entrance));
  });

  it('has a block for each part of the library', () => {
    expect(blocks.map(([, title]) => title)).toHaveLength(8);
  });

  it.each(blocks.map(([, title, code]) => ({ title, code: code! })))('$title', ({ code }) => {
    const file = join(dir, 'block.mts');
    const linked = Object.entries(ENTRANCES).reduce(
      (text, [name, entrance]) => text.replaceAll(`'${name}'`, `'${join(ROOT, 'src', `${entrance}.js`)}'`),
      code,
    );
    writeFileSync(file, linked);
    const tsx = join(ROOT, 'node_modules', '.bin', 'tsx');
    const output = execFileSync(tsx, [file], { cwd: dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    expect(output).not.toBe('');
  });
});
