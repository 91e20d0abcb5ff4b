/** One training with checkpoints in a work directory: stopped or killed, it goes on from the last one and ends with the same bytes. */

import { CrayonError } from '../../core/errors.js';
import { eventLoopTurn } from '../../core/long-work.js';
import type { MicroBatches } from '../../train/micro-batches.js';
import type { TrainSettings } from '../../train/settings.js';
import { type StepReport, Trainer, type TrainerInput } from '../../train/trainer.js';
import type { WorkDirectory } from '../work-directory.js';
import type { Trained } from './trainer.js';

export interface ResumableTraining {
  input: TrainerInput;
  settings: TrainSettings;
  /** parameters to begin with; PEFT's when absent */
  start?: Float32Array | undefined;
  work: WorkDirectory;
  /** names the checkpoints */
  stage: string;
  checkpointSeconds: number;
  /** ends the training after the step in work, with a checkpoint */
  signal?: AbortSignal | undefined;
  onStep?: ((report: StepReport, tokensPerSecond: number) => void) | undefined;
  /** what is said of one that was stopped */
  stoppedAfter(step: number, totalSteps: number): string;
}

/** @throws CrayonError `interrupted` with a checkpoint, `loss-not-finite` */
export async function trainResumably(training: ResumableTraining): Promise<Trained> {
  const { settings, start, work, stage, checkpointSeconds, signal, onStep } = training;
  const saved = work.load(stage, { parameters: 'F32', m: 'F32', v: 'F32', losses: 'F32' });
  const resume = saved ? { ...saved, step: saved.losses.length } : start;
  const losses = saved ? [...saved.losses] : [];
  // a continued run reads batches in the parts of the run that it continues, so that it ends with the same bytes
  const micro = microBatchesOf(work) ?? training.input.micro;
  const trainer = new Trainer({ ...training.input, micro }, settings, resume);
  const checkpoint = async () => {
    const { parameters, m, v } = await trainer.state();
    if (micro !== undefined) {
      const { rows, recomputes } = micro;
      work.save(MICRO_BATCHES, { rows: Int32Array.of(rows), recomputes: Int32Array.of(Number(recomputes)) });
    }
    work.save(stage, { parameters, m, v, losses: Float32Array.from(losses) });
    return parameters;
  };

  try {
    const started = performance.now();
    let lastSave = started;
    let tokens = 0;
    while (!trainer.done) {
      const report = await trainer.step();
      await eventLoopTurn();
      losses.push(report.loss);
      tokens += report.tokens;
      onStep?.(report, tokens / ((performance.now() - started) / 1000));
      if (signal?.aborted) {
        await checkpoint();
        throw new CrayonError('interrupted', training.stoppedAfter(report.step, report.totalSteps), {
          hint: 'The same command continues from here.',
        });
      }
      if (performance.now() - lastSave > checkpointSeconds * 1000) {
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

const MICRO_BATCHES = 'micro-batches';

function microBatchesOf(work: WorkDirectory): MicroBatches | undefined {
  const saved = work.load(MICRO_BATCHES, { rows: 'I32', recomputes: 'I32' });
  return saved && { rows: saved.rows[0]!, recomputes: saved.recomputes[0] === 1 };
}
