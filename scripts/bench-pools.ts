/**
 * The pools of a bench configuration, over all of its seeds, trained by PyTorch instead of by the run: on a GPU minutes instead of hours.
 *
 *     npx tsx scripts/bench-pools.ts --config configs/bench/real.yaml --model BASE --data-dir data --work WORK --python PYTHON --dtype bfloat16
 *     crayon bench --config configs/bench/real.yaml --model BASE --data-dir data --out RUN --work WORK
 *
 * What is there already is left alone; a build that was stopped goes on. With --job-only it writes their jobs and names them, one a line,
 * to be run on another machine and brought back (docs/trainers.md); the same command without it then finishes the pools.
 */

import { parseArgs } from 'node:util';
import { loadBenchConfig } from '../src/bench/config.js';
import { benchPools } from '../src/bench/plan.js';
import { chooseBackend, releaseBackend } from '../src/model/backend.js';
import { buildPool, writeTrainingJob } from '../src/pool/build.js';
import { TRAINER_DEFAULTS, TRAINER_DTYPES, type TrainerOptions } from '../src/pool/trainers/options.js';

const { values } = parseArgs({
  options: {
    config: { type: 'string' },
    model: { type: 'string' },
    'data-dir': { type: 'string' },
    work: { type: 'string' },
    python: { type: 'string', default: process.env.CRAYON_PYTHON || TRAINER_DEFAULTS.python },
    dtype: { type: 'string', default: TRAINER_DEFAULTS.dtype },
    'job-only': { type: 'boolean', default: false },
  },
});
const dtype = TRAINER_DTYPES.find((name) => name === values.dtype);
if (values.config === undefined || values.work === undefined || dtype === undefined) {
  console.error(
    `usage: npx tsx scripts/bench-pools.ts --config FILE --work DIR [--dtype ${TRAINER_DTYPES.join('|')}] ...`,
  );
  process.exit(2);
}
const { model, 'data-dir': dataDir } = values;
const config = {
  ...loadBenchConfig(values.config),
  ...(model === undefined ? {} : { model }),
  ...(dataDir === undefined ? {} : { data_dir: dataDir }),
};
const trainer: TrainerOptions = { ...TRAINER_DEFAULTS, name: 'torch', python: values.python, dtype };
await chooseBackend('auto'); // embeddings by hidden states need one
for (const { name, seed, path, options, isBuilt } of benchPools(config, values.work, { trainer })) {
  if (isBuilt) console.log(`${path}: seed ${seed}, ${name}: is there`);
  else if (values['job-only']) console.log((await writeTrainingJob(options)).dir);
  else {
    const { manifest } = await buildPool(options);
    console.log(`${path}: seed ${seed}, ${name}: ${manifest.training.steps} steps`);
  }
}
releaseBackend();
