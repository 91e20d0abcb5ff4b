/**
 * The configuration of `crayon bench`, key by key (configs/bench shows it): which model, which pool, which users, and which
 * ways of customising are compared; and where its files are. src/bench/config.ts reads it; that strategies have a name of the
 * registry is checked there.
 */

import { isAbsolute } from 'node:path';
import * as z from 'zod';
import { EXAMPLE_ESTIMATORS, EXAMPLE_LIMITS } from '../blend/coefficients.js';
import { FROM_BLEND_DEFAULTS } from '../blend/from-blend-options.js';
import { CrayonError } from '../core/errors.js';
import { exists } from '../files/io.js';
import { shippedPath } from '../files/package.js';
import { filled, notNegative, positive, text, whole } from '../files/schema.js';
import { JOINT_RATE_SHARE, TRAINING_MODES } from '../pool/inputs.js';
import { DEVICES_SCHEMA, LIVE_SCHEMA, LOAD_SCHEMA } from './live/settings.js';
import { USER_KINDS } from './types.js';

const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/, 'a short name of letters, digits and . _ + -')
  .describe('names files');
const { min, max } = EXAMPLE_LIMITS;
const SHOWN = `${min} to ${max}`;
const shownCount = z.int(SHOWN).min(min, SHOWN).max(max, SHOWN);
const mode = z.enum(TRAINING_MODES);

/** In this order the settings name a pool's directory (PoolStore.path): another order would build every pool again. */
const POOL = z.strictObject({
  clusters: whole(1).default(8).describe('number of base LoRAs'),
  embedding: text.default('first-attention').describe('first-attention, last-hidden, hidden:<layer> or tfidf'),
  centred: z.boolean().default(true).describe("less the training set's mean embedding"),
  tau: positive.default(0.1).describe('temperature of the gate softmax(cos / tau)'),
  mode: mode.default('joint').describe("joint: the mixture is trained; independent: each cluster's LoRA by itself"),
  rank: whole(1).default(4).describe('of each base LoRA'),
  lora_alpha: positive.default(8).describe('scale of the base LoRAs is this / rank'),
  epochs: positive.default(2).describe('of the training'),
  batch_size: whole(1).default(8).describe('examples a step'),
  learning_rate: positive.default(0.0025).describe('the highest'),
  learning_rates: filled(positive)
    .optional()
    .describe(
      'a pool is built with each, and the one whose gate has the least loss on held_out is taken, at each seed; one LoRA likewise',
    ),
  seed: whole(0).default(0).describe('of draw, clusters and training'),
  general: z
    .union([
      z.literal(true),
      z.strictObject({
        rank: whole(1).optional().describe("where it is not the base LoRAs'"),
        learning_rate: positive.optional().describe('likewise'),
        epochs: positive.optional().describe('likewise'),
      }),
    ])
    .optional()
    .describe('one LoRA on everything is trained first and kept below the base LoRAs: true, or its settings'),
  dir: text
    .optional()
    .describe('a finished pool to use instead of building one; {seed} in it stands for the seed of seeds'),
  data: filled(text).describe('data sets that it is, or was, trained on; no example of theirs is shown or tested'),
  split: text.optional().describe('of the data sets'),
  limit: whole(1).optional().describe('examples of each data set'),
  held_out: whole(1).optional().describe('for each cluster, not trained on: what label evidence is measured by'),
  joint: z
    .strictObject({
      fraction: positive.describe("its steps, as a share of mode joint's"),
      learning_rate: positive.optional().describe(`the highest, where it is not ${JOINT_RATE_SHARE} of the pool's`),
      batch_size: whole(1).optional().describe("examples a step, where it is not the pool's"),
    })
    .optional()
    .describe('of mode separate: steps that all base LoRAs share, when each has been trained by itself'),
});
export type BenchPool = z.output<typeof POOL>;

/** A pool for each rate that is to be tried. */
export function atEachRate({ learning_rates: rates, ...pool }: BenchPool): BenchPool[] {
  return rates?.map((rate) => ({ ...pool, learning_rate: rate })) ?? [pool];
}

/** What makes a pool one of this rate, and of no other that was to be tried. */
export function atRate(learning_rate: number): Pick<BenchPool, 'learning_rate' | 'learning_rates'> {
  return { learning_rate, learning_rates: undefined };
}

const USER = z.strictObject({
  name,
  kind: z.enum(USER_KINDS).describe("what the user's task is to the pool"),
  tasks: filled(text).describe('YAML descriptions; examples and tests come from all in equal parts'),
  k: z
    .union([shownCount, filled(shownCount)])
    .default(10)
    .describe('examples shown; one user for each number of a list'),
  seeds: filled(whole(0))
    .default([0])
    .describe('of the draw of the examples; one user for each, at each seed of the run'),
});

/** `5`, `5+0.25`, `5+0.25@0.005`: a batch size, and of a joint phase the share of mode joint's steps and the learning rate. */
export const SEPARATE_SETTING = /^([1-9]\d*)(?:\+(\d*\.?\d+)(?:@(\d*\.?\d+(?:e-\d+)?))?)?$/;
/** `8@0.005`: a batch size and a learning rate. */
export const TRAINING_SETTING = /^([1-9]\d*)@(\d*\.?\d+(?:e-\d+)?)$/;
export const FROM_BLEND_SETTING = /^([1-9]\d*)@(\d*\.?\d+(?:e-\d+)?)(?::(\d*\.?\d+))?$/;

/** Each builds pools of its own. */
const OF_POOL = {
  embedding: z
    .array(z.string().regex(/^[^+]+(\+centred)?$/, '<kind> or <kind>+centred'))
    .optional()
    .describe('a kind, or <kind>+centred'),
  centred: z.array(z.boolean()).optional().describe("less the training set's mean embedding, or not"),
  tau: z.array(positive).optional().describe('temperature of the gate, at training and at blending'),
  mode: z.array(mode).optional().describe('of the training'),
  training: z
    .array(z.string().regex(TRAINING_SETTING, '<batch size>@<learning rate>'))
    .optional()
    .describe("<batch size>@<learning rate>, in the pool's mode"),
  separate: z
    .array(z.string().regex(SEPARATE_SETTING, '<batch size>, +<fraction> and @<learning rate>'))
    .optional()
    .describe(
      "mode separate with this batch size; behind +, a joint phase's share of the steps, in batches of the pool's size",
    ),
  epochs: z.array(positive).optional().describe('of the training'),
  clusters: z.array(whole(1)).optional().describe('numbers of base LoRAs'),
};
export const REBUILDING = Object.keys(OF_POOL) as Array<keyof typeof OF_POOL>;

const ABLATION = z.strictObject({
  strategies: filled(z.enum(['crayon', 'per-query']))
    .default(['crayon'])
    .describe('run with each setting'),
  ...OF_POOL,
  blend_tau: z.array(positive).optional().describe('temperature at blending alone'),
  estimator: z.array(z.enum(EXAMPLE_ESTIMATORS)).optional().describe('how similarities become coefficients'),
  lambda: z.array(notNegative).optional().describe('label evidence: how much the loss of each base LoRA alone counts'),
  standard_tau: z.array(positive).optional().describe('temperature at blending over standardised similarities'),
  refine: z.array(whole(1)).optional().describe('gradient steps of the coefficients alone, on the examples shown'),
  lora_from_blend: z
    .array(z.string().regex(FROM_BLEND_SETTING, '<steps>@<learning rate>, and :<pull>'))
    .optional()
    .describe('a LoRA from the blend, otherwise by lora_from_blend: <steps>@<learning rate>, and :<pull> behind it'),
  top_k: z.array(whole(1)).optional().describe('base LoRAs that are blended at most'),
  combine: z
    .array(z.string().regex(/^(svd:[1-9]\d*|linear)$/, 'svd:<rank> or linear'))
    .optional()
    .describe('svd:<rank> or linear'),
});

const oneLora = z
  .strictObject({
    learning_rate: positive.optional().describe("where it is not the pool's"),
    learning_rates: filled(positive)
      .optional()
      .describe('one is trained with each, and the one with the least loss on held_out is taken'),
    epochs: positive.optional().describe('likewise'),
  })
  .default({});

export const BENCH_SCHEMA = z.strictObject({
  name,
  seed: whole(0).default(0).describe('of the tests that are drawn, and of intervals'),
  seeds: filled(whole(0))
    .optional()
    .describe(
      'the run is repeated with each: pools, draws of examples and tests vary with it; without, with seed alone',
    ),
  model: text.describe('The base model: a Hugging Face directory or a GGUF file'),
  data_dir: text.optional().describe("where the paths inside a task's YAML start"),
  shown_split: text.default('heldout').describe('split of every task that shown examples come from'),
  test_split: text.default('test').describe('split that tests come from'),
  test_examples: whole(2).default(100).describe('of each user'),
  latency_examples: whole(0)
    .default(5)
    .describe('of these, answered one at a time as well, to measure the latency of an answer'),
  batch_size: whole(1).default(32).describe('sequences read at a time'),
  max_tokens: whole(1).default(24).describe('of a generated answer'),
  pool: POOL.describe('what is blended'),
  users: filled(USER).describe('each shows examples of a task, or of a mixture, and is tested on others'),
  strategies: filled(text).describe('ways of customising, in the order in which they are run'),
  random: z
    .strictObject({ seeds: whole(1).default(3).describe('draws of each user') })
    .prefault({})
    .describe('blends at random'),
  one_lora: oneLora.describe("training of the one LoRA on everything, where it should differ from the pool's"),
  one_lora_total: oneLora.describe('likewise of the one with as many parameters as the whole pool'),
  held_out: z
    .strictObject({
      data: filled(text).optional().describe("data sets to draw from, instead of the pool's"),
      split: text.default('train').describe('of them'),
      examples: whole(1).default(20).describe('of each data set'),
    })
    .prefault({})
    .describe('examples that no pool was trained on and that no user is shown or tested on, to choose learning_rates'),
  few_shot: z
    .strictObject({
      steps: whole(1).default(100).describe('a step is a batch; the k examples are gone through again and again'),
      batch_size: whole(1).default(8).describe('examples a step'),
      learning_rate: positive.default(0.005).describe('the highest'),
    })
    .prefault({})
    .describe('the LoRA on the k examples'),
  lora_from_blend: z
    .strictObject({
      rank: whole(1).optional().describe("where it is not the pool's"),
      steps: whole(1).default(FROM_BLEND_DEFAULTS.steps).describe('a step is a batch, as in few_shot'),
      batch_size: whole(1).default(FROM_BLEND_DEFAULTS.batchSize).describe('examples a step'),
      learning_rate: positive
        .optional()
        .describe('the highest, where it is not half of what the pool was trained with'),
      pull: notNegative.default(FROM_BLEND_DEFAULTS.pull).describe('weight decay towards the blend'),
    })
    .prefault({})
    .describe('the LoRA on the k examples that begins as the blend'),
  lorahub: z
    .strictObject({
      evaluations: whole(1).default(40).describe('of the loss on the examples'),
      bound: positive.default(1.5).describe('on the size of every coefficient'),
      l1: notNegative.default(0.05).describe('penalty on the mean size of the coefficients'),
    })
    .prefault({})
    .describe('the defaults are those of arXiv 2307.13269'),
  wrong_user: z
    .strictObject({
      alike: z
        .array(filled(name))
        .default([])
        .describe('lists of tasks of one kind, by their files without .yaml; other tasks are of a kind of their own'),
    })
    .prefault({})
    .describe("Crayon shown another user's examples, of no task of a kind with this user's"),
  ablation: ABLATION.nullable().default(null).describe('one option of Crayon at a time, all others at their defaults'),
  server: z
    .strictObject({ model: text.describe('A Hugging Face directory or a GGUF file') })
    .nullable()
    .default(null)
    .describe('a larger model, scored in the same way: what the hybrid can gain'),
  robustness: z
    .strictObject({
      typos: z.number().min(0).max(1).default(0.1).describe('share of the words of four letters and more that get one'),
      seed: whole(0).default(0).describe('of the typos and the rewording'),
      device: z
        .boolean()
        .default(false)
        .describe('the device answers the changed prompts too, for the signals that need its answers'),
    })
    .optional()
    .describe('whether a router decides the same of test prompts with typos, and of reworded ones'),
  live: LIVE_SCHEMA.optional().describe('the router on running servers'),
  load: LOAD_SCHEMA.optional().describe('load on running servers'),
  devices: DEVICES_SCHEMA.optional().describe('device classes of your own, for live and load'),
});
export type BenchConfig = z.output<typeof BENCH_SCHEMA>;

/**
 * A path of the configuration as it is on this machine.
 *
 * @throws CrayonError `file-not-found`
 */
export function findBenchPath(path: string): string {
  if (exists(path)) return path;
  try {
    if (!isAbsolute(path)) return shippedPath(path);
  } catch {}
  throw new CrayonError('file-not-found', `${path}: no such file or directory`, {
    hint: 'Paths in a bench configuration start at the working directory.',
  });
}
