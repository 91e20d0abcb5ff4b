/**
 * The pools that a run blends from, each built once and kept in the run's work directory: the pool itself, those of the
 * ablation, and one LoRA on everything, which is a pool of one.
 */

import { join } from 'node:path';
import { sha256 } from '../files/digest.js';
import { PLAIN, type PromptForm, promptRecord } from '../hf/prompt-form.js';
import { buildPool } from '../pool/build.js';
import {
  BUILD_DEFAULTS,
  type BuildHooks,
  type BuildPoolOptions,
  type GeneralOptions,
  JOINT_RATE_SHARE,
} from '../pool/inputs.js';
import { isPoolDirectory } from '../pool/pool.js';
import { discardWork } from '../pool/work-directory.js';
import { atRate, type BenchConfig, type BenchPool, findBenchPath } from './settings.js';
import type { TrainingSet } from './users.js';

/** What a build may be told beside its settings: nothing of it is in a pool's name. */
export type MoreBuildOptions = Partial<Pick<BuildPoolOptions, 'trainer' | 'memory' | 'checkpointSeconds' | 'fresh'>>;

export class PoolStore {
  readonly #config: BenchConfig;
  readonly #training: TrainingSet;
  readonly #modelDigest: string;
  readonly #work: string;
  readonly #form: PromptForm;
  /**
   * @param modelDigest goes into the pools' names, as the data's digests do: another base gets pools of its own
   * @param form in which prompts are trained: the run's
   */
  constructor(config: BenchConfig, training: TrainingSet, modelDigest: string, work: string, form = PLAIN) {
    this.#form = form;
    this.#config = config;
    this.#training = training;
    this.#modelDigest = modelDigest;
    this.#work = work;
  }

  /** Where the pool of these settings is, built or not. */
  path(pool: BenchPool): string {
    if (pool.dir !== undefined) return findBenchPath(pool.dir);
    const { data: _data, ...settings } = pool;
    const named = {
      ...settings,
      data: this.#training.digests,
      model: this.#modelDigest,
      prompt: promptRecord(this.#form),
    };
    return join(this.#work, 'pools', sha256(JSON.stringify(named)).slice(0, 16));
  }

  /**
   * One LoRA on everything, as a pool of one: of the base LoRAs' rank, or with as many parameters as all of them and the general adapter.
   * It is trained as long as a residual pool is in both phases.
   *
   * The scale lora_alpha / r stays. The larger one wants a lower learning rate than the pool's: with N times the rank, the
   * steps of AdamW add up to N times the change (docs/experiments.md).
   */
  oneLora(total: boolean): BenchPool {
    const { pool, one_lora: same, one_lora_total: larger } = this.#config;
    const { dir: _dir, general: _general, joint: _joint, ...settings } = pool;
    const general = generalOf(pool);
    const factor = total ? pool.clusters + (general?.r ?? 0) / pool.rank : 1;
    const changes = total ? larger : same;
    return {
      ...settings,
      ...(changes.learning_rate !== undefined && atRate(changes.learning_rate)),
      epochs: pool.epochs + (general?.epochs ?? 0),
      clusters: 1,
      embedding: 'tfidf',
      centred: false,
      mode: 'joint',
      rank: total ? pool.rank * pool.clusters + (general?.r ?? 0) : pool.rank,
      lora_alpha: pool.lora_alpha * factor,
      ...changes,
    };
  }

  /** The pools of a configuration in which some settings are settled. */
  of(config: BenchConfig): PoolStore {
    return new PoolStore(config, this.#training, this.#modelDigest, this.#work, this.#form);
  }

  /** What `crayon build-pool` would be told to build it. */
  buildOptions(pool: BenchPool, more: MoreBuildOptions = {}): BuildPoolOptions {
    const { dir: _dir, general: _general, joint, data, rank: r, epochs, ...unlike } = pool;
    const { learning_rate: learningRate, learning_rates: _rates, held_out: heldOut, ...rest } = unlike;
    const { batch_size: batchSize, lora_alpha: loraAlpha, ...same } = rest;
    return {
      ...BUILD_DEFAULTS,
      ...same,
      model: findBenchPath(this.#config.model),
      data: data.map(findBenchPath),
      dataDir: this.#config.data_dir,
      out: this.path(pool),
      r,
      heldOut,
      general: generalOf(pool),
      joint: joint && {
        fraction: joint.fraction,
        learningRate: joint.learning_rate ?? learningRate * JOINT_RATE_SHARE,
        batchSize: joint.batch_size,
      },
      promptForm: this.#form.kind,
      system: this.#form.kind === 'chat' ? this.#form.system : undefined,
      long: 'truncate',
      training: { ...BUILD_DEFAULTS.training, epochs, batchSize, learningRate, loraAlpha },
      force: true,
      checkpointSeconds: 15,
      ...more,
    };
  }

  /** Builds the pool unless it is there; continues a build that was stopped. */
  async ensure(pool: BenchPool, hooks: BuildHooks, more?: MoreBuildOptions): Promise<string> {
    const out = this.path(pool);
    if (pool.dir !== undefined) return out;
    if (isPoolDirectory(out)) discardWork(out);
    else await buildPool(this.buildOptions(pool, more), hooks);
    return out;
  }
}

/** What a residual pool's first phase is told. */
function generalOf({ general, rank, learning_rate: rate, epochs }: BenchPool): GeneralOptions | undefined {
  if (general === undefined) return undefined;
  const given = general === true ? {} : general;
  return { r: given.rank ?? rank, learningRate: given.learning_rate ?? rate, epochs: given.epochs ?? epochs };
}
