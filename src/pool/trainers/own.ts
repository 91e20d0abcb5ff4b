/** Crayon's own trainer, in this process, on whatever back end was chosen. */

import { CrayonError } from '../../core/errors.js';
import { eventLoopTurn } from '../../core/long-work.js';
import { meanLoss } from '../../train/completion-score.js';
import { scoreCompletions } from '../../train/evaluate.js';
import type { MicroBatches } from '../../train/micro-batches.js';
import { Trainer } from '../../train/trainer.js';
import { startBeside } from '../general.js';
import type { WorkDirectory } from '../work-directory.js';
import { stoppedAfter, type Trained, type TrainerKind, type TrainingTask } from './trainer.js';

export const ownTrainer: TrainerKind = {
  name: 'own',
  needsModel: true,
  async train(task) {
    const general = task.general && (await trainAdapters(task.general));
    const { options, inputs, layout, gates } = task;
    const start = general && startBeside(layout, options.seed, { ...task.general!, ...general });
    const trained = await trainAdapters(task, start);
    return {
      ...trained,
      general,
      async lossOf(members, adapted) {
        const lora = { layout, parameters: trained.parameters, loraAlpha: options.training.loraAlpha };
        const gatesOf = members.map((i) => gates[i]!);
        const sample = members.map((i) => inputs.examples[i]!);
        const evaluation = adapted ? { lora: { ...lora, gates: gatesOf } } : {};
        return meanLoss(await scoreCompletions(task.model(), sample, evaluation));
      },
    };
  },
};

/** @param start parameters to begin with; PEFT's when absent */
async function trainAdapters(task: TrainingTask, start?: Float32Array): Promise<Trained> {
  const { options, hooks, inputs, work, layout, gates, model } = task;
  const stage = STAGES[task.phase];
  const saved = work.load(stage, { parameters: 'F32', m: 'F32', v: 'F32', losses: 'F32' });
  const resume = saved ? { ...saved, step: saved.losses.length } : start;
  const losses = saved ? [...saved.losses] : [];
  // a continued run reads batches in the parts of the run that it continues, so that it ends with the same bytes
  const micro = microBatchesOf(work) ?? task.micro;
  const settings = { ...options.training, seed: options.seed };
  const trainer = new Trainer({ model: model(), layout, examples: inputs.examples, gates, micro }, settings, resume);
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
      const seconds = (performance.now() - started) / 1000;
      hooks.onProgress?.({
        stage: task.phase,
        done: report.step,
        total: report.totalSteps,
        note: `loss ${report.loss.toFixed(3)}, ${Math.round(tokens / seconds)} tokens/s`,
      });
      if (hooks.signal?.aborted) {
        await checkpoint();
        throw new CrayonError('interrupted', stoppedAfter(task.phase, report.step, report.totalSteps), {
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

/** The checkpoints of each phase. */
const STAGES = { general: 'general', train: 'training' };

const MICRO_BATCHES = 'micro-batches';

function microBatchesOf(work: WorkDirectory): MicroBatches | undefined {
  const saved = work.load(MICRO_BATCHES, { rows: 'I32', recomputes: 'I32' });
  return saved && { rows: saved.rows[0]!, recomputes: saved.recomputes[0] === 1 };
}
