/**
 * Which test files are quick: nothing that loading one loads is a tensor library or llama.cpp, starts a process or a thread, or opens a
 * socket (imports.ts reads the imports). Many of them share a process, so that modules are loaded once a process and not once a file.
 */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { lazyImports, loadedBy, packagesOf, resolveImport } from './imports.js';

const ROOT = join(import.meta.dirname, '..', '..');
const SLOW =
  /^(@tensorflow\/|node-llama-cpp$|koffi$|onnxruntime-node|node:(child_process|worker_threads|net|http|https|http2|tls|dgram)$)/;
/** Asks the C library for one call, and does without. */
const HARMLESS = ['src/files/exchange.ts'].map((file) => join(ROOT, file));

/** What a test file loads, at once or by an `import('...')` of its own. */
const loadedByTest = (test: string) =>
  [
    test,
    ...lazyImports(test)
      .filter((name) => name.startsWith('.'))
      .map((name) => resolveImport(test, name)),
  ].flatMap(loadedBy);

const isQuick = (test: string) =>
  loadedByTest(join(ROOT, test)).every(
    (file) => HARMLESS.includes(file) || !packagesOf(file).some((name) => SLOW.test(name)),
  );

/** Paths from the repository's root. */
export const quickTests = (): string[] =>
  readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join('test', file))
    .filter(isQuick);
