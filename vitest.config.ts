import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/helpers/longest-first.js';

/** Marks of single tests: `it('...', { tags: 'slow' }, ...)`. */
export const TAGS = [{ name: 'slow', description: 'takes a good part of a second: left out of `npm run quick`' }];

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/helpers/built.ts',
    tags: TAGS,
    // tfjs back ends are process-wide state, so each file gets its own process; two cores, so two at a time.
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
