/**
 * Writes test/durations.json, by which test files are ordered, of a whole run:
 *
 *     npx vitest run --reporter=default --reporter=./scripts/test-durations.ts
 */

import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';

/** Shorter ones go in any order. */
const LEAST_SECONDS = 4;
const TESTS = join(import.meta.dirname, '..', 'test');

/** From loading a file to its last hook: vitest's JSON report leaves out what comes before the first test. */
function secondsOf(module: TestModule): number {
  const { setupDuration, collectDuration, duration } = module.diagnostic();
  return Math.round((setupDuration + collectDuration + duration) / 1000);
}

export default class TestDurations implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const rows = modules
      .map((module) => [relative(TESTS, module.moduleId), secondsOf(module)] as const)
      .filter(([, seconds]) => seconds >= LEAST_SECONDS)
      .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
    writeFileSync(join(TESTS, 'durations.json'), `${JSON.stringify(Object.fromEntries(rows), null, 2)}\n`);
    const sum = rows.reduce((all, [, seconds]) => all + seconds, 0);
    console.log(`test/durations.json: ${rows.length} files of ${LEAST_SECONDS} s or more, ${sum} s in all`);
  }
}
