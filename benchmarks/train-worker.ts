/**
 * crayon's side of train.ts, in a process of its own: does a job of training, embedding or scoring by the parts that `build-pool`
 * and `score` use, with their defaults, round after round.
 *
 *     train-worker.ts <job.json>
 */

import { readFileSync } from 'node:fs';
import { openBase } from '../src/gguf/base.js';
import { chooseBackend, releaseBackend } from '../src/model/backend.js';
import { poolLayout } from '../src/model/lora-layout.js';
import { openNetwork } from '../src/model/open-network.js';
import { hiddenStateEmbeddings } from '../src/pool/embed/hidden-states.js';
import { BUILD_DEFAULTS } from '../src/pool/inputs.js';
import { meanLoss } from '../src/train/completion-score.js';
import { scoreCompletions } from '../src/train/evaluate.js';
import { Trainer } from '../src/train/trainer.js';
import type { Job } from './train-jobs.js';
import { serveRounds } from './turns.js';

const job = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Job;
await chooseBackend(job.backend);
const base = openBase(job.base);
const model = openNetwork(base);
const { batchSize } = job;
const examples = job.batches.flat().map(({ ids, promptLength }) => ({ ids: Int32Array.from(ids), promptLength }));
const tokens = examples.reduce((sum, { ids }) => sum + ids.length, 0);

if (job.work === 'train') await train();
else if (job.work === 'embed') {
  const sequences = examples.map(({ ids }) => ids);
  const options = { layer: base.config.numLayers, batchSize };
  await serveForward(async () => (await hiddenStateEmbeddings(model, sequences, options))[0]!);
} else {
  await serveForward(async () => (await scoreCompletions(model, examples, { batchSize }))[0]!.logprob);
}
model.dispose();
base.close();
releaseBackend();

/** One round: every batch once, each a step. */
async function train(): Promise<void> {
  const N = job.gates[0]!.length;
  const layout = poolLayout(base, BUILD_DEFAULTS, N);
  const training = { ...BUILD_DEFAULTS.training, batchSize, epochs: job.rounds + 1 };
  const trainer = new Trainer({ model, layout, examples, gates: job.gates }, training);
  const epoch = async () => {
    for (let step = 0; step < job.batches.length; step++) await trainer.step();
  };
  const ready = async () => {
    const check = meanLoss(await scoreCompletions(model, examples.slice(0, batchSize), { batchSize }));
    await epoch();
    return { check, tokens };
  };
  await serveRounds(ready, epoch);
  trainer.dispose();
}

function serveForward(pass: () => Promise<number>): Promise<void> {
  return serveRounds(
    async () => ({ check: await pass(), tokens }),
    async () => void (await pass()),
  );
}
