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
    // One more than the two processors that it is measured on: builds on engines, clients and servers wait for a good part of their time.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    projects: [
      { extends: true, test: { ...QUICK, name: 'quick', include: quick } },
      {
        extends: true,
        test: {
          // tfjs back ends are process-wide state, so each file gets its own process.
          name: 'apart',
          pool: 'forks',
          include: ['test/**/*.test.ts'],
          exclude: quick,
          globalSetup: 'test/helpers/built.ts',
        },
      },
    ],
  },
});
