/** `crayon build-pool`: a pool of base LoRA adapters from a base model and a training set, in one go, in three verbs, or on an engine. */

import { Command, Option } from 'commander';
import { MODEL_TYPES, PROJECTIONS } from '../hf/families.js';
import { ENGINES } from '../jobs/index.js';
import { EMBEDDING_NAMES, INSTANT_NAMES } from '../pool/embed/kinds.js';
import {
  BUILD_DEFAULTS,
  type BuildPoolOptions,
  CLUSTERINGS,
  JOINT_RATE_SHARE,
  TRAINING_MODES,
} from '../pool/inputs.js';
import { TRAINER_DEFAULTS, TRAINER_DTYPES, TRAINER_NAMES, type TrainerOptions } from '../pool/trainers/options.js';
import type { TrainSettings } from '../train/settings.js';
import {
  type BackendFlag,
  backendOption,
  byteCount,
  choice,
  collect,
  dataOptions,
  decimal,
  promptFormOption,
  turnsOption,
  wholeNumber,
} from './options.js';
import type { EngineFlags, FinishFlags, TrainFlags } from './run-build-verbs.js';
import type { Terminal } from './terminal.js';

interface Flags
  extends Omit<
      BuildPoolOptions,
      'out' | 'r' | 'general' | 'joint' | 'targets' | 'training' | 'trainer' | 'evaluationExamples'
    >,
    Pick<TrainSettings, 'epochs' | 'batchSize' | 'gradientAccumulation' | 'learningRate'>,
    BackendFlag {
  pool: string;
  rank: number;
  general: boolean;
  generalRank?: number;
  generalLearningRate?: number;
  generalEpochs?: number;
  jointFraction?: number;
  jointLearningRate?: number;
  jointBatchSize?: number;
  alpha?: number;
  targets: string;
  weightDecay: number;
  trainer: TrainerOptions['name'];
  python: string;
  trainerDtype: TrainerOptions['dtype'];
  trainerProcesses: number;
  jobOnly: boolean;
  dryRun: boolean;
}

const ENGINE_NAMES = Object.keys(ENGINES) as Array<keyof typeof ENGINES>;

const HELP = `
The training set is embedded in the base model's own space, clustered into N groups, and one LoRA adapter is
trained for each, on the completions only. A killed build continues where it was when the command is repeated.

Examples:
  $ crayon build-pool --model models/base --data train.jsonl --pool pool
  $ crayon build-pool --model models/base --data configs/o-lora-train.yaml --data-dir data/o-lora \\
      --pool pool --clusters auto --embedding tfidf --long truncate
  $ crayon build-pool --model base.Q4_1.gguf --data train.jsonl --pool pool --dry-run
  $ crayon build-pool --model models/base --data train.jsonl --pool pool --trainer torch --trainer-dtype bfloat16
  $ crayon build-pool --model models/base --data train.jsonl --pool pool --mode separate --engine local --workers 4 \\
      --joint-fraction 0.25
  $ crayon build-pool --model models/base --data train.jsonl --pool /nfs/pool --mode separate --engine slurm \\
      --workers 16 --engine-options partition=gpu,gpus=1,time=4:00:00
  $ crayon build-pool --model models/base --data train.jsonl --pool /nfs/pool --mode separate --engine ray \\
      --workers 16 --engine-options address=http://head:8265,gpus=1

--trainer torch trains with PyTorch and transformers on a GPU or the CPU, from the same batches and seeds.

A record of train.jsonl: {"prompt": "Review: lovely film. Sentiment:", "completion": " good"}
or a conversation:       {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}`;

const MODE =
  'train the mixture that blending will use; or each LoRA on its own cluster, all in the same steps or each in a training by itself';
const JOINT =
  'mode separate: train all adapters together afterwards, for this share of the steps that mode joint takes, such as 0.25';
const TRAINER = "crayon's own engine, or PyTorch in a Python that has torch and transformers";
const HELD_OUT =
  'examples for each cluster that are not trained on; what the adapters lose on them is kept, for --estimator label-evidence';
const CLUSTERING =
  'all embeddings in memory, or on disk and in batches of them (default: full where they fit --memory)';
const LONG = 'what to do with longer ones; truncate cuts the front of the prompt';

export function buildPoolCommand(command: Command, terminal: Terminal): void {
  buildOptions(command)
    .option('--job-only', 'write the job of --trainer torch, to be run by hand, and stop', false)
    .option('--dry-run', 'say what would be done, in how much memory and time, and stop', false)
    .addOption(choice('--engine <name>', ENGINE, ENGINE_NAMES))
    .option('--workers <n>', 'clusters that the engine trains at a time', wholeNumber(1, 100_000), 2)
    .option(
      '--engine-options <list>',
      'key=value,... or a YAML file; may be repeated (docs/scale.md has the keys)',
      collect,
    )
    .option('--print', 'show what the engine would be given, and stop', false)
    .addHelpText('after', HELP)
    .enablePositionalOptions() // --pool after `train` is train's
    .addCommand(prepareCommand(terminal))
    .addCommand(trainCommand(terminal))
    .addCommand(finishCommand(terminal));
  // the verbs behind it would require them too
  const required = command.options.filter(({ mandatory }) => mandatory);
  for (const option of required) option.makeOptionMandatory(false);
  command.action(async (flags: Flags & EngineFlags, command: Command) => {
    const missing = required.find((option) => command.getOptionValue(option.attributeName()) === undefined);
    if (missing !== undefined) command.error(`error: required option '${missing.flags}' not specified`);
    const { engine, workers: _, engineOptions, print, ...rest } = flags;
    const alone = [...(engineOptions ? ['--engine-options'] : []), ...(print ? ['--print'] : [])];
    if (engine === undefined && alone.length > 0) command.error(`error: ${alone.join(', ')} without --engine`);
    const options = toOptions(rest, command);
    if (engine !== undefined) {
      const { runOnEngine } = await import('./run-build-verbs.js');
      await runOnEngine(options, { ...flags, engine }, terminal);
      return;
    }
    const { runBuildPool, runDryRun, runJobOnly } = await import('./run-build-pool.js');
    if (flags.dryRun) await runDryRun(options, flags.backend, terminal);
    else if (flags.jobOnly) await runJobOnly(options, flags.backend, terminal);
    else await runBuildPool(options, flags.backend, terminal);
  });
}

const ENGINE = `run the build's units on ${ENGINE_NAMES.map((name) => `${name} (${ENGINES[name].title})`).join(', ')}`;

const PREPARE_HELP = `
Reads, embeds and clusters, and writes the plan to <pool>.building: then \`crayon build-pool train\` trains the clusters on any machines that
see that directory and have the base model, and \`crayon build-pool finish\` makes the pool. Each can be killed and repeated.

Example:
  $ crayon build-pool prepare --model models/base --data train.jsonl --pool /nfs/pool --clusters 8 --mode separate
  $ crayon build-pool train --pool /nfs/pool --cluster 0     # ... to 7, in any order, anywhere
  $ crayon build-pool finish --pool /nfs/pool`;

function prepareCommand(terminal: Terminal): Command {
  const command = new Command('prepare').description('Read, embed and cluster, and write the plan of a build.');
  return buildOptions(command)
    .addHelpText('after', PREPARE_HELP)
    .action(async (flags: Omit<Flags, 'jobOnly' | 'dryRun'>, command: Command) => {
      const { runPrepare } = await import('./run-build-verbs.js');
      await runPrepare(toOptions({ ...flags, jobOnly: false, dryRun: false }, command), flags.backend, terminal);
    });
}

const TRAIN_HELP = `
In mode separate a cluster is a unit: --cluster says which. Modes joint and independent train all clusters in the same steps: that is one
unit, which is trained without --cluster. --joint trains what --joint-fraction has asked for, when all clusters are trained; where nobody has,
\`finish\` does it.

Exit codes that a scheduler can act on: 0 done, also where it was done before; 4, 130 or a signal: run it again, it goes on from its
checkpoint; 2, 3, 5: running it again would end alike.`;

function trainCommand(terminal: Terminal): Command {
  return placeOptions(
    new Command('train').description('Train one cluster of a plan, or all where they share their steps.'),
  )
    .addOption(
      new Option('--cluster <k>', 'its number; all, where the mode trains them together')
        .argParser(wholeNumber(0))
        .conflicts('joint'),
    )
    .option('--joint', 'the joint phase behind all clusters of mode separate', false)
    .addOption(backendOption().default(undefined, "the plan's"))
    .addHelpText('after', TRAIN_HELP)
    .action(async (flags: TrainFlags) => {
      const { runTrain } = await import('./run-build-verbs.js');
      await runTrain(flags, terminal);
    });
}

function finishCommand(terminal: Terminal): Command {
  return placeOptions(new Command('finish').description('Make the pool of what was trained, and remove the plan.'))
    .option('--force', "replace an existing pool (default: the plan's)", false)
    .addOption(backendOption().default(undefined, "the plan's"))
    .action(async (flags: FinishFlags) => {
      const { runFinish } = await import('./run-build-verbs.js');
      await runFinish(flags, terminal);
    });
}

/** Where a plan is, and what it names on this machine. */
const placeOptions = (command: Command): Command =>
  command
    .requiredOption('--pool <dir>', 'the pool that is being built, as `prepare` was told')
    .option('--model <path>', 'where the base model is on this machine, when not where `prepare` found it')
    .option('--data <file>', 'likewise the training set, where it is read again; may be repeated', collect)
    .option('--data-dir <dir>', 'likewise where the paths inside a YAML start');

/** What a build depends on. */
function buildOptions(command: Command): Command {
  const { training, ...defaults } = BUILD_DEFAULTS;
  command.requiredOption(
    '--model <path>',
    `base model: a Hugging Face directory or a GGUF file (${MODEL_TYPES.join(', ')})`,
  );
  return dataOptions(command, 'JSONL, JSON or CSV of examples, or a YAML describing them')
    .addOption(turnsOption())
    .addOption(promptFormOption('chat where the model has a chat template'))
    .option('--system <text>', 'system message of the conversations that have none')
    .requiredOption('--pool <dir>', 'where to write the pool')
    .option('--clusters <n|auto>', 'number of base LoRAs, or auto for the best silhouette', clusters, defaults.clusters)
    .addOption(choice('--clustering <how>', CLUSTERING, CLUSTERINGS))
    .option(
      '--embedding <kind>',
      `${EMBEDDING_NAMES}; ${INSTANT_NAMES.join(', ')} need no forward pass on the device`,
      defaults.embedding,
    )
    .option('--no-centred', "do not subtract the training set's mean embedding")
    .option('--tau <t>', 'temperature of the gate softmax(cos / tau)', decimal(0), defaults.tau)
    .addOption(choice('--mode <mode>', MODE, TRAINING_MODES, defaults.mode))
    .option('--rank <r>', 'rank of each base LoRA', wholeNumber(1, 1024), defaults.r)
    .option('--alpha <a>', 'lora_alpha; the adapter is scaled by alpha / rank (default: twice the rank)', decimal(0))
    .option('--targets <list>', 'projections that get a LoRA, e.g. q_proj,v_proj', 'all')
    .option('--epochs <n>', 'passes over the training set; may be a fraction', decimal(0), training.epochs)
    .option('--batch-size <n>', 'examples per batch', wholeNumber(1), training.batchSize)
    .option('--gradient-accumulation <n>', 'batches per update', wholeNumber(1), training.gradientAccumulation)
    .option('--learning-rate <x>', 'highest learning rate of the cosine schedule', decimal(0), training.learningRate)
    .option('--weight-decay <x>', "AdamW's weight decay", decimal(0, true), training.adamw.weightDecay)
    .option('--general', 'train one LoRA on everything first, keep it, and train the base LoRAs on top of it', false)
    .option('--general-rank <r>', "its rank (default: the base LoRAs')", wholeNumber(1, 1024))
    .option('--general-learning-rate <x>', 'its highest learning rate (default: that of --learning-rate)', decimal(0))
    .option('--general-epochs <n>', 'its passes over the training set (default: those of --epochs)', decimal(0))
    .option('--joint-fraction <x>', JOINT, decimal(0))
    .option(
      '--joint-learning-rate <x>',
      `its highest learning rate (default: ${JOINT_RATE_SHARE} of --learning-rate)`,
      decimal(0),
    )
    .option('--joint-batch-size <n>', 'its examples per batch (default: those of --batch-size)', wholeNumber(1))
    .option('--max-length <tokens>', "longest example (default: the model's context)", wholeNumber(2))
    .addOption(choice('--long <policy>', LONG, ['error', 'skip', 'truncate'], defaults.long))
    .option('--held-out <n>', HELD_OUT, wholeNumber(1, 1000))
    .option('--seed <n>', 'seed of every random choice', wholeNumber(0), defaults.seed)
    .addOption(choice('--trainer <name>', TRAINER, TRAINER_NAMES, TRAINER_DEFAULTS.name))
    .addOption(
      new Option('--python <path>', 'the Python of --trainer torch')
        .default(TRAINER_DEFAULTS.python)
        .env('CRAYON_PYTHON'),
    )
    .addOption(
      choice('--trainer-dtype <type>', "of PyTorch's weights and activations", TRAINER_DTYPES, TRAINER_DEFAULTS.dtype),
    )
    .option(
      '--trainer-processes <n>',
      'processes of PyTorch that share every batch (torchrun): one for each GPU',
      wholeNumber(1, 1024),
      TRAINER_DEFAULTS.processes,
    )
    .option(
      '--memory <size>',
      'most that the process may take, such as 6GB (default: three quarters of what is free)',
      byteCount,
    )
    .option('--checkpoint-seconds <s>', 'time between checkpoints', decimal(0), defaults.checkpointSeconds)
    .option('--fresh', 'discard what an interrupted build left', false)
    .option('--force', 'replace an existing pool', false)
    .addOption(backendOption());
}

function toOptions(flags: Omit<Flags, keyof EngineFlags>, command: Command): BuildPoolOptions {
  const { pool: out, rank: r, alpha, targets, weightDecay, dryRun: _, backend: __, ...rest } = flags;
  const { epochs, batchSize, gradientAccumulation, learningRate, ...unlike } = rest;
  const { general: isResidual, generalRank, generalLearningRate, generalEpochs, ...likeJoint } = unlike;
  const { jointFraction: fraction, jointLearningRate, jointBatchSize: jointBatch, ...others } = likeJoint;
  const ofGeneral = {
    '--general-rank': generalRank,
    '--general-learning-rate': generalLearningRate,
    '--general-epochs': generalEpochs,
  };
  if (!isResidual) refuseWithout('--general', ofGeneral, command);
  const general = isResidual
    ? { r: generalRank ?? r, learningRate: generalLearningRate ?? learningRate, epochs: generalEpochs ?? epochs }
    : undefined;
  const ofJoint = { '--joint-learning-rate': jointLearningRate, '--joint-batch-size': jointBatch };
  if (fraction === undefined) refuseWithout('--joint-fraction', ofJoint, command);
  const joint =
    fraction === undefined
      ? undefined
      : { fraction, learningRate: jointLearningRate ?? learningRate * JOINT_RATE_SHARE, batchSize: jointBatch };
  const { trainer: name, python, trainerDtype: dtype, trainerProcesses: processes, jobOnly, ...options } = others;
  const ofTorch = {
    '--job-only': jobOnly || undefined,
    '--trainer-dtype': dtype === TRAINER_DEFAULTS.dtype ? undefined : dtype,
    '--trainer-processes': processes > 1 ? processes : undefined,
  };
  if (name !== 'torch') refuseWithout('--trainer torch', ofTorch, command);
  const trainer = { name, python, dtype, processes };
  const { training: defaults } = BUILD_DEFAULTS;
  const { seed } = options;
  const adamw = { ...defaults.adamw, weightDecay };
  const steps = { epochs, batchSize, gradientAccumulation, learningRate };
  const training = { ...defaults, ...steps, loraAlpha: alpha ?? 2 * r, seed, adamw };
  return {
    ...BUILD_DEFAULTS,
    ...options,
    out,
    r,
    general,
    joint,
    targets: parseTargets(targets, command),
    training,
    trainer,
  };
}

/** Flags that say nothing without another one. @param flags by their names; undefined where one is not given */
function refuseWithout(needed: string, flags: Record<string, unknown>, command: Command): void {
  const given = Object.keys(flags).filter((flag) => flags[flag] !== undefined);
  if (given.length > 0) command.error(`error: ${given.join(', ')} without ${needed}`);
}

/** What no family has is refused at once; whether the model's has it, when the model is opened. */
function parseTargets(text: string, command: Command): readonly string[] | 'all' {
  if (text === 'all') return text;
  const wanted = text.split(',').map((part) => part.trim());
  const unknown = wanted.filter((name) => !PROJECTIONS.includes(name));
  if (unknown.length > 0) {
    command.error(`error: unknown target ${unknown.join(', ')}; choose from ${PROJECTIONS.join(', ')}`);
  }
  return wanted;
}

function clusters(text: string): number | 'auto' {
  return text === 'auto' ? 'auto' : wholeNumber(1, 4096)(text);
}
