/** Crayon's own trainer, in this process, on whatever back end was chosen. */

import { meanLoss } from '../../train/completion-score.js';
import { scoreCompletions } from '../../train/evaluate.js';
import { startBeside } from '../general.js';
import { trainResumably } from './resumable.js';
import { stoppedAfter, type Trained, type TrainerKind, type TrainingTask } from './trainer.js';

export const ownTrainer: TrainerKind = {
  name: 'own',
  needsModel: true,
  async train(task) {
    const general = task.general && (await trainAdapters(task.general));
    const { options, inputs, layout, gates } = task;
    const start = general ? startBeside(layout, options.seed, { ...task.general!, ...general }) : task.start;
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
function trainAdapters(task: TrainingTask, start?: Float32Array): Promise<Trained> {
  const { options, hooks, inputs, work, layout, gates, model, micro, phase } = task;
  return trainResumably({
    input: { model: model(), layout, examples: inputs.examples, gates, micro },
    settings: { ...options.training, seed: options.seed },
    start,
    work,
    stage: STAGES[phase],
    checkpointSeconds: options.checkpointSeconds,
    signal: hooks.signal,
    onStep: ({ step: done, totalSteps: total, loss }, speed) => {
      const note = `loss ${loss.toFixed(3)}, ${Math.round(speed)} tokens/s`;
      hooks.onProgress?.({ stage: phase, done, total, note });
    },
    stoppedAfter: (step, totalSteps) => stoppedAfter(phase, step, totalSteps),
  });
}

/** The checkpoints of each phase. */
const STAGES = { general: 'general', train: 'training', joint: 'joint' };
