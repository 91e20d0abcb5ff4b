/** `crayon blend`: one merged adapter for a user, from a pool and 3 to 50 examples. */

import type { Command } from 'commander';
import { type BlendPoolOptions, type BlendPoolResult, blendPool } from '../blend/blend-pool.js';
import { ESTIMATORS, EVIDENCE_LAMBDA } from '../blend/coefficients.js';
import { FROM_BLEND_DEFAULTS, type FromBlendOptions } from '../blend/from-blend-options.js';
import type { ChosenBlend } from '../choose/choose-blend.js';
import { CrayonError } from '../core/errors.js';
import { bar, formatBytes, formatDuration } from '../core/format.js';
import { openPool } from '../pool/pool.js';
import { STANDARD_TAU } from '../pool/standards.js';
import { isPoolUrl } from '../remote/url.js';
import type { StepReport } from '../train/trainer.js';
import {
  anyBaseOption,
  type BackendFlag,
  backendOption,
  byteCount,
  choice,
  decimal,
  numberList,
  POOL_PLACE,
  type PoolFlags,
  poolOptions,
  splitOptions,
  turnsOption,
  wholeNumber,
} from './options.js';
import { placeOf } from './pool-place.js';
import { choiceTable, choiceWords } from './show-choice.js';
import { trainedWords } from './show-trained.js';
import { stopSignal } from './stop-signal.js';
import type { Terminal } from './terminal.js';

interface Flags
  extends Omit<
      BlendPoolOptions,
      | 'examples'
      | 'tau'
      | 'coefficients'
      | 'threads'
      | 'onProgress'
      | 'forward'
      | 'chooser'
      | 'loraFromBlend'
      | 'signal'
      | 'onPlan'
      | 'onStep'
      | 'fetchMembers'
      | 'blendElsewhere'
    >,
    Omit<FromBlendOptions, 'rank'>,
    PoolFlags,
    BackendFlag {
  examples?: string;
  choose: boolean;
  blendOnServer: boolean;
  chooseSeconds?: number;
  chooseTrained: boolean;
  /** its rank */
  loraFromBlend?: number;
  temperature?: number;
  coefficients?: number[];
}

const HELP = `
The examples' mean embedding is compared with the pool's centroids; the N similarities become the coefficients of
the blend. Nothing is trained and nothing leaves the device. The result is a PEFT directory.

With --choose the examples decide how they are blended: each is left out once, and answered by what the others make,
under every candidate.

With --lora-from-blend the blend is where a LoRA of that rank begins, which is then trained on the examples. A killed
training continues where it was when the command is repeated.

With an address as --pool, manifest and centroids are fetched once, and then the adapters that have a share in the
blend: with --top-k those alone. Nothing about the examples is sent. With --blend-on-server no adapter of the pool is
fetched: the device sends N coefficients to \`crayon serve-pool\` and gets the blend.

Examples:
  $ crayon blend --pool pool --examples mine.jsonl --out my-adapter
  $ crayon blend --pool https://example.org/pools/demo --examples mine.jsonl --top-k 2 --out my-adapter
  $ crayon blend --pool https://example.org/demo --blend-on-server --examples mine.jsonl --out my-adapter
  $ crayon blend --pool pool --examples mine.jsonl --out my-adapter --combine svd --rank 16
  $ crayon blend --pool pool --examples mine.jsonl --out my-adapter --top-k 2 --temperature 0.05
  $ crayon blend --pool pool --examples mine.jsonl --out my-adapter --choose
  $ crayon blend --pool pool --examples mine.jsonl --out my-adapter --lora-from-blend 8
  $ crayon blend --pool pool --coefficients 0.7,0.3,0,0 --out by-hand`;

const COMBINE = 'cat is exact; svd is the best approximation of a rank; linear is not the same sum';
const LAMBDA = `of label-evidence: how much the loss counts beside similarity (default: ${EVIDENCE_LAMBDA})`;
const RANK = 'rank of the svd (default: the largest rank in the pool), or limit for the others';
const FROM_BLEND = 'train a LoRA of this rank on the examples, from the blend on';
const MEMORY = 'most that the process may take while it trains, such as 2GB (default: three quarters of what is free)';
const TRAINED = 'with --choose: try --refine and --lora-from-blend too, at their defaults where they are not given';
const ON_SERVER =
  'send the coefficients (N numbers, rounded) to the serve-pool at --pool, which blends; nothing else is sent';
const LONG = 'examples beyond the context: refuse them, or cut the front of their prompts';

export function blendCommand(command: Command, terminal: Terminal): void {
  const estimators = ESTIMATORS.filter((name) => name !== 'given');
  command
    .requiredOption('--pool <place>', POOL_PLACE)
    .option('--blend-on-server', ON_SERVER, false)
    .option('--examples <file>', "the user's examples: JSONL, JSON, CSV or YAML");
  splitOptions(poolOptions(command))
    .addOption(turnsOption())
    .option('--model <path>', "the base model, a directory or a GGUF file (default: where the pool's manifest says)")
    .requiredOption('--out <dir>', 'adapter directory to write')
    .addOption(choice('--estimator <name>', 'how similarities become coefficients', estimators, 'similarity'))
    .option(
      '--temperature <t>',
      `of softmax(cos / t) (default: the pool's, ${STANDARD_TAU} with --standardise)`,
      decimal(0),
    )
    .option('--standardise', "measure similarities by those of the pool's own examples", false)
    .option('--lambda <x>', LAMBDA, decimal(0, true))
    .option(
      '--refine <steps>',
      "gradient steps of the coefficients alone, on the examples' answers",
      wholeNumber(1, 100),
    )
    .option('--lora-from-blend <rank>', FROM_BLEND, wholeNumber(1, 1024))
    .option('--steps <n>', `of that training (default: ${FROM_BLEND_DEFAULTS.steps})`, wholeNumber(1, 100_000))
    .option('--learning-rate <x>', "its highest (default: half of the pool's own)", decimal(0))
    .option('--batch-size <n>', `examples a step (default: ${FROM_BLEND_DEFAULTS.batchSize})`, wholeNumber(1))
    .option('--pull <x>', `weight decay towards the blend (default: ${FROM_BLEND_DEFAULTS.pull})`, decimal(0, true))
    .option('--seed <n>', `of its batches (default: ${FROM_BLEND_DEFAULTS.seed})`, wholeNumber(0))
    .option('--memory <size>', MEMORY, byteCount)
    .option('--checkpoint-seconds <s>', 'time between its checkpoints (default: 60)', decimal(0))
    .option('--fresh', 'discard what an interrupted training left')
    .option('--top-k <k>', 'keep the k largest coefficients and renormalise', wholeNumber(1))
    .option('--choose', 'let the examples choose how they are blended, by leave-one-out through the base model', false)
    .option('--choose-seconds <s>', 'for that; candidates not reached are not tried (default: 120)', decimal(0))
    .option('--choose-trained', TRAINED, false)
    .option('--coefficients <list>', 'give the coefficients by hand instead, N numbers', numberList)
    .addOption(choice('--combine <type>', COMBINE, ['cat', 'svd', 'linear'], 'cat'))
    .option('--rank <r>', RANK, wholeNumber(1))
    .addOption(choice('--dtype <type>', 'how the adapter is stored', ['F32', 'F16', 'BF16'], 'F32'))
    .addOption(choice('--long <policy>', LONG, ['error', 'skip', 'truncate'], 'error'))
    .addOption(anyBaseOption())
    .option('--force', 'replace an existing adapter directory', false)
    .addOption(backendOption())
    .addHelpText('after', HELP)
    .action((flags: Flags) => {
      refuseBoth(flags, command);
      return run(flags, terminal);
    });
}

/** What decides the blend, beside --choose, which does. */
const DECIDED = ['estimator', 'temperature', 'standardise', 'lambda', 'topK', 'coefficients'] as const;
const OF_CHOICE = ['chooseSeconds', 'chooseTrained'] as const;
const OF_TRAINING = [
  ...['steps', 'learningRate', 'batchSize', 'pull', 'seed', 'memory', 'checkpointSeconds', 'fresh'],
] as ReadonlyArray<keyof FromBlendOptions>;

function refuseBoth({ choose, chooseTrained, examples, loraFromBlend }: Flags, command: Command): void {
  const bad = (problem: string, hint: string) => new CrayonError('bad-option', problem, { hint });
  const given = (names: readonly string[]) => {
    const found = names.filter((name) => command.getOptionValueSource(name) === 'cli');
    return found.map((name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`).join(', ');
  };
  const refuse = (names: readonly string[], problem: (flags: string) => string, hint: string) => {
    const flags = given(names);
    if (flags !== '') throw bad(problem(flags), hint);
  };
  if (!choose) refuse(OF_CHOICE, (flags) => `${flags} without --choose`, 'Add --choose, or leave it out.');
  if (choose && examples === undefined)
    throw bad('--choose needs --examples', 'Give a file of 3 to 50 examples with their answers.');
  const both = (flags: string) => `--choose and ${flags} are both given`;
  if (choose) refuse(DECIDED, both, 'Let the examples choose, or decide by these.');
  if (loraFromBlend === undefined && !chooseTrained) {
    refuse(OF_TRAINING, (flags) => `${flags} without --lora-from-blend`, 'Add --lora-from-blend with a rank.');
  }
  if (loraFromBlend !== undefined && !choose) {
    const hint = 'A LoRA from the blend begins as the svd of its own rank.';
    refuse(['combine', 'rank'], (flags) => `--lora-from-blend and ${flags} are both given`, hint);
  }
}

/** What is looked at of all adapters is looked at where they are. */
function refuseOnServer({ pool, choose, refine, loraFromBlend, estimator, combine }: Flags): void {
  const ofAdapters =
    (choose && '--choose') ||
    (refine !== undefined && '--refine') ||
    (loraFromBlend !== undefined && '--lora-from-blend') ||
    (estimator === 'label-evidence' && '--estimator label-evidence') ||
    (combine === 'linear' && '--combine linear');
  if (ofAdapters) {
    throw new CrayonError('bad-option', `--blend-on-server and ${ofAdapters} are both given`, {
      hint: 'Leave out --blend-on-server: the adapters are then fetched and blended here.',
    });
  }
  if (isPoolUrl(pool)) return;
  throw new CrayonError('bad-option', `--blend-on-server with the directory ${pool}`, {
    hint: 'Give the address of a `crayon serve-pool` as --pool.',
  });
}

async function run(flags: Flags, terminal: Terminal): Promise<void> {
  if (flags.blendOnServer) refuseOnServer(flags);
  const { temperature, coefficients, backend, choose, chooseSeconds: seconds, chooseTrained, ...most } = flags;
  const { steps, learningRate, batchSize, pull, seed, memory, checkpointSeconds, fresh, ...others } = most;
  const { loraFromBlend: rank, refine, poolKeyEnv: _key, poolCache: _bytes, cacheDir: _dir, ...rest } = others;
  const training = { steps, learningRate, batchSize, pull, seed, memory, checkpointSeconds, fresh };
  const estimator = coefficients === undefined ? flags.estimator : 'given';
  const isTrained = rank !== undefined || refine !== undefined;
  if (estimator === 'given' && flags.examples !== undefined && !isTrained) {
    throw new CrayonError('bad-option', '--coefficients and --examples are both given', {
      hint: 'Leave out --examples to blend by hand, or --coefficients to blend by similarity.',
    });
  }
  if (estimator !== 'given' && estimator !== 'uniform' && flags.examples === undefined) {
    throw new CrayonError('bad-option', `--estimator ${estimator} needs --examples`, {
      hint: 'Give a JSONL file of 3 to 50 examples, or --coefficients, or --estimator uniform.',
    });
  }
  const place = await placeOf(flags.pool, flags, terminal.streams.env);
  const { dir: pool } = place;
  if (choose || refine !== undefined || estimator === 'label-evidence') await place.members(); // all are looked at
  const fetchMembers = (coefficients: readonly number[]) => place.members(coefficients);
  const blendElsewhere = flags.blendOnServer
    ? async (coefficients: readonly number[]) => {
        const { blendOnServer } = await import('../remote/blends.js');
        const combine = flags.combine === 'svd' ? 'svd' : 'cat';
        return await blendOnServer(place.remote!, { ...flags, coefficients, combine });
      }
    : undefined;
  let isLoaded = false;
  const onBackend = (name: string) => {
    isLoaded = true;
    terminal.note(`Back end: ${name}`);
  };
  const stop = rank === undefined && !chooseTrained ? undefined : stopSignal();
  try {
    const result = await terminal.during(async ({ update }) => {
      const how = {
        ...rest,
        pool,
        fetchMembers,
        blendElsewhere,
        forward: { backend, onBackend },
        signal: stop?.signal,
        onProgress: (done: number, total: number) => update('blend', done, total),
        onPlan: ({ bytes }: { bytes: number }) =>
          terminal.note(`Training takes up to ${formatBytes(bytes)} of memory.`),
        onStep: ({ step, totalSteps, loss }: StepReport) =>
          update('train', step, totalSteps, `loss ${loss.toFixed(3)}`),
      };
      if (!choose) {
        const loraFromBlend = rank === undefined ? undefined : { rank, ...training };
        return await blendPool({ ...how, estimator, tau: temperature, coefficients, refine, loraFromBlend });
      }
      const { chooseBlend } = await import('../choose/choose-blend.js');
      const onTried = (done: number, total: number) => update('choose', done, total);
      const ofPool = chooseTrained ? Math.max(...openPool(pool).manifest.adapters.map(({ r }) => r)) : undefined;
      const tried = rank ?? ofPool;
      const trained = {
        refine: refine ?? (chooseTrained ? 1 : undefined),
        loraFromBlend: tried === undefined ? undefined : { rank: tried, ...training },
      };
      return await chooseBlend({ ...how, examples: flags.examples!, seconds, trained, onTried });
    });
    show(result, pool, flags, terminal);
  } finally {
    stop?.release();
    if (isLoaded) (await import('../model/backend.js')).releaseBackend();
  }
}

function show(result: BlendPoolResult | ChosenBlend, pool: string, flags: Flags, terminal: Terminal): void {
  const { coefficients, similarities, coverage, blend, embedMs, totalMs } = result;
  const chosen = 'chosen' in result ? result.chosen : undefined;
  const tried = chosen?.candidates.map(({ candidate: { name }, seconds }) => ({ name, seconds }));
  terminal.document({ out: flags.out, combine: flags.combine, ...result, chosen: undefined, tried });
  const { bold, cyan, dim, green, yellow } = terminal.colour;
  const { clusters, general } = openPool(pool).manifest;

  if (chosen !== undefined) {
    choiceTable(
      result.choice!,
      terminal,
      chosen.candidates.map(({ seconds }) => seconds),
    );
    for (const sentence of choiceWords(result.choice!, flags.pool)) terminal.print(sentence);
    terminal.print();
  }
  terminal.print(bold('Coefficients'));
  const largest = Math.max(...coefficients.map(Math.abs));
  const order = coefficients.map((_, n) => n).sort((i, j) => coefficients[j]! - coefficients[i]!);
  for (const n of order) {
    const alpha = coefficients[n]!;
    const cos = similarities === null ? '' : dim(`  cos ${signed(similarities[n]!)}`);
    const tasks = Object.keys(clusters[n]!.tasks).slice(0, 3).join(', ');
    const drawn = cyan(bar(largest === 0 ? 0 : Math.abs(alpha) / largest, 24));
    terminal.print(`  ${String(n).padStart(3)}  ${drawn}  ${signed(alpha)}${cos}  ${dim(tasks)}`);
  }
  if (general !== undefined) terminal.print(dim(`  on the general adapter (rank ${general.r}) at 1.000`));
  if (coverage !== null) {
    const paint = coverage.verdict === 'covered' ? green : yellow;
    terminal.print(`\n${paint(coverage.sentence)}`);
  }
  if (result.trained !== undefined) {
    const { resumed, ...trained } = result.trained;
    const after = resumed ? ', continued from a checkpoint' : '';
    terminal.print(`\n${bold('Trained from the blend:')} ${trainedWords(trained)}${after}`);
  }
  const approximated = blend.modules.filter((m) => m.relativeError > 0);
  if (flags.combine === 'svd' && result.trained === undefined && approximated.length > 0) {
    terminal.print(`\n${bold('Relative error by module')} ${dim(`(rank ${blend.rank} of the exact sum)`)}`);
    for (const { name, relativeError } of approximated) terminal.print(`  ${name}  ${relativeError.toExponential(2)}`);
  }
  for (const notice of blend.notices) terminal.warn(notice);
  terminal.print(
    `\n${green('Adapter written:')} ${flags.out} (${blend.modules.length} modules, rank ${blend.rank}, ${formatBytes(blend.bytes)})`,
  );
  terminal.print(
    `${formatDuration(totalMs)}: ${'chooseMs' in result ? `choosing ${formatDuration(result.chooseMs)}, ` : ''}embedding ${formatDuration(embedMs)}, blending ${formatDuration(blend.ms)}`,
  );
}

const signed = (x: number) => (x < 0 ? '' : ' ') + x.toFixed(3);
