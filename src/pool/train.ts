/** The training stage of a pool build: the trainer's loop, with checkpoints and interruption. */

import { CrayonError } from '../core/errors.js';
import { eventLoopTurn } from '../core/long-work.js';
import type { LlamaModel } from '../model/llama.js';
import type { LoraLayout } from '../train/lora-layout.js';
import { type StepReport, Trainer } from '../train/trainer.js';
import type { BuildHooks, BuildPoolOptions } from './inputs.js';
import type { PreparedExample } from './prepare.js';
import type { WorkDirectory } from './work-directory.js';

export interface Trained {
  parameters: Float32Array;
  /** loss of every step */
  losses: Float32Array;
  tokensPerSecond: number;
}

interface TrainStage {
  model: LlamaModel;
  layout: LoraLayout;
  examples: PreparedExample[];
  gates: ArrayLike<number>[];
  options: BuildPoolOptions;
  work: WorkDirectory;
  hooks: BuildHooks;
}

/** Trains all adapters of a pool, from the beginning or from a checkpoint. @throws CrayonError `interrupted` */
export async function trainAdapters(stage: TrainStage): Promise<Trained> {
  const { model, layout, examples, gates, options, work, hooks } = stage;
  const saved = work.load('training', { parameters: 'F32', m: 'F32', v: 'F32', losses: 'F32' });
  const resume = saved && { ...saved, step: saved.losses.length };
  const losses = saved ? [...saved.losses] : [];
  const trainer = new Trainer({ model, layout, examples, gates }, { ...options.training, seed: options.seed }, resume);
  const checkpoint = async () => {
    const { parameters, m, v } = await trainer.state();
    work.save('training', { parameters, m, v, losses: Float32Array.from(losses) });
    return parameters;
  };

  try {
    const started = performance.now();
    let lastSave = started;
    let tokens = 0;
    while (!trainer.done) {
      const report: StepReport = await trainer.step();
      await eventLoopTurn();
      losses.push(report.loss);
      tokens += report.tokens;
      const seconds = (performance.now() - started) / 1000;
      hooks.onProgress?.({
        stage: 'train',
        done: report.step,
        total: report.totalSteps,
        note: `loss ${report.loss.toFixed(3)}, ${Math.round(tokens / seconds)} tokens/s`,
      });
      if (hooks.signal?.aborted) {
        await checkpoint();
        throw new CrayonError('interrupted', `stopped after step ${report.step} of ${report.totalSteps}`, {
          hint: 'The same command continues from here.',
        });
      }
      if (performance.now() - lastSave > options.checkpointSeconds * 1000) {
        await checkpoint();
        lastSave = performance.now();
      }
    }
    const seconds = (performance.now() - started) / 1000;
    return { parameters: await checkpoint(), losses: Float32Array.from(losses), tokensPerSecond: tokens / seconds };
  } finally {
    trainer.dispose();
  }
}
