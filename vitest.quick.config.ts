/** `npm run quick`: the tests that a change is tried with, in seconds; of quick files, those tagged `slow` are left to `npm test`. */

import { defineConfig } from 'vitest/config';
import { quickTests } from './test/helpers/quick.js';
import { QUICK, TAGS } from './vitest.config.js';

export default defineConfig({ test: { ...QUICK, include: quickTests(), tags: TAGS, maxWorkers: 2 } });
