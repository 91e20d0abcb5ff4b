/** Writes a finished pool: manifest, centroids, and each base LoRA as a PEFT directory of its own. */

import { join } from 'node:path';
import { mean } from '../core/stats.js';
import { writeDirectoryAtomic } from '../files/atomic.js';
import { CRAYON_VERSION } from '../files/package.js';
import { ADAPTER_RECORD_FILE, adapterRecordText } from '../hf/adapter-record.js';
import { promptRecord } from '../hf/prompt-form.js';
import { CHAT_TEMPLATE } from '../hf/tokenizer.js';
import { adapterFactors } from '../model/lora-layout.js';
import { openPeftAdapter } from '../peft/read.js';
import { writePeftAdapter } from '../peft/write.js';
import { rememberBase } from './base-place.js';
import type { PoolClusters } from './cluster.js';
import type { EmbeddingSpace } from './embed/space.js';
import { writePoolFactors } from './factors.js';
import type { BuildInputs } from './inputs.js';
import { adapterDigest, membersOf, POOL_MANIFEST, type PoolManifest, writePoolManifest } from './pool.js';
import { trainerRecord } from './trainers/options.js';
import type { Trained, TrainedAdapters, TrainingTask } from './trainers/trainer.js';
import { keepTrainingCurve } from './training-curve.js';
import { keepVocabulary } from './vocabulary.js';

export interface PoolToWrite {
  inputs: BuildInputs;
  task: TrainingTask;
  space: EmbeddingSpace;
  clustering: PoolClusters;
  trained: TrainedAdapters;
  clusters: PoolManifest['clusters'];
  standards: PoolManifest['standards'];
}

export function writePool(pool: PoolToWrite): PoolManifest {
  const { inputs, task, space, clustering, trained, clusters, standards } = pool;
  const { options } = task;
  const { force, out } = options;
  const { targets } = inputs;
  const trainer = trainerRecord(options.trainer);
  const { config, format } = inputs.model;
  // Like PEFT's base_model_name_or_path, where `blend` looks; the digests say which one it is.
  const { baseName: baseModel } = inputs;
  const manifest: PoolManifest = {
    format: 'crayon-pool',
    version: trained.general === undefined ? 1 : 2,
    createdBy: `crayon ${CRAYON_VERSION}`,
    base: {
      name: baseModel,
      modelType: config.modelType,
      digest: inputs.modelDigest,
      tokenizerDigest: inputs.tokenizerDigest,
      hiddenSize: config.hiddenSize,
      ...(format === 'hf' ? {} : { format }),
    },
    embedding: { kind: space.kind, centred: space.mean !== null, dim: space.d },
    prompt: promptRecord(inputs.form),
    N: clustering.k,
    seed: options.seed,
    tau: options.tau,
    training: {
      ...options.training,
      mode: options.mode,
      targets,
      maxLength: inputs.maxLength,
      long: options.long,
      examples: inputs.examples.length,
      ...(clustering.inBatches && { clustering: 'mini-batch' }),
      ...progressOf(trained),
      ...(options.joint && trained.joint && { joint: { ...options.joint, ...progressOf(trained.joint) } }),
      ...(trainer && { trainer }),
    },
    data: inputs.sources,
    clusters,
    silhouette: clustering.silhouette,
    standards,
    adapters: [],
  };
  writeDirectoryAtomic(out, { force, marker: POOL_MANIFEST }, (dir) => {
    const write = (name: string, { options, layout }: TrainingTask, { parameters }: Trained, n: number) => {
      const { r, training } = options;
      const { loraAlpha } = training;
      writePeftAdapter(join(dir, name), {
        baseModel,
        r,
        loraAlpha,
        targetModules: targets.map((target) => target.split('.').at(-1)!).sort(),
        modules: layout.modules.map((module) => ({
          ...module,
          r,
          a: () => adapterFactors(layout, parameters, module, n).a,
          b: () => adapterFactors(layout, parameters, module, n).b,
        })),
        // As PEFT keeps an adapter's own template: whoever serves it finds the form that it was trained in.
        extraFiles: {
          [ADAPTER_RECORD_FILE]: adapterRecordText(baseModel, manifest.base, manifest.prompt),
          ...(inputs.template === null ? {} : { [CHAT_TEMPLATE]: inputs.template }),
        },
      });
      return { dir: name, r, loraAlpha, sha256: adapterDigest(join(dir, name)) };
    };
    for (let n = 0; n < clustering.k; n++) manifest.adapters.push(write(`adapters/${n}`, task, trained, n));
    if (task.general !== undefined && trained.general !== undefined) {
      const { learningRate, epochs } = task.general.options.training;
      const member = write('general', task.general, trained.general, 0);
      manifest.general = { ...member, learningRate, epochs, ...progressOf(trained.general) };
    }
    keepFactors(dir, manifest);
    keepTrainingCurve(dir, trained.losses, trained.joint?.losses);
    keepVocabulary(dir, inputs.model, inputs.tokenizerDigest);
    writePoolManifest(dir, manifest, { centroids: clustering.centroids, mean: space.mean, idf: space.idf });
  });
  if (baseModel !== options.model) rememberBase(inputs.modelDigest, options.model);
  return manifest;
}

/** Made anew whenever the members are others. */
export function keepFactors(dir: string, manifest: PoolManifest): void {
  const members = membersOf(manifest);
  const opened = members.map((adapter) => openPeftAdapter(join(dir, adapter.dir)));
  try {
    const digests = members.map(({ sha256 }) => sha256);
    writePoolFactors(dir, opened, digests);
  } finally {
    for (const adapter of opened) adapter.close();
  }
}

const progressOf = ({ losses }: Trained) => ({
  steps: losses.length,
  firstLoss: roundedMean(losses.slice(0, 10)),
  lastLoss: roundedMean(losses.slice(-10)),
});

/** Rounded to what float32 sums of losses are good for. */
function roundedMean(losses: Float32Array): number {
  return Number(mean(losses).toFixed(4));
}
