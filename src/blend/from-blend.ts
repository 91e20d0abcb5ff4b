/**
 * `--lora-from-blend`: one LoRA of a stated rank that starts from the blend and is trained on the user's examples, with a pull
 * back to where it starts. Loaded when it is asked for: it trains.
 *
 * The start is the blend's best approximation of that rank (`svd`). Components that the blend does not fill begin as PEFT begins a
 * LoRA (A random, B zero), so that they add nothing and can learn. The pull is weight decay towards the start (L2-SP, arXiv 1802.01483).
 */

import { availableParallelism } from 'node:os';
import { isCrayonError } from '../core/errors.js';
import { AtomicDirectory } from '../files/atomic.js';
import { sha256 } from '../files/digest.js';
import type { BaseModel } from '../hf/base-model.js';
import { ADAMW_DEFAULTS } from '../model/adamw-settings.js';
import { chooseBackend } from '../model/backend.js';
import { adapterFactors, createLoraLayout, initialParameters, setAdapterFactors } from '../model/lora-layout.js';
import type { Network, StackedAdapters } from '../model/network.js';
import { ADAPTER_CONFIG } from '../peft/config.js';
import { throughNetwork } from '../pool/embed/hidden-states.js';
import type { ForwardPass } from '../pool/embed/kind.js';
import { planTraining } from '../pool/plan.js';
import type { Pool } from '../pool/pool.js';
import { trainResumably } from '../pool/trainers/resumable.js';
import { WorkDirectory, workPath } from '../pool/work-directory.js';
import { fittingModules } from '../train/adapter-lora.js';
import type { TrainingExample } from '../train/batches.js';
import { meanLoss } from '../train/completion-score.js';
import { scoreCompletions } from '../train/evaluate.js';
import type { MicroBatchPlan } from '../train/micro-batches.js';
import { TRAIN_DEFAULTS, type TrainSettings } from '../train/settings.js';
import { type StepReport, Trainer } from '../train/trainer.js';
import { type BlendOptions, type BlendResult, writeBlend } from './blend.js';
import { type FromBlendOptions, type FromBlendSettings, fromBlendSettings } from './from-blend-options.js';
import { type BlendPlan, planBlend } from './plan.js';
import { type BlendSource, openSource } from './sources.js';
import type { TrainedRecord } from './trained-record.js';

/** A blend at a rank, ready to be trained. */
export interface BlendStart {
  plan: BlendPlan;
  lora: StackedAdapters;
  /** of each module, against the exact sum */
  relativeErrors: number[];
}

type BlendTerms = Pick<BlendOptions, 'adapters' | 'coefficients' | 'factors'>;

/** @throws CrayonError what `planBlend` throws; `adapter-mismatch` where the base model lacks a module */
export function startFromBlend(
  { adapters, coefficients, factors }: BlendTerms,
  base: BaseModel,
  { rank, seed, threads = 1 }: Pick<FromBlendSettings, 'rank' | 'seed'> & { threads?: number | undefined },
): BlendStart {
  const plan = planBlend(adapters, coefficients, 'svd', rank);
  fittingModules([{ dir: adapters[0]!.dir, modules: plan.modules }], base);
  const layout = createLoraLayout(plan.modules, 1, rank);
  const parameters = initialParameters(layout, seed);
  const source = openSource(plan, { threads, factors });
  try {
    const relativeErrors = layout.modules.map((module, index) => {
      const random = adapterFactors(layout, parameters, module, 0).a;
      const a = source.a(index).slice();
      const { effectiveRank, relativeError } = source.result(index);
      a.set(random.subarray(effectiveRank * module.in), effectiveRank * module.in);
      setAdapterFactors(layout, parameters, module, 0, { a, b: source.b(index) });
      return relativeError;
    });
    return { plan, lora: { layout, parameters, loraAlpha: rank }, relativeErrors };
  } finally {
    source.close();
  }
}

/** What a trainer is told: `steps` batches, however many examples there are. */
export function fromBlendTraining(
  { layout, parameters, loraAlpha }: StackedAdapters,
  examples: readonly TrainingExample[],
  { steps, learningRate, batchSize, pull, seed }: FromBlendSettings,
) {
  const epochs = (steps - 0.5) / Math.ceil(examples.length / batchSize); // a plan takes whole steps, the last one begun
  const adamw = { ...ADAMW_DEFAULTS, weightDecay: pull };
  const settings: TrainSettings = { ...TRAIN_DEFAULTS, epochs, batchSize, learningRate, loraAlpha, seed, adamw };
  const gates = examples.map(() => [1]);
  return { settings, input: { layout, examples, gates, anchor: parameters } };
}

export interface TrainedBlendOptions extends BlendOptions {
  how: FromBlendSettings;
  /** with the tokens that end the answers */
  examples: readonly TrainingExample[];
  base: BaseModel;
  forward: ForwardPass;
  /** everything else that the result depends on */
  fingerprint: Record<string, unknown>;
  signal?: AbortSignal | undefined;
  onPlan?: ((plan: MicroBatchPlan) => void) | undefined;
  onStep?: ((report: StepReport) => void) | undefined;
}

export interface TrainedBlend {
  blend: BlendResult;
  trained: TrainedRecord;
  resumed: boolean;
}

/**
 * Trains the blend on, and writes it. What is done so far is kept in `<out>.building`: a stopped or killed run is continued by the
 * same call, and ends with the same bytes.
 *
 * @throws CrayonError `output-exists`, `memory-too-small`, `checkpoint-mismatch`, `interrupted` with a checkpoint, `loss-not-finite`
 */
export async function trainFromBlend(options: TrainedBlendOptions): Promise<TrainedBlend> {
  const { how, examples, base, forward, out, force = false, fingerprint, signal, onPlan, onStep } = options;
  const started = performance.now();
  new AtomicDirectory(out, { force, marker: ADAPTER_CONFIG }).abort();
  const start = startFromBlend(options, base, { ...how, threads: options.threads ?? availableParallelism() });
  const { layout, parameters, loraAlpha } = start.lora;
  const { settings, input } = fromBlendTraining(start.lora, examples, how);
  if (forward.model === undefined) await chooseBackend(forward.backend ?? 'auto');
  const micro = planOf(base, input, settings, how, forward.model !== undefined);
  onPlan?.(micro);
  const wanted = {
    ...fingerprint,
    examples: digestOf(examples),
    start: sha256(new Uint8Array(parameters.buffer)),
    settings,
  };
  const work = new WorkDirectory(workPath(out), wanted, how.fresh ?? false);
  try {
    return await throughNetwork(base, forward, async (model) => {
      const lossOf = async (parameters: Float32Array) => {
        const lora = { layout, parameters, loraAlpha, gates: [[1]] };
        return meanLoss(await scoreCompletions(model, examples, { lora }));
      };
      const before = await lossOf(parameters);
      const { parameters: last, losses } = await trainResumably({
        input: { ...input, model, micro },
        settings,
        start: parameters,
        work,
        stage: 'training',
        checkpointSeconds: how.checkpointSeconds ?? CHECKPOINT_SECONDS,
        signal,
        onStep,
        stoppedAfter: (step, total) => `stopped after step ${step} of ${total} of the LoRA from the blend`,
      });
      const { seed, learningRate, adamw } = settings;
      const trained: TrainedRecord = {
        rank: layout.r,
        steps: losses.length,
        learningRate,
        batchSize: settings.batchSize,
        pull: adamw.weightDecay,
        seed,
        startError: Math.max(0, ...start.relativeErrors),
        before: rounded(before),
        after: rounded(await lossOf(last)),
      };
      const provenance = { ...options.provenance, trained: { ...trained } };
      const blend = writeBlend({ ...options, provenance }, start.plan, trainedSource(start, last));
      const { resumed } = work;
      work.remove();
      return { blend: { ...blend, ms: performance.now() - started }, trained, resumed };
    });
  } catch (error) {
    // numbers that diverged would diverge again, and another learning rate is another run
    if (isCrayonError(error, 'loss-not-finite')) work.remove();
    else work.release();
    throw error;
  }
}

const CHECKPOINT_SECONDS = 60;

/** @throws CrayonError `memory-too-small` */
function planOf(
  source: BaseModel,
  { layout, examples }: ReturnType<typeof fromBlendTraining>['input'],
  { batchSize }: TrainSettings,
  { memory }: FromBlendSettings,
  isLoaded: boolean,
): MicroBatchPlan {
  const flags = { rank: '--lora-from-blend' };
  return planTraining({ source, layout, examples, batchSize, accumulation: 1, isLoaded, flags }, memory);
}

/** Rounded to what float32 sums of losses are good for. */
const rounded = (loss: number): number => Number(loss.toFixed(5));

function digestOf(examples: readonly TrainingExample[]): string {
  return sha256(examples.map(({ ids, promptLength }) => `${promptLength}:${ids.join()}`).join('\n'));
}

/** What was trained, in the shape of a blend's source. */
function trainedSource({ lora: { layout }, relativeErrors }: BlendStart, parameters: Float32Array): BlendSource {
  const factors = (index: number) => adapterFactors(layout, parameters, layout.modules[index]!, 0);
  return {
    a: (index) => factors(index).a,
    b: (index) => factors(index).b,
    result: (index) => ({ effectiveRank: layout.r, relativeError: relativeErrors[index]! }),
    close: () => {},
  };
}

/** Where the trainings of a choice keep what they have reached. */
export interface KeptTraining {
  work: WorkDirectory;
  stage: string;
}

/**
 * The same training without a result on disk: what evidence is gathered from.
 *
 * @throws CrayonError `interrupted` by the signal, with a checkpoint where one is kept
 */
export async function trainForEvidence(
  { model, base }: { model: Network; base: BaseModel },
  lora: StackedAdapters,
  examples: readonly TrainingExample[],
  how: FromBlendSettings,
  { signal, kept }: { signal?: AbortSignal; kept?: KeptTraining | undefined } = {},
): Promise<StackedAdapters> {
  const { settings, input: of } = fromBlendTraining(lora, examples, how);
  const input = { ...of, model, micro: planOf(base, of, settings, how, true) };
  const start = lora.parameters;
  if (kept !== undefined) {
    const stoppedAfter = (step: number, total: number) => `stopped after step ${step} of ${total} of a fold`;
    const { checkpointSeconds = CHECKPOINT_SECONDS } = how;
    const run = { input, settings, start, signal, checkpointSeconds, stoppedAfter, ...kept };
    return { ...lora, parameters: (await trainResumably(run)).parameters.slice() };
  }
  const trainer = new Trainer(input, settings, start);
  try {
    await trainer.finish(signal);
    return { ...lora, parameters: (await trainer.state()).parameters.slice() };
  } finally {
    trainer.dispose();
  }
}

/** Opens what is kept of a choice in which LoRAs are trained: beside the output, and gone with its end. @throws CrayonError `checkpoint-mismatch` */
export function openChoiceWork(
  out: string,
  { pool: { manifest }, source, prepared }: { pool: Pool; source: BaseModel; prepared: readonly TrainingExample[] },
  options: FromBlendOptions,
): WorkDirectory {
  const { rank, steps, batchSize, learningRate, pull, seed } = fromBlendSettings(options, manifest);
  const settings = { rank, steps, batchSize, learningRate, pull, seed };
  const pool = sha256(JSON.stringify(manifest));
  const fingerprint = { pool, base: source.digest(), examples: digestOf(prepared), settings };
  return new WorkDirectory(workPath(`${out}.choice`), fingerprint, options.fresh ?? false);
}
