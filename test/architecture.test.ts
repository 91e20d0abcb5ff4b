/** The rules of docs/architecture.md, read off the imports. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadedBy, packagesOf, resolveImport, staticImports } from './helpers/imports.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const SRC = join(ROOT, 'src');

/** Which room of src/ may import which, from the ground up. */
const MAY_IMPORT: Record<string, string[]> = {
  core: [],
  files: ['core'],
  bounded: ['core'],
  jobs: ['core', 'files'],
  lora: ['core'],
  data: ['core', 'files', 'bounded'],
  safetensors: ['core', 'files'],
  hf: ['core', 'files', 'bounded', 'safetensors'],
  peft: ['core', 'files', 'bounded', 'safetensors'],
  gguf: ['core', 'files', 'safetensors', 'hf', 'peft'],
  onnx: ['core'],
  model: ['core', 'files', 'hf', 'onnx'],
  train: ['core', 'data', 'hf', 'peft', 'model'],
  pool: ['core', 'files', 'data', 'safetensors', 'hf', 'peft', 'gguf', 'model', 'train'],
  blend: ['core', 'files', 'lora', 'data', 'safetensors', 'hf', 'peft', 'gguf', 'model', 'train', 'pool'],
  choose: ['core', 'data', 'hf', 'model', 'train', 'pool', 'blend'],
  engine: ['core', 'files', 'bounded', 'hf', 'gguf'],
  remote: ['core', 'files', 'hf', 'gguf', 'peft', 'pool', 'engine'],
  routing: ['core', 'data', 'engine'],
  serve: [
    'core',
    'files',
    'data',
    'hf',
    'gguf',
    'peft',
    'train',
    'pool',
    'blend',
    'choose',
    'engine',
    'remote',
    'routing',
  ],
  bench: [
    ...['core', 'files', 'data', 'hf', 'gguf', 'model', 'train', 'pool', 'blend', 'choose', 'engine', 'routing'],
    'serve', // its configuration: the live part starts crayon's own server
  ],
};
const ROOMS = [...Object.keys(MAY_IMPORT), 'cli'];
MAY_IMPORT.cli = ROOMS;

/** The most files that one folder holds: above it, a subject has hidden another. */
const MOST_FILES = 30;
/** Of all of src/: what one redesign came to, and room for real bases, for the guards against whatever a file or a peer may
 * say, for Jinja as Python has it, for a second engine, for what chooses and measures blends, for builds on engines of jobs, for pools
 * that are changed, fetched from servers that may fail or lie, and served to a fleet, for training sets that memory does not hold, for a joint phase, and for
 * mixtures of adapters that are applied as one. */
const MOST_LINES = 71_700;
/** The playground is a program of its own, for a browser. */
const MOST_PAGE_LINES = 1_500;

const TENSORS = /tfjs|^model\/(backend|llama|open-network)\.ts|^onnx\/runtime\.ts/;

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((f) => /\.tsx?$/.test(f));
const text = new Map(files.map((f) => [f, readFileSync(join(SRC, f), 'utf8')]));

const roomOf = (file: string) => file.split('/')[0]!;
const resolved = (file: string, specifier: string) => {
  const found = relative(SRC, resolveImport(join(SRC, file), specifier));
  return text.has(`${found}x`) ? `${found}x` : found; // .tsx
};

/** Static imports of a file of src/ that remain at run time (not `import type`). */
const importsOf = (file: string) => staticImports(join(SRC, file));

/** Every module of src/ that a file names: types and lazy imports too. */
function namedBy(file: string): string[] {
  return [...text.get(file)!.matchAll(/(?:\bfrom\s+|\bimport\(\s*)'(\.[^']+)'/g)].map((m) => resolved(file, m[1]!));
}

/** Every module of src/ that loading this one loads, and every package. */
function reachable(file: string): Set<string> {
  const loaded = loadedBy(join(SRC, file));
  return new Set([...loaded.map((path) => relative(SRC, path)), ...loaded.flatMap(staticImports)]);
}

/** Groups of nodes that reach each other, by Tarjan's strongly connected components. */
function circles(edges: ReadonlyMap<string, Iterable<string>>): string[][] {
  const found: string[][] = [];
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const visit = (node: string) => {
    index.set(node, index.size);
    low.set(node, index.get(node)!);
    stack.push(node);
    for (const next of edges.get(node) ?? []) {
      if (!index.has(next)) visit(next);
      if (stack.includes(next)) low.set(node, Math.min(low.get(node)!, low.get(next)!));
    }
    if (low.get(node) !== index.get(node)) return;
    const group = stack.splice(stack.indexOf(node));
    if (group.length > 1) found.push(group.sort());
  };
  for (const node of edges.keys()) if (!index.has(node)) visit(node);
  return found;
}

/** The imports of files as arrows between what `groupOf` makes of them. */
function arrows(groupOf: (file: string) => string): Map<string, Set<string>> {
  const edges = new Map<string, Set<string>>();
  for (const file of files) {
    const from = groupOf(file);
    if (!edges.has(from)) edges.set(from, new Set());
    for (const target of namedBy(file)) if (groupOf(target) !== from) edges.get(from)!.add(groupOf(target));
  }
  return edges;
}

describe('architecture', () => {
  it('reads the imports it claims to read, and finds the circles it claims to find', () => {
    expect(importsOf('model/tfjs-operations.ts')).toContain('@tensorflow/tfjs-core');
    expect(reachable('pool/build.ts')).toContain('core/errors.ts');
    expect(packagesOf(join(SRC, 'engine/llama/runtime.ts'))).toContain('node-llama-cpp'); // loaded when first needed
    const edges = { a: ['b'], b: ['c', 'd'], c: ['a'], d: ['e'], e: ['d'], f: ['a'] };
    expect(circles(new Map(Object.entries(edges)))).toEqual([
      ['d', 'e'],
      ['a', 'b', 'c'],
    ]);
  });

  it('is the table of docs/architecture.md', () => {
    const document = readFileSync(join(ROOT, 'docs', 'architecture.md'), 'utf8');
    const cells = document.matchAll(/^\| `(\w+)` \| [^|]+ \| [^|]+ \| ([^|]+) \|$/gm);
    const words = (cell: string) => cell.replace(/\([^)]*\)/g, '').match(/\w+/g)!;
    const table = [...cells].map(([, room, may]) => [
      room,
      may === 'nothing' ? [] : may === 'all' ? ROOMS : words(may!),
    ]);
    expect(Object.fromEntries(table)).toEqual(MAY_IMPORT);
  });

  it.each(files.filter((f) => f.includes('/')))('%s imports only from the rooms it may', (file) => {
    const allowed = [roomOf(file), ...MAY_IMPORT[roomOf(file)]!];
    expect(namedBy(file).filter((target) => !allowed.includes(roomOf(target)))).toEqual([]);
  });

  it('has no circle of files', () => {
    expect(circles(arrows((file) => file))).toEqual([]);
  });

  it('has no circle of rooms, nor of the folders within one', () => {
    expect(circles(arrows(roomOf))).toEqual([]);
    // A room's own files are its entrance and its common ground: folders import them and are imported by them.
    const folder = (file: string) => (file.split('/').length > 2 ? file.split('/').slice(0, 2).join('/') : file);
    const within = arrows(folder);
    for (const from of within.keys()) if (from.endsWith('.ts')) within.delete(from);
    expect(circles(within)).toEqual([]);
  });

  it('stays of a size that one person knows', () => {
    const perFolder = new Map<string, number>();
    for (const file of files) perFolder.set(dirname(file), (perFolder.get(dirname(file)) ?? 0) + 1);
    expect([...perFolder].filter(([, count]) => count > MOST_FILES)).toEqual([]);
    expect([...text].filter(([, content]) => content.split('\n').length > 401)).toEqual([]);
    const linesOf = (isWanted: (file: string) => boolean) =>
      [...text].reduce((sum, [file, content]) => sum + (isWanted(file) ? content.split('\n').length - 1 : 0), 0);
    const isPage = (file: string) => file.startsWith('serve/playground/page/');
    expect(linesOf(isPage)).toBeLessThanOrEqual(MOST_PAGE_LINES);
    expect(linesOf((file) => !isPage(file))).toBeLessThanOrEqual(MOST_LINES);
  });

  it('is mirrored by test/, file by file: a test is named after the file that it tests, with what it is about behind a dash', () => {
    const tests = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
      .filter((f) => f.endsWith('.test.ts') && !/^(e2e|helpers|fixtures)\//.test(f) && f.includes('/'))
      .map((f) => f.slice(0, -'.test.ts'.length));
    const sources = files.map((f) => f.replace(/\.tsx?$/, ''));
    expect(tests.filter((test) => !sources.some((s) => test === s || test.startsWith(`${s}-`)))).toEqual([]);
  });

  it('keeps the file system to files, and tfjs to model', () => {
    const users = (packageName: RegExp) =>
      files.filter((f) => importsOf(f).some((s) => packageName.test(s))).map((f) => roomOf(f));
    expect([...new Set(users(/^(node:)?fs\b/))]).toEqual(['files']);
    expect([...new Set(users(/tfjs/))].sort()).toEqual(['model']);
  });

  it('opens sockets in two places only: the server, and the emulated network that bench puts before one', () => {
    const users = files.filter((f) => importsOf(f).some((s) => /^node:(net|http|https|http2|tls|dgram)$/.test(s)));
    expect(users.sort()).toEqual(['bench/live/network/proxy.ts', 'serve/http/listen.ts']);
  });

  it('reads and writes the formats without loading a tensor library', () => {
    const loaded = [...reachable('formats.ts')];
    expect(loaded).toContain('safetensors/read.ts');
    expect(loaded.filter((name) => TENSORS.test(name))).toEqual([]);
  });

  it('blends, serves, reports and helps without loading a tensor library', () => {
    const words = files.filter((f) => f.startsWith('cli/') && !/\/(run|probe)\b/.test(f));
    expect(words).toEqual(expect.arrayContaining(['cli/blend.ts', 'cli/score.ts', 'cli/main.ts']));
    const lazy = [
      'cli/bench/run-report.ts',
      'cli/run-score.ts',
      'serve/assemble.ts',
      'serve/customizations/blend-worker.ts',
    ];
    const loaded = [...words, ...lazy].flatMap((file) => [...reachable(file)]);
    expect(loaded).toContain('blend/blend-pool.ts');
    expect(loaded).toContain('bench/strategies/index.ts');
    expect(loaded.filter((name) => TENSORS.test(name))).toEqual([]);
  });

  it('lists the commands without loading any of them, nor what checks and reads configurations', () => {
    const loaded = [...reachable('cli/main.ts')];
    expect(loaded).toContain('commander');
    expect(loaded.filter((name) => /^(zod|yaml|(bench|blend|pool|serve)\/.*)$/.test(name))).toEqual([]);
  });
});
