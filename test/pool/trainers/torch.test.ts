/** The trainer's orchestration with a program that stands for Python, and with a real one where there is one. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readJsonObject } from '../../../src/files/json.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { chooseBackend } from '../../../src/model/backend.js';
import { buildPool, writeTrainingJob } from '../../../src/pool/build.js';
import { BUILD_DEFAULTS, type BuildHooks, type BuildPoolOptions } from '../../../src/pool/inputs.js';
import { openPool } from '../../../src/pool/pool.js';
import { TRAINER_DEFAULTS, type TrainerOptions } from '../../../src/pool/trainers/options.js';
import { SafetensorsFile } from '../../../src/safetensors/read.js';
import { writeSafetensors } from '../../../src/safetensors/write.js';
import { digests, records, writeJsonl } from '../../e2e/helpers.js';
import { fakePython } from '../../helpers/fake-python.js';
import { temporaryDir } from '../../helpers/files.js';
import { fixture } from '../../helpers/fixtures.js';

beforeAll(() => chooseBackend('cpu'));

function optionsOf(trainer: Partial<TrainerOptions>, more: Partial<BuildPoolOptions> = {}): BuildPoolOptions {
  const dir = temporaryDir();
  return {
    ...BUILD_DEFAULTS,
    model: fixture('models', 'llama'),
    data: [writeJsonl(join(dir, 'train.jsonl'), records(24))],
    clusters: 3,
    r: 2,
    out: join(dir, 'pool'),
    training: { ...BUILD_DEFAULTS.training, batchSize: 4, epochs: 2, loraAlpha: 4 },
    trainer: { ...TRAINER_DEFAULTS, name: 'torch', ...trainer },
    ...more,
  };
}

/** Puts a result beside a job, as the script does. */
function writeResult(dir: string, id: string, losses: number[]): void {
  const { layout } = readJsonObject(join(dir, 'job.json')) as { layout: { size: number } };
  const file = SafetensorsFile.open(join(dir, 'job.safetensors'));
  const [examples] = file.info('evaluated').shape as [number];
  file.close();
  const parameters = new Float32Array(layout.size).fill(0.01);
  const f32 = (name: string, data: Float32Array) => ({ name, dtype: 'F32' as const, shape: [data.length], data });
  writeSafetensors(
    join(dir, 'state.safetensors'),
    [
      f32('parameters', parameters),
      f32('m', parameters),
      f32('v', parameters),
      f32('losses', Float32Array.from(losses)),
    ],
    { job: id },
  );
  const scores = new Float64Array(examples).fill(-6);
  const tensors = ['base', 'adapted'].map((name) => ({ name, dtype: 'F64' as const, shape: [examples], data: scores }));
  writeSafetensors(join(dir, 'scores.safetensors'), tensors, { job: id });
}

describe.skipIf(process.platform === 'win32')('--trainer torch', () => {
  const python = (job: string) => fakePython(temporaryDir(), { job });

  it('refuses a Python without packages before it is run, and keeps the job', async () => {
    const versions = { python: '3.12.1', torch: null, transformers: null, safetensors: null };
    const options = optionsOf({ python: fakePython(temporaryDir(), { versions }) });
    await expect(buildPool(options)).rejects.toMatchObject({ code: 'trainer-unavailable' });
    expect(existsSync(join(`${options.out}.building`, 'torch', 'job.json'))).toBe(true);
  });

  it('says that a loss is not finite, and leaves nothing', async () => {
    const job = "say({ event: 'not-finite', step: 3, loss: 'nan', gradientNorm: 'inf' }); process.exit(1);";
    const options = optionsOf({ python: python(job) });
    await expect(buildPool(options)).rejects.toMatchObject({
      code: 'loss-not-finite',
      message: expect.stringContaining('step 3: loss nan'),
    });
    expect(existsSync(`${options.out}.building`)).toBe(false);
  });

  it('says that there is no result where the trainer ends without one', async () => {
    await expect(buildPool(optionsOf({ python: python('') }))).rejects.toMatchObject({ code: 'trainer-failed' });
  });

  it('is interrupted with what it has reached', async () => {
    const job =
      "say({ event: 'step', step: 5, loss: 2, tokens: 10, seconds: 1 }); process.stdin.resume().on('end', () => process.exit(3));";
    const stop = new AbortController();
    const hooks: BuildHooks = {
      signal: stop.signal,
      onProgress: ({ stage, done }) => stage === 'train' && done === 5 && stop.abort(),
    };
    await expect(buildPool(optionsOf({ python: python(job) }), hooks)).rejects.toMatchObject({
      code: 'interrupted',
      message: expect.stringContaining('after step 5 of 12'),
    });
  });

  it('needs no Python for a result that was brought from elsewhere, and refuses that of another job', async () => {
    const options = optionsOf({ python: '/nowhere/python' });
    const { dir, id, totalSteps } = await writeTrainingJob(options);
    writeResult(dir, 'another', Array(totalSteps).fill(1));
    await expect(buildPool(options)).rejects.toMatchObject({ code: 'checkpoint-mismatch' });
    writeResult(dir, id, Array(totalSteps).fill(1));
    const { manifest } = await buildPool(options);
    expect(manifest.training).toMatchObject({ steps: 12, lastLoss: 1, trainer: { name: 'torch', dtype: 'float32' } });
    expect(openPool(options.out).manifest.clusters[0]!.lossAfter).toBeGreaterThan(0);
    expect(existsSync(`${options.out}.building`)).toBe(false);
  });

  it('needs both results of a residual pool, which a job of version 2 asks for', async () => {
    const general = { r: 4, learningRate: 0.01, epochs: 1 };
    const options = optionsOf({ python: python('') }, { general });
    const { dir, id, totalSteps, general: first } = await writeTrainingJob(options);
    expect(readJsonObject(join(dir, 'job.json'))).toMatchObject({ version: 2, layout: { adapters: 5, frozen: 2 } });
    expect(readJsonObject(join(first!.dir, 'job.json'))).toMatchObject({ version: 1, layout: { adapters: 1, r: 4 } });
    expect(first).toMatchObject({ dir: join(dir, 'general'), totalSteps: 6 });
    writeResult(dir, id, Array(totalSteps).fill(1));
    await expect(buildPool(options)).rejects.toMatchObject({ code: 'trainer-failed' }); // it has said nothing of the other
    writeResult(first!.dir, first!.id, Array(6).fill(2));
    const { manifest } = await buildPool(options);
    expect(manifest.general).toMatchObject({ dir: 'general', r: 4, loraAlpha: 8, steps: 6, lastLoss: 2 });
    expect(manifest.training).toMatchObject({ steps: 12, lastLoss: 1 });
  });

  it('does not go on with the work of another trainer or another dtype', async () => {
    const options = optionsOf({ python: python('') });
    await writeTrainingJob(options);
    const others = [undefined, { ...options.trainer!, dtype: 'bfloat16' as const }];
    for (const trainer of others) {
      await expect(buildPool({ ...options, trainer })).rejects.toMatchObject({ code: 'checkpoint-mismatch' });
    }
  });
});

/** A Python that has torch, transformers and safetensors. */
const real = process.env.CRAYON_PYTHON;

describe.skipIf(!real)(
  'PyTorch (needs CRAYON_PYTHON, a Python with torch and transformers)',
  { timeout: 600_000 },
  () => {
    /** The losses of all steps, from what a build keeps until it writes: it is stopped before. */
    async function lossesOf(options: BuildPoolOptions): Promise<number[]> {
      const stop = new AbortController();
      const onProgress: BuildHooks['onProgress'] = ({ stage }) => {
        if (stage === 'evaluate') stop.abort();
      };
      await expect(buildPool(options, { onProgress, signal: stop.signal })).rejects.toMatchObject({
        code: 'interrupted',
      });
      const parts = options.trainer?.name === 'torch' ? ['torch', 'state'] : ['training'];
      const file = SafetensorsFile.open(`${join(`${options.out}.building`, ...parts)}.safetensors`);
      const losses = Array.from(file.readF32('losses'));
      file.close();
      return losses;
    }

    const largest = (a: number[], b: number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));

    it.each(['joint', 'independent'] as const)('takes the steps of crayon itself, in %s training', async (mode) => {
      const [ours, theirs] = [
        await lossesOf(optionsOf({ name: 'own' }, { mode })),
        await lossesOf(optionsOf({ python: real! }, { mode })),
      ];
      expect(ours).toHaveLength(12);
      expect(theirs).toHaveLength(12);
      expect(ours[11]!).toBeLessThan(ours[0]! - 0.01); // it has learnt, so the factors are the same too
      expect(largest(ours, theirs)).toBeLessThan(1e-5);
    });

    it('takes the steps of a joint phase as crayon does, from adapters that were trained each by itself', async () => {
      const more = { mode: 'separate' as const, joint: { fraction: 1, learningRate: 0.001 } };
      const [ours, theirs] = await Promise.all(
        [{ name: 'own' as const }, { python: real! }].map(async (trainer) => {
          const options = optionsOf(trainer, more);
          await buildPool(options);
          const { joint } = openPool(options.out).manifest.training as {
            joint: { firstLoss: number; lastLoss: number };
          };
          return joint;
        }),
      );
      expect(ours!.lastLoss).toBeLessThan(ours!.firstLoss);
      expect(largest([theirs!.firstLoss, theirs!.lastLoss], [ours!.firstLoss, ours!.lastLoss])).toBeLessThan(1e-3);
    });

    it('trains on a GGUF', async () => {
      const model = join(temporaryDir(), 'base.gguf');
      exportModelGguf({ model: fixture('models', 'gemma3'), out: model, type: 'F32' });
      const [ours, theirs] = [
        await lossesOf(optionsOf({ name: 'own' }, { model })),
        await lossesOf(optionsOf({ python: real! }, { model })),
      ];
      expect(largest(ours, theirs)).toBeLessThan(1e-5);
    });

    it('takes the same steps in two processes that share every batch', async () => {
      const [one, two] = [
        await lossesOf(optionsOf({ python: real! })),
        await lossesOf(optionsOf({ python: real!, processes: 2 })),
      ];
      expect(two).toHaveLength(12);
      expect(largest(one, two)).toBeLessThan(1e-5);
    });

    it('stops with a checkpoint and goes on to the same bytes', async () => {
      const [whole, stopped] = [optionsOf({ python: real! }), optionsOf({ python: real! })];
      await buildPool(whole);
      const stop = new AbortController();
      const onProgress: BuildHooks['onProgress'] = ({ stage, done }) => {
        if (stage === 'train' && done >= 3) stop.abort();
      };
      await expect(buildPool(stopped, { onProgress, signal: stop.signal })).rejects.toMatchObject({
        code: 'interrupted',
      });
      const file = SafetensorsFile.open(join(`${stopped.out}.building`, 'torch', 'state.safetensors'));
      expect(file.info('losses').shape[0]).toBeGreaterThanOrEqual(3);
      file.close();
      expect((await buildPool(stopped)).resumed).toBe(true);
      const bytes = ({ out }: BuildPoolOptions) =>
        [0, 1, 2].map((n) => readFileSync(join(out, 'adapters', String(n), 'adapter_model.safetensors')));
      expect(bytes(stopped)).toEqual(bytes(whole));
    });

    it('trains a residual pool in both phases as crayon does, stopped in either: the same bytes', async () => {
      const general = { r: 3, learningRate: 0.01, epochs: 1 };
      const adamw = { ...BUILD_DEFAULTS.training.adamw, weightDecay: 0.1 };
      const settings = optionsOf({}).training;
      const data = [writeJsonl(join(temporaryDir(), 'train.jsonl'), records(24))];
      const more = { general, data, training: { ...settings, adamw } };
      const [ours, whole, stopped] = [
        optionsOf({ name: 'own' }, more),
        optionsOf({ python: real! }, more),
        optionsOf({ python: real! }, more),
      ];
      await buildPool(ours);
      await buildPool(whole);
      for (const wanted of ['general', 'train']) {
        const stop = new AbortController();
        const onProgress: BuildHooks['onProgress'] = ({ stage, done }) => {
          if (stage === wanted && done >= 2) stop.abort();
        };
        const interrupted = buildPool(stopped, { onProgress, signal: stop.signal });
        await expect(interrupted).rejects.toMatchObject({ code: 'interrupted' });
      }
      expect((await buildPool(stopped)).resumed).toBe(true);
      expect(digests(stopped.out)).toEqual(digests(whole.out));
      const numbers = ({ out }: BuildPoolOptions) =>
        openPool(out)
          .openMembers()
          .flatMap((adapter) => {
            const all = adapter.modules.flatMap((module) => [
              ...Array.from(adapter.readA(module)),
              ...Array.from(adapter.readB(module)),
            ]);
            adapter.close();
            return all;
          });
      expect(largest(numbers(ours), numbers(whole))).toBeLessThan(1e-4);
      const { manifest } = openPool(whole.out);
      expect(manifest.general).toMatchObject({ r: 3, steps: 6 });
      expect(manifest.general!.lastLoss).toBeCloseTo(openPool(ours.out).manifest.general!.lastLoss, 3);
    });

    it('says that the base model is not where it was', async () => {
      const options = optionsOf({ python: real! });
      const { dir } = await writeTrainingJob(options);
      const job = readJsonObject(join(dir, 'job.json'));
      writeFileSync(join(dir, 'job.json'), JSON.stringify({ ...job, base: '/nowhere/model' }));
      await expect(buildPool(options)).rejects.toMatchObject({
        code: 'trainer-failed',
        message: expect.stringContaining('/nowhere/model: no such directory'),
      });
    });
  },
);
