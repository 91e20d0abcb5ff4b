/**
 * The order of the test files: those that take long first, so that at the end no worker is left alone with one of them. How long they
 * take is recorded (test/durations.json), because a fresh clone has no run before it to go by: scripts/test-durations.ts.
 */

import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const TESTS = join(import.meta.dirname, '..');
const SECONDS: Record<string, number> = JSON.parse(readFileSync(join(TESTS, 'durations.json'), 'utf8'));

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const secondsOf = ({ moduleId }: TestSpecification): number => SECONDS[relative(TESTS, moduleId)] ?? 0;
    return (await super.sort(files)).sort((a, b) => secondsOf(b) - secondsOf(a)); // stable: the others as vitest has them
  }
}
