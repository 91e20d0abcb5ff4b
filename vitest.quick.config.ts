/**
 * `npm run quick`: the tests that a change is tried with, in seconds. A test file is quick when nothing that loading it
 * loads is a tensor library or llama.cpp, starts a process or a thread, or opens a socket (test/helpers/imports.ts reads the
 * imports); of a quick file, the tests tagged `slow` are left to `npm test`.
 */

import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { lazyImports, loadedBy, packagesOf, resolveImport } from './test/helpers/imports.js';
import { TAGS } from './vitest.config.js';

const ROOT = dirname(fileURLToPath(import.meta.url));
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

const tests = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => join('test', file));

export default defineConfig({
  test: {
    include: tests.filter(isQuick),
    tags: TAGS,
    // Modules are loaded once a process. Not threads: a native library that one of them did load would end with the thread,
    // which some survive badly (a segmentation fault at the end of a run under Node 24).
    pool: 'forks',
    isolate: false,
    maxWorkers: 2,
  },
});
