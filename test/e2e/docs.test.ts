/** What the documents name exists: files, links, npm scripts, commands and their flags. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { crayon, ROOT } from './helpers.js';

const documents = [
  ...['README.md', 'CONTRIBUTING.md', 'benchmarks/README.md'],
  ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`),
].filter((name) => name.endsWith('.md'));

const text = new Map(documents.map((name) => [name, readFileSync(join(ROOT, name), 'utf8')]));

/** Code blocks, fenced or indented. */
const blocksOf = (document: string) =>
  [...text.get(document)!.matchAll(/```[^\n]*\n([\s\S]*?)```|^ {4}(\S.*)$/gm)].map((m) => m[1] ?? m[2]!);
const spansOf = (document: string) =>
  [
    ...text
      .get(document)!
      .replace(/```[\s\S]*?```/g, '')
      .matchAll(/`([^`]+)`/g),
  ].map((m) => m[1]!);
const codeOf = (document: string) => [...blocksOf(document), ...spansOf(document)];

const PATH =
  /(?<![\w./<-])(?:src|configs|test|scripts|benchmarks|docs|suite|models)\/[\w./-]*\w\.(?:ts|yaml|md|py|jsonl?|html)\b/g;
/** What the commands that the documents show would write. */
const WRITTEN = /\.calibrated\.yaml$/;

/** Commands that have others behind them, which have flags of their own. */
const BEHIND: Record<string, string[]> = { bench: ['load', 'report'], 'build-pool': ['prepare', 'train', 'finish'] };

/** Every `crayon` command of the documents: its words up to the first flag or path, and its flags. */
function commandsOf(document: string): Array<{ line: string; flags: string[] }> {
  const lines = codeOf(document).flatMap((code) => code.replaceAll(/\\\n\s*/g, '').split('\n'));
  return lines.flatMap((line) => {
    const [, rest] = line.match(/^(?:\$ )?(?:npx )?crayon ([a-z].*)$/) ?? [];
    if (rest === undefined) return [];
    const words = rest.replace(/ #.*| &.*/, '').split(/\s+/);
    return [{ line: words.join(' '), flags: words.filter((word) => /^--[a-z]/.test(word)) }];
  });
}

describe.each(documents)('%s', (document) => {
  it('names files that exist', () => {
    const named = codeOf(document).flatMap((code) => code.match(PATH) ?? []);
    expect(named.filter((path) => !WRITTEN.test(path) && !existsSync(join(ROOT, path)))).toEqual([]);
  });

  it('links to files that exist', () => {
    const links = [...text.get(document)!.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map((m) => m[1]!);
    const missing = links.filter((link) => !existsSync(join(ROOT, dirname(document), link)));
    expect(missing).toEqual([]);
  });

  it('names npm scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
    const named = codeOf(document).flatMap((code) => [...code.matchAll(/npm run ([\w:]+)/g)].map((m) => m[1]!));
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  it('shows commands and flags that exist', async () => {
    const unknown: string[] = [];
    for (const { line, flags } of commandsOf(document)) {
      const [command, sub] = line.split(' ');
      const words = BEHIND[command!]?.includes(sub!) ? [command!, sub!] : [command!];
      const { code, stdout } = await crayon([...words, '--help']);
      const known = code === 0 && stdout.startsWith(`Usage: crayon ${words.join(' ')}`);
      if (!known || flags.some((flag) => !new RegExp(`${flag}\\b(?!-)`).test(stdout))) unknown.push(line);
    }
    expect(unknown).toEqual([]);
  });
});

describe('the documents', () => {
  it('show commands, paths and links at all, so that the patterns above see something', () => {
    const all = (of: (document: string) => unknown[]) => documents.flatMap(of).length;
    expect(all(commandsOf)).toBeGreaterThan(20);
    expect(all((document) => codeOf(document).flatMap((code) => code.match(PATH) ?? []))).toBeGreaterThan(60);
  });

  it('all are reached from the README', () => {
    const linked = new Set<string>(['README.md']);
    for (const document of linked) {
      for (const [, link] of text.get(document)?.matchAll(/\]\(([^)#:]+\.md)(?:#[^)]*)?\)/g) ?? []) {
        linked.add(relative(ROOT, join(ROOT, dirname(document), link!)));
      }
    }
    expect(documents.filter((document) => !linked.has(document))).toEqual([]);
  });
});
