/**
 * lm-evaluation-harness itself on a running server, beside its own `hf` model and `crayon score`: scripts/peers/lm_eval_table.py.
 * What it sends is recorded, and tested without Python, in test/serve/openai/choices-lm-eval.test.ts.
 */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './helpers.js';

/** A Python that has lm_eval, transformers, peft, datasets, aiohttp and tenacity. */
const python = process.env.CRAYON_LM_EVAL_PYTHON;

describe.skipIf(python === undefined)(
  'lm-evaluation-harness (needs CRAYON_LM_EVAL_PYTHON, a Python with lm_eval)',
  () => {
    it('scores the served blend as its hf model scores the same blend through PEFT', { timeout: 900_000 }, () => {
      const run = spawnSync(
        python!,
        [
          join('scripts', 'peers', 'lm_eval_table.py'),
          ...['--model', 'models/crayon-edge', '--pool', 'models/crayon-edge-pool', '--type', 'F32', '--add-bos'],
          ...['--examples', 'suite/examples/bank.jsonl', '--data', 'suite/route-bank/test.jsonl', '--limit', '4'],
        ],
        { cwd: ROOT, encoding: 'utf8' },
      );
      expect(run.status, run.stderr.slice(-4000)).toBe(0);
      expect(run.stdout).toMatch(/lm_eval: local-completions and hf \| \S+ \| \S+ \| 100\.0 %/);
      expect(run.stdout).toMatch(/generated texts alike: 4 of 4/);
    });
  },
);
