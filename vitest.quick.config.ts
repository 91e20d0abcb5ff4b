/**
 * `npm run quick`: the tests that a change is tried with, in seconds. A test file is quick when nothing that loading it
 * loads is a tensor library or llama.cpp, starts a process or a thread, or opens a socket (test/helpers/imports.ts reads the
 * imports); of a quick file, the tests tagged `slow` are left to `npm test`.
 */

import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { loadedBy, packagesOf } from './test/helpers/imports.js';
import { TAGS } from './vitest.config.js';

const ROOT = dirname(fileURLToPath(import.meta.url));
const SLOW = /^(@tensorflow\/|node-llama-cpp$|node:(child_process|worker_threads|net|http|https|http2|tls|dgram)$)/;
/** Imports node:net to read addresses, and opens no socket. */
const HARMLESS = join(ROOT, 'src', 'serve', 'http', 'guard.ts');

const isQuick = (test: string) =>
  loadedBy(join(ROOT, test)).every((file) => file === HARMLESS || !packagesOf(file).some((name) => SLOW.test(name)));

const tests = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => join('test', file));

export default defineConfig({
  test: {
    include: tests.filter(isQuick),
    tags: TAGS,
    // No native library here, so threads will do, and modules are loaded once a thread.
    pool: 'threads',
    isolate: false,
    maxWorkers: 2,
  },
});
