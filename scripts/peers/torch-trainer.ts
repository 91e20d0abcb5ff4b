/**
 * Does `build-pool --trainer torch` train what crayon's own engine trains? The same build is begun by both, and the losses of
 * its steps are compared; with --users both pools are finished, and their blends scored.
 *
 *     npx tsx scripts/peers/torch-trainer.ts --python PYTHON --model models/crayon-edge --data suite/quickstart.yaml \
 *         [--limit 200] [--clusters 4] [--mode joint|independent] [--steps 20] [--batch-size 16] [--epochs 1] \
 *         [--max-length 512] [--embedding first-attention] [--prompt-form plain] [--dtype float32] [--backend node] [--processes 1] \
 *         [--users route-bank,route-clinic] [--keep DIR]
 *
 * --keep leaves the job in DIR with the base model and the losses of crayon's own engine (expected.json), for
 * scripts/trainers/gpu_check.sh on another machine. Prints tables and, as the last line, one JSON document.
 */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { blendPool } from '../../src/blend/blend-pool.js';
import { isCrayonError } from '../../src/core/errors.js';
import { loadDataset } from '../../src/data/dataset.js';
import { openBase } from '../../src/gguf/base.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import type { BackendName } from '../../src/model/names.js';
import { openNetwork } from '../../src/model/open-network.js';
import { buildPool, writeTrainingJob } from '../../src/pool/build.js';
import { BUILD_DEFAULTS, type BuildPoolOptions } from '../../src/pool/inputs.js';
import { TRAINER_DEFAULTS, type TrainerName, type TrainerOptions } from '../../src/pool/trainers/options.js';
import { workPath } from '../../src/pool/work-directory.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { loadAdapterLora } from '../../src/train/adapter-lora.js';
import { scoreExamples } from '../../src/train/score-forward.js';

const text = (preset: string) => ({ type: 'string', default: preset }) as const;
const { values } = parseArgs({
  options: {
    python: text(process.env.CRAYON_PYTHON ?? TRAINER_DEFAULTS.python),
    model: text('models/crayon-edge'),
    data: { type: 'string', multiple: true },
    limit: text('200'),
    clusters: text('4'),
    mode: text('joint'),
    steps: text('20'),
    'batch-size': text('16'),
    epochs: text('1'),
    rank: text('8'),
    'max-length': text('512'),
    'learning-rate': text('0.005'),
    embedding: text('first-attention'),
    'prompt-form': { type: 'string' },
    dtype: text('float32'),
    backend: text('auto'),
    processes: text('1'),
    users: { type: 'string' },
    keep: { type: 'string' },
  },
});
const STEPS = Number(values.steps);
const PLAIN = { head: [], border: [], compact: true };
const work = mkdtempSync(join(tmpdir(), 'crayon-torch-'));

function optionsOf(name: TrainerName): BuildPoolOptions {
  const [epochs, batchSize, r] = [Number(values.epochs), Number(values['batch-size']), Number(values.rank)];
  const training = { ...BUILD_DEFAULTS.training, epochs, batchSize, learningRate: Number(values['learning-rate']) };
  return {
    ...BUILD_DEFAULTS,
    model: values.model,
    data: values.data ?? ['suite/quickstart.yaml'],
    limit: Number(values.limit),
    clusters: Number(values.clusters),
    mode: values.mode as BuildPoolOptions['mode'],
    embedding: values.embedding,
    maxLength: Number(values['max-length']),
    long: 'truncate',
    promptForm: values['prompt-form'] as BuildPoolOptions['promptForm'],
    r,
    training: { ...training, loraAlpha: 2 * r },
    trainer: {
      ...TRAINER_DEFAULTS,
      name,
      python: values.python,
      dtype: values.dtype as TrainerOptions['dtype'],
      processes: Number(values.processes),
    },
    out: join(work, name),
    evaluationExamples: 16,
  };
}

/** The losses of a build that is stopped after so many steps, from its checkpoint; and its time for one step. */
async function begin(name: TrainerName): Promise<{ losses: number[]; tokensPerSecond: string }> {
  const options = optionsOf(name);
  const stop = new AbortController();
  let note = '';
  const onProgress = (progress: { stage: string; done: number; note?: string | undefined }) => {
    if (progress.stage !== 'train') return;
    note = progress.note ?? '';
    if (progress.done >= STEPS) stop.abort();
  };
  try {
    await buildPool(options, { onProgress, signal: stop.signal });
    throw new Error(`the build has fewer than ${STEPS + 1} steps: give it more examples or epochs`);
  } catch (error) {
    if (!isCrayonError(error, 'interrupted')) throw error;
  }
  const parts = { own: ['training'], torch: ['torch', 'state'] }[name];
  const file = SafetensorsFile.open(`${join(workPath(options.out), ...parts)}.safetensors`);
  const losses = Array.from(file.readF32('losses').slice(0, STEPS));
  file.close();
  return { losses, tokensPerSecond: /(\d+) tokens/.exec(note)?.[1] ?? '' };
}

/** Accuracy of each user's blend, from ten examples, on 100 others. */
async function scoreUsers(users: string[]) {
  const source = openBase(values.model);
  const [model, tokenizer] = [openNetwork(source), source.tokenizer()];
  const { maxPositionEmbeddings: maxLength } = source.config;
  const rows = [];
  for (const user of users) {
    const read = (split: string, limit: number) =>
      loadDataset(join('suite', `${user}.yaml`), { split, limit, seed: 0 }).examples;
    const accuracies: Record<string, number> = {};
    const score = async (name: string, adapter?: string) => {
      const lora = adapter === undefined ? undefined : loadAdapterLora(adapter, source);
      accuracies[name] = (
        await scoreExamples({ model, tokenizer, examples: read('test', 100), maxLength, lora })
      ).correct;
    };
    await score('base');
    for (const name of ['own', 'torch'] as const) {
      const out = join(work, `${name}-${user}`);
      const how = { estimator: 'similarity', combine: 'cat', dtype: 'F32', long: 'truncate', force: true } as const;
      await blendPool({ pool: join(work, name), examples: read('heldout', 10), model: values.model, out, ...how });
      await score(name, out);
    }
    rows.push({ user, ...accuracies });
  }
  model.dispose();
  source.close();
  return rows;
}

/** The job with all that another machine needs. */
async function keep(dir: string, losses: number[]): Promise<void> {
  const { dir: job } = await writeTrainingJob(optionsOf('torch'));
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  for (const name of ['job.json', 'job.safetensors']) cpSync(join(job, name), join(dir, name));
  const head = JSON.parse(readFileSync(join(dir, 'job.json'), 'utf8'));
  cpSync(resolve(job, head.base), join(dir, 'base'), { recursive: true });
  writeFileSync(join(dir, 'job.json'), JSON.stringify({ ...head, base: 'base' }));
  writeFileSync(join(dir, 'expected.json'), JSON.stringify({ model: basename(values.model), losses }));
}

try {
  const { name: backend } = await chooseBackend(values.backend as BackendName | 'auto');
  const engine = await begin('own');
  const torch = await begin('torch');
  const table = new Table({
    style: PLAIN,
    head: ['step', `crayon (${backend})`, `PyTorch (${values.dtype})`, 'difference'],
  });
  const differences = engine.losses.map((loss, i) => Math.abs(loss - torch.losses[i]!));
  for (const [i, loss] of engine.losses.entries()) {
    table.push([String(i + 1), loss.toFixed(5), torch.losses[i]!.toFixed(5), differences[i]!.toExponential(1)]);
  }
  console.log(table.toString());
  const largest = Math.max(...differences);
  console.log(`largest difference of the first ${STEPS} losses: ${largest.toExponential(1)}`);
  console.log(`tokens/s: crayon ${engine.tokensPerSecond}, PyTorch ${torch.tokensPerSecond}`);
  let users: Array<Record<string, string | number>> = [];
  if (values.users !== undefined) {
    for (const name of ['own', 'torch'] as const) await buildPool(optionsOf(name));
    users = await scoreUsers(values.users.split(','));
    const scores = new Table({ style: PLAIN, head: ['user', 'base', 'crayon', 'PyTorch'] });
    for (const row of users) {
      const percent = (name: string) => `${(100 * (row[name] as number)).toFixed(0)} %`;
      scores.push([String(row.user), percent('base'), percent('own'), percent('torch')]);
    }
    console.log(scores.toString());
  }
  if (values.keep !== undefined) await keep(values.keep, engine.losses);
  console.log(JSON.stringify({ what: 'torch-trainer', backend, largest, engine, torch, users }));
} finally {
  releaseBackend();
  rmSync(work, { recursive: true, force: true });
}
