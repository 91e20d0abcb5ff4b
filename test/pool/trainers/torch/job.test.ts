import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readJsonObject } from '../../../../src/files/json.js';
import { openBase } from '../../../../src/gguf/base.js';
import { exportModelGguf } from '../../../../src/gguf/model.js';
import { HfModel } from '../../../../src/hf/model.js';
import { chooseBackend } from '../../../../src/model/backend.js';
import { writeTrainingJob } from '../../../../src/pool/build.js';
import { BUILD_DEFAULTS, type BuildPoolOptions } from '../../../../src/pool/inputs.js';
import { TRAINER_DEFAULTS, type TrainerOptions } from '../../../../src/pool/trainers/options.js';
import { SafetensorsFile } from '../../../../src/safetensors/read.js';
import { TrainingPlan } from '../../../../src/train/plan.js';
import { records, writeJsonl } from '../../../e2e/helpers.js';
import { temporaryDir } from '../../../helpers/files.js';
import { fixture } from '../../../helpers/fixtures.js';

beforeAll(() => chooseBackend('cpu'));

function optionsOf(model: string, trainer: Partial<TrainerOptions> = {}): BuildPoolOptions {
  const dir = temporaryDir();
  return {
    ...BUILD_DEFAULTS,
    model,
    data: [writeJsonl(join(dir, 'train.jsonl'), records(12))],
    clusters: 2,
    r: 2,
    out: join(dir, 'pool'),
    training: { ...BUILD_DEFAULTS.training, batchSize: 4, gradientAccumulation: 2, epochs: 2, loraAlpha: 6 },
    trainer: { ...TRAINER_DEFAULTS, name: 'torch', ...trainer },
  };
}

const arrays = (path: string) => {
  const file = SafetensorsFile.open(path);
  const of = (name: string) => {
    const bytes = file.readBytes(name).slice().buffer;
    const Kind = { I32: Int32Array, F32: Float32Array, F64: Float64Array }[file.info(name).dtype as 'I32'];
    return Array.from(new Kind(bytes));
  };
  const all = Object.fromEntries([...file.tensors.keys()].map((name) => [name, of(name)]));
  file.close();
  return all;
};

describe('writeTrainingJob', () => {
  it('writes the batches, learning rates, gates and beginnings that crayon itself would train with', async () => {
    const options = optionsOf(fixture('models', 'llama'));
    const { dir, totalSteps } = await writeTrainingJob(options);
    const job = arrays(join(dir, 'job.safetensors'));
    const lengths = job.idStarts!.slice(1).map((end, i) => end - job.idStarts![i]!);
    expect(lengths).toHaveLength(12);

    const plan = new TrainingPlan(lengths, options.training);
    expect(totalSteps).toBe(3);
    const cut = (flat: number[], starts: number[]) => starts.slice(1).map((end, i) => flat.slice(starts[i], end));
    const batches = cut(job.members!, job.batchStarts!);
    for (const step of [0, 1, 2]) {
      const [from, to] = job.stepStarts!.slice(step) as [number, number];
      expect(batches.slice(from, to)).toEqual(plan.batchesOf(step));
      expect(job.learningRates![step]).toBe(plan.learningRateOf(step));
    }
    // A soft gate sums to one; it is written times lora_alpha / r.
    for (let i = 0; i < 12; i++) expect(job.gates![2 * i]! + job.gates![2 * i + 1]!).toBeCloseTo(3, 5);
    const { layout, base } = readJsonObject(join(dir, 'job.json')) as { layout: { size: number }; base: string };
    expect(base).toBe(options.model);
    expect(job.parameters).toHaveLength(layout.size);
    expect([...job.evaluated!].sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
  });

  it('is the same job when it is asked for again, and keeps what has been trained of it', async () => {
    const options = optionsOf(fixture('models', 'llama'));
    const first = await writeTrainingJob(options);
    const before = arrays(join(first.dir, 'job.safetensors'));
    expect(await writeTrainingJob(options)).toEqual(first);
    expect(arrays(join(first.dir, 'job.safetensors'))).toEqual(before);
  });

  it.each(['float32', 'bfloat16'] as const)(
    'gives a GGUF as a directory that transformers opens, in %s',
    async (dtype) => {
      const model = join(temporaryDir(), 'base.gguf');
      exportModelGguf({ model: fixture('models', 'gemma3'), out: model, type: 'F32' });
      const { dir } = await writeTrainingJob(optionsOf(model, { dtype }));
      expect(readJsonObject(join(dir, 'job.json'))).toMatchObject({ base: 'base', dtype });
      const [there, here] = [HfModel.open(join(dir, 'base')), openBase(model)];
      expect(there.config).toEqual(here.config);
      expect(there.tensorNames().sort()).toEqual(here.tensorNames().sort());
      const digits = dtype === 'float32' ? 7 : 2;
      for (const name of here.tensorNames()) {
        const [a, b] = [there.readF32(name), here.readF32(name)];
        for (let i = 0; i < b.length; i += 97) expect(a[i]).toBeCloseTo(b[i]!, digits);
      }
      there.close();
      here.close();
    },
  );
});
