import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/helpers/longest-first.js';
import { quickTests } from './test/helpers/quick.js';

/** Marks of single tests: `it('...', { tags: 'slow' }, ...)`. */
export const TAGS = [{ name: 'slow', description: 'takes a good part of a second: left out of `npm run quick`' }];

/**
 * Quick files share processes. Not threads: a native library that one of them did load would end with the thread, which some survive
 * badly (a segmentation fault at the end of a run under Node 24).
 */
export const QUICK = { pool: 'forks', isolate: false } as const;

const quick = quickTests();

export default defineConfig({
  test: {
    tags: TAGS,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          // Builds on engines, servers and their clients, runs that are killed: they wait for half of their time and more, so that on
          // two processors four of them go on as fast as two. The others come behind them.
          name: 'e2e',
          pool: 'forks',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: 'test/helpers/built.ts',
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          // tfjs back ends are process-wide state, so each file gets its own process; two cores, so two at a time.
          name: 'apart',
          pool: 'forks',
          include: ['test/**/*.test.ts'],
          exclude: ['test/e2e/**', ...quick],
          globalSetup: 'test/helpers/built.ts',
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      { extends: true, test: { ...QUICK, name: 'quick', include: quick, maxWorkers: 2, sequence: { groupOrder: 1 } } },
    ],
  },
});
