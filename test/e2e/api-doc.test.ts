/** Runs every TypeScript block of docs/api.md, in order, as its reader would. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryRoot } from '../helpers/files.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const blocks = [
  ...readFileSync(join(ROOT, 'docs', 'api.md'), 'utf8').matchAll(/## (.*?)\n[\s\S]*?```ts\n([\s\S]*?)```/g),
];

describe('docs/api.md', () => {
  let dir: string;
  beforeAll(() => {
    dir = temporaryRoot();
    mkdirSync(join(dir, 'test'));
    symlinkSync(join(ROOT, 'test', 'fixtures'), join(dir, 'test', 'fixtures'));
    symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('has a block for each part of the library', () => {
    expect(blocks.map(([, title]) => title)).toHaveLength(8);
  });

  it.each(blocks.map(([, title, code]) => ({ title, code: code! })))('$title', ({ code }) => {
    const file = join(dir, 'block.mts');
    writeFileSync(file, code.replaceAll("'crayon-edge'", `'${join(ROOT, 'src', 'index.js')}'`));
    const tsx = join(ROOT, 'node_modules', '.bin', 'tsx');
    const output = execFileSync(tsx, [file], { cwd: dir, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    expect(output).not.toBe('');
  });
});
