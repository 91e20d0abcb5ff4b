/**
 * What writes without a command of its own, or takes llama.cpp to start: `tsx jobs.ts JOB DIR` does in a process what a server or
 * `calibrate` does with its files, and says on stdout what it has promised so far.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openBlend } from '../../src/blend/sources.js';
import { isCrayonError } from '../../src/core/errors.js';
import { budgetJournal } from '../../src/engine/server/budget-journal.js';
import { openBudget } from '../../src/engine/server/limits.js';
import { resolveOptions } from '../../src/engine/server/options.js';
import { writeFileAtomic } from '../../src/files/atomic.js';
import { RecordLog } from '../../src/files/resume.js';
import { ScratchDirectory } from '../../src/files/scratch-directory.js';
import { readYaml } from '../../src/files/yaml.js';
import { readAdapterBase, writeAdapterGguf } from '../../src/gguf/adapter.js';
import { openPool } from '../../src/pool/pool.js';
import { writeThresholds } from '../../src/serve/config-thresholds.js';
import { ROOT } from '../helpers/fixtures.js';
import { digestOfFile } from './scenario.js';

interface Job {
  prepare(dir: string): void;
  run(dir: string, say: (line: string) => void): void;
  output(dir: string): string;
}

const DAY = '2030-01-15';
const TOKENS = 13;
const CALLS = 8;
const CONFIG = `model: model.gguf # the device's
server:
  base_url: http://127.0.0.1:9/v1
  model: big
routing:
  thresholds:
    scope: 0.5
`;

const spent = (dir: string): number => {
  const { inputTokens, outputTokens } = budgetJournal(join(dir, 'budget-0.json')).sums(DAY);
  return inputTokens + outputTokens;
};

export const JOBS: Record<string, Job> = {
  /** The records of `calibrate`, and its thresholds in a copy of the configuration. */
  calibration: {
    prepare: (dir) => {
      writeFileSync(join(dir, 'edge.yaml'), CONFIG);
      writeFileSync(join(dir, 'out.yaml'), `${CONFIG}# an earlier one\n`);
    },
    run: (dir) => {
      const log = new RecordLog(join(dir, 'records.jsonl'), { model: 'm' });
      for (let i = log.earlier.length; i < 6; i++) log.append({ id: String(i), answer: 'x'.repeat(100) });
      writeThresholds(join(dir, 'edge.yaml'), join(dir, 'out.yaml'), {
        thresholds: { scope: 0.25 },
        remarks: ['made by chaos'],
        force: true,
      });
    },
    output: (dir) => {
      readYaml(join(dir, 'out.yaml'));
      return digestOfFile(join(dir, 'out.yaml'));
    },
  },
  /** Calls to the server LLM until a number of them is counted: each is said when its answer has been counted. */
  budget: {
    prepare: () => {},
    run: (dir, say) => {
      const settings = resolveOptions({
        baseUrl: 'http://127.0.0.1:1/v1',
        model: 'm',
        budget: { tokensPerDay: 10_000 },
        budgetStore: budgetJournal(join(dir, 'budget-0.json')),
        clock: { now: () => Date.parse(`${DAY}T12:00:00Z`), timer: () => () => {} },
      });
      const budget = openBudget({ settings, server: 'm', quote: String, failure: (code) => new Error(code) as never });
      for (let i = spent(dir) / TOKENS; i < CALLS; i++) {
        budget.reserve(10, 20)({ promptTokens: 10, completionTokens: 3, cachedTokens: 0 });
        say(String((i + 1) * TOKENS));
      }
    },
    output: (dir) => {
      const calls = Array.from({ length: spent(dir) / TOKENS }, (_, i) => String((i + 1) * TOKENS));
      if (spent(dir) % TOKENS > 0) throw new Error(`${spent(dir)} tokens`);
      return calls.join('\n');
    },
  },
  /** A blend at run time: a GGUF LoRA in the server's scratch directory. */
  customisation: {
    prepare: (dir) => {
      mkdirSync(join(dir, 'scratch'));
    },
    run: (dir) => {
      const scratch = new ScratchDirectory(join(dir, 'scratch'));
      const pool = openPool(join(ROOT, 'models', 'crayon-edge-pool'));
      const adapters = pool.manifest.adapters.map((_, n) => pool.openAdapter(n));
      const source = openBlend(adapters, [0.5, 0.5, 0, 0, 0, 0], 'cat', 'blend');
      const out = join(scratch.path, 'blend.lora.gguf');
      writeAdapterGguf(source, readAdapterBase(join(ROOT, 'models', 'crayon-edge')), { out });
      writeFileAtomic(join(dir, 'digest'), digestOfFile(out));
      source.close();
      for (const adapter of adapters) adapter.close();
      scratch.remove();
    },
    output: (dir) => digestOfFile(join(dir, 'digest')),
  },
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , job, dir] = process.argv;
  try {
    JOBS[job!]!.run(dir!, (line) => process.stdout.write(`${line}\n`));
  } catch (error) {
    if (!isCrayonError(error)) throw error;
    process.stdout.write(`${JSON.stringify({ error: { code: error.code, message: error.message } })}\n`);
    process.exitCode = 2;
  }
}
