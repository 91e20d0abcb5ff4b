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
    const groupOf = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    const sorted = await super.sort(files); // what has no entry stays as vitest has it
    return sorted.sort((a, b) => groupOf(a) - groupOf(b) || secondsOf(b) - secondsOf(a));
  }
}
