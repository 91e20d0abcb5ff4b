/**
 * The instant customisation: a pool and a user's examples to one merged adapter. No gradient, no search, and for the
 * embedding kinds `first-attention` and `tfidf` no forward pass and no tensor library either.
 */

import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import type { ChatMessage } from '../core/chat.js';
import { CrayonError } from '../core/errors.js';
import { meanRows, row } from '../core/vector.js';
import { type Example, loadDataset } from '../data/dataset.js';
import { whyInvalid } from '../data/example.js';
import { recordExamples, type Turns } from '../data/record.js';
import { openBase } from '../gguf/base.js';
import { isGgufPath } from '../gguf/read.js';
import { baseRecord } from '../hf/adapter-record.js';
import type { BaseModel } from '../hf/base-model.js';
import { nameForOthers } from '../hf/base-name.js';
import { isModelDirectory } from '../hf/model.js';
import type { PromptForm } from '../hf/prompt-form.js';
import { leadingBos, type Tokenizer } from '../hf/tokenizer.js';
import { rememberedBase } from '../pool/base-place.js';
import type { ForwardPass } from '../pool/embed/kind.js';
import { embedInSpace, poolSpace, refuseOtherBase } from '../pool/embed/space.js';
import { openPoolFactors } from '../pool/factors.js';
import { idsOf } from '../pool/life/record.js';
import { memberCoefficients, openPool, type Pool, poolDigest, poolForm, poolTemplate } from '../pool/pool.js';
import { type LongPolicy, type PreparedExample, prepareExamples } from '../pool/prepare.js';
import { gateTerms, needed } from '../pool/standards.js';
import { poolTokenizer } from '../pool/vocabulary.js';
import { type BlendOptions, type BlendResult, blendAdapters, type Json } from './blend.js';
import { BARE_MODEL, type ChoiceRecord } from './choice-record.js';
import {
  type BlendChoice,
  type BlendEstimate,
  type Estimator,
  EXAMPLE_LIMITS,
  estimateBlend,
  type SeenExamples,
} from './coefficients.js';
import { coverageByEvidence } from './coverage.js';
import type { TrainedBlendOptions } from './from-blend.js';
import { type FromBlendOptions, fromBlendSettings } from './from-blend-options.js';
import { refineCoefficients } from './refine.js';
import type { TrainedRecord } from './trained-record.js';

/** How errors name examples that come from no file. */
const GIVEN = 'examples';

export interface ShownExample {
  prompt: string;
  completion: string;
  /** the turns before the completion, where it answers a conversation; `prompt` is then their text */
  messages?: readonly ChatMessage[] | undefined;
  /** of a multiple choice, the right one's index as `answer`: what examples that choose are judged by */
  choices?: string[] | undefined;
  answer?: number | undefined;
}

/** How a blend is made; `tau` is the pool's own when absent. */
export interface BlendRule extends BlendChoice {
  estimator: Estimator;
  /** so many gradient steps of the coefficients alone, on the examples' answers; none when absent */
  refine?: number | undefined;
  /** a LoRA that starts from the blend and is trained on the examples; the blend itself when absent */
  loraFromBlend?: FromBlendOptions | undefined;
}

/** A user's examples in a pool's space, and what they were read through. */
export interface ShownInPool {
  pool: Pool;
  source: BaseModel;
  tokenizer: Tokenizer;
  form: PromptForm;
  examples: readonly Example[];
  /** the same as they are trained, with the token that ends the answer */
  prepared: readonly PreparedExample[];
  seen: SeenExamples;
}

export interface Chosen extends Pick<SeenExamples, 'losses'> {
  rule: BlendRule;
  record: ChoiceRecord;
}

/** Decides by the examples how they are to be blended (src/choose): what needs the whole base model is none of this room. */
export interface BlendChooser {
  /** the forward pass that embeds too, where the pool's kind of embedding needs one */
  open(source: BaseModel): Promise<ForwardPass>;
  choose(shown: ShownInPool): Promise<Chosen>;
}

export interface BlendPoolOptions
  extends Pick<BlendOptions, 'out' | 'combine' | 'rank' | 'dtype' | 'force' | 'threads' | 'onProgress'>,
    BlendRule {
  pool: string;
  /** a JSONL, JSON, CSV or YAML file, or the examples themselves; not needed for `uniform` and `given` */
  examples?: string | readonly ShownExample[] | undefined;
  dataDir?: string | undefined;
  split?: string | undefined;
  /** which answers of a file's conversations are examples; `last` when absent */
  turns?: Turns | undefined;
  /** the base model's directory or GGUF file, where it is not where the pool's manifest says */
  model?: string | undefined;
  /** blend although the base model is another one than the pool was built on */
  anyBase?: boolean | undefined;
  /** ends a training after the step in work, with a checkpoint */
  signal?: AbortSignal | undefined;
  /** told before a training in what parts, and so in what memory, it reads the examples */
  onPlan?: TrainedBlendOptions['onPlan'];
  /** told after each of its steps */
  onStep?: TrainedBlendOptions['onStep'];
  /** decides in place of the estimator and its options */
  chooser?: BlendChooser | undefined;
  /** called with the coefficients of all members before their adapters are opened: of a pool that is elsewhere (src/remote) */
  fetchMembers?: ((coefficients: readonly number[]) => Promise<void>) | undefined;
  /** blends in place of this process, which then opens no adapter */
  blendElsewhere?: ((coefficients: readonly number[]) => Promise<ElsewhereBlend>) | undefined;
  long: LongPolicy;
  /** for the embedding kinds that need a forward pass: the tensor back end, or a model that is open already */
  forward?: ForwardPass | undefined;
}

/** Made by another machine, of coefficients (N) that it rounded; its modules' errors are not known (NaN). */
export interface ElsewhereBlend {
  coefficients: number[];
  blend: BlendResult;
}

export interface BlendPoolResult extends BlendEstimate {
  blend: BlendResult;
  /** where the examples chose */
  choice?: ChoiceRecord;
  /** where it was trained on, and whether from a checkpoint */
  trained?: TrainedRecord & { resumed: boolean };
  /** reading, tokenising and embedding the examples */
  embedMs: number;
  totalMs: number;
}

/**
 * @throws CrayonError `examples-count`, `pool-mismatch`, `file-not-found`, and what the parts throw; nothing is left behind
 *
 * @example
 * await blendPool({ pool: 'pool', examples: 'mine.jsonl', out: 'my-adapter', estimator: 'similarity', combine: 'cat',
 *   long: 'error' });
 */
export async function blendPool(options: BlendPoolOptions): Promise<BlendPoolResult> {
  const started = performance.now();
  refuseInside(options.out, options.pool);
  const pool = openPool(options.pool);
  const { manifest } = pool;
  if (trains(options) && options.examples === undefined) {
    const what = options.refine === undefined ? 'a LoRA from the blend' : 'refine';
    throw new CrayonError('examples-count', `${what} needs examples with answers, found none`);
  }
  const { seen, prepared, chosen, embedMs, forward } = await embedShown(options, pool);

  const { rule, record: choice } = chosen ?? { rule: options };
  const { estimator } = rule;
  const { tau } = gateTerms(pool, rule);
  const instant = estimateBlend(pool, estimator, seen, rule);
  const withModel = { ...options, forward };
  const found = rule.refine === undefined ? instant : await refine(withModel, rule.refine, pool, prepared, instant);
  const coverage = choice === undefined ? found.coverage : coverageByEvidence(found.coverage!, choice);
  const estimate: BlendEstimate = { ...found, coverage };

  const { loraFromBlend: how } = rule;
  if (options.blendElsewhere !== undefined) {
    const made = await options.blendElsewhere(estimate.coefficients);
    return { ...estimate, ...made, embedMs, totalMs: performance.now() - started };
  }
  const isBare = choice?.chosen === BARE_MODEL;
  const coefficients = memberCoefficients(manifest, estimate.coefficients).map((x) => (isBare ? 0 : x));
  await options.fetchMembers?.(coefficients);
  const adapters = pool.openMembers(coefficients);
  const factors = options.combine === 'cat' && how === undefined ? null : openPoolFactors(pool);
  try {
    const terms: BlendOptions = {
      ...options,
      adapters,
      factors,
      coefficients,
      baseModel: nameForOthers(manifest.base.name),
      template: poolTemplate(pool) ?? undefined,
      provenance: {
        base: baseRecord(manifest.base) as { [key: string]: Json },
        pool: poolDigest(pool),
        ...(manifest.life === undefined ? {} : { poolVersion: manifest.life.version, clusters: idsOf(manifest) }),
        embedding: manifest.embedding.kind,
        ...(manifest.prompt === undefined ? {} : { prompt: manifest.prompt as { [key: string]: Json } }),
        estimator,
        tau,
        ...(rule.standardise === true ? { standardised: true } : {}),
        ...(estimate.refined === undefined ? {} : { refined: estimate.refined }),
        examples: estimate.examples,
        coverage: coverage?.verdict ?? null,
        // the last of the coefficients is not of a cluster
        ...(manifest.general === undefined ? {} : { general: true }),
        ...(choice === undefined ? {} : { choice }),
      },
    };
    const made =
      how === undefined ? { blend: blendAdapters(terms) } : await train(withModel, how, pool, prepared, terms);
    const totalMs = performance.now() - started;
    return { ...estimate, ...made, ...(choice === undefined ? {} : { choice }), embedMs, totalMs };
  } finally {
    for (const adapter of adapters) adapter.close();
    factors?.close();
  }
}

/** With --force, an output such as pool/adapters/0 would replace a member of the pool it is blended from. */
function refuseInside(out: string, pool: string): void {
  const within = relative(resolve(pool), resolve(out));
  if (within.startsWith('..') || isAbsolute(within)) return;
  throw new CrayonError('bad-option', `${out}: lies in the pool ${pool} that is blended`, {
    hint: 'Choose an output outside of the pool.',
  });
}

/** Steps down the examples' loss from the estimate. */
async function refine(
  { model, forward = {} }: BlendPoolOptions,
  steps: number,
  pool: Pool,
  prepared: readonly PreparedExample[],
  estimate: BlendEstimate,
): Promise<BlendEstimate> {
  const { withPoolLosses } = await import('../pool/adapter-losses.js');
  const source = openBase(model ?? findBase(pool));
  try {
    return await withPoolLosses(pool, source, forward, async (lossesOf) => {
      const start = Float64Array.from(estimate.coefficients);
      const meanLosses = async (mixtures: Float64Array[]) => {
        const losses = await lossesOf(prepared, { mixtures });
        return meanRows(losses, prepared.length, mixtures.length);
      };
      const { coefficients, before, after } = await refineCoefficients(start, meanLosses, { steps });
      return { ...estimate, coefficients: [...coefficients], refined: { steps, before, after } };
    });
  } finally {
    source.close();
  }
}

const trains = ({ refine, loraFromBlend }: Pick<BlendRule, 'refine' | 'loraFromBlend'>): boolean =>
  refine !== undefined || loraFromBlend !== undefined;

/** A LoRA of a stated rank from the blend on. */
async function train(
  { model, forward = {}, signal, onPlan, onStep }: BlendPoolOptions,
  options: FromBlendOptions,
  pool: Pool,
  examples: readonly PreparedExample[],
  terms: BlendOptions,
) {
  const { trainFromBlend } = await import('./from-blend.js');
  const base = openBase(model ?? findBase(pool));
  try {
    const { provenance, dtype } = terms;
    const how = fromBlendSettings(options, pool.manifest);
    // what else was tried says nothing of the training
    const fingerprint = { ...provenance, choice: undefined, dtype, base: base.digest() };
    const hooks = { signal, onPlan, onStep };
    const { resumed, trained, blend } = await trainFromBlend({
      ...terms,
      ...hooks,
      how,
      examples,
      base,
      forward,
      fingerprint,
    });
    return { blend, trained: { ...trained, resumed } };
  } finally {
    base.close();
  }
}

/** What the examples say, where there are any; read, embedded and, where they are to choose, weighed while the base model is open. */
async function embedShown(options: BlendPoolOptions, pool: Pool) {
  const started = performance.now();
  const { examples, chooser, estimator } = options;
  const needsLosses = estimator === 'label-evidence';
  gateTerms(pool, options);
  if (needsLosses) needed(pool, 'loss', 'label evidence');
  if (examples === undefined) {
    const embedMs = performance.now() - started;
    return { seen: null, prepared: [], chosen: undefined, embedMs, forward: options.forward };
  }
  const { read, where } = readShown(options, examples);
  const source = openBase(options.model ?? findBase(pool), { someWeights: chooser === undefined && !needsLosses });
  try {
    refuseOtherBase(pool, source, options.anyBase);
    const opening = performance.now();
    const forward = chooser === undefined ? options.forward : await chooser.open(source);
    const opened = performance.now();
    const addEnd = needsLosses || trains(options) || chooser !== undefined;
    const shown = await embedExamples({ ...options, forward }, { pool, source, read, where, addEnd });
    if (needsLosses) {
      const { withPoolLosses } = await import('../pool/adapter-losses.js');
      shown.seen.losses = await withPoolLosses(pool, source, forward ?? {}, (of) => of(shown.prepared));
    }
    const embedMs = performance.now() - started - (opened - opening);
    const chosen = await chooser?.choose(shown);
    const seen: SeenExamples = { ...shown.seen, losses: chosen?.losses ?? shown.seen.losses };
    return { seen, prepared: shown.prepared, chosen, embedMs, forward };
  } finally {
    source.close();
  }
}

function readShown({ dataDir, split, turns }: BlendPoolOptions, shown: string | readonly ShownExample[]) {
  const isPath = typeof shown === 'string';
  const read = isPath ? loadDataset(shown, { dataDir, split, turns }).examples : givenExamples(shown);
  const where = isPath ? shown : GIVEN;
  refuseCount(`${where} has ${read.length} examples`, read.length);
  return { read, where };
}

/** Embeds a user's examples in a pool's space. @throws CrayonError `examples-count` where too few are left, `example-invalid` */
export async function embedExamples(
  { long, forward }: Pick<BlendPoolOptions, 'long' | 'forward'>,
  {
    pool,
    source,
    read,
    where,
    addEnd,
  }: Pick<ShownInPool, 'pool' | 'source'> & { read: readonly Example[]; where: string; addEnd: boolean },
): Promise<ShownInPool> {
  const tokenizer = poolTokenizer(pool, source);
  const form = poolForm(pool, tokenizer, source.path);
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  const how = { maxLength, long, form, addEnd, vocabSize };
  const { examples: prepared, skipped } = prepareExamples(read, tokenizer, how);
  const found = `${where} has ${prepared.length} examples of at most ${maxLength} tokens, ${skipped} were skipped`;
  refuseCount(found, prepared.length);
  const space = poolSpace(pool);
  const sequences = prepared.map(({ promptIds }) => promptIds);
  const data = await embedInSpace(space, source, sequences, { ...forward, bosId: leadingBos(tokenizer) });
  const empty = prepared.filter((_, i) => row(data, i, space.d).every((x) => x === 0)).map(({ id }) => id);
  if (empty.length > 0) {
    const problem = `no embedding for ${empty.join(', ')}: the prompt has no tokens of its own`;
    throw new CrayonError('example-invalid', problem);
  }
  const kept = new Set(prepared.map(({ id }) => id));
  const examples = read.filter(({ id }) => kept.has(id));
  const rows = { data, n: sequences.length, d: space.d };
  return { pool, source, tokenizer, form, examples, prepared, seen: { rows } };
}

/** Examples from no file, held to what a file's records are held to. */
function givenExamples(shown: readonly ShownExample[]): Example[] {
  return shown.map(({ prompt, completion, ...rest }, i) => {
    const id = `${GIVEN}:${i}`;
    const { messages, choices, answer } = rest;
    const raw = {
      ...recordExamples({ prompt, completion })[0]!,
      ...(messages === undefined ? {} : { messages }),
      ...(choices === undefined || answer === undefined ? {} : { choices, answer }),
    };
    const why = whyInvalid(raw);
    if (why !== undefined) throw new CrayonError('example-invalid', `${id}: ${why}`);
    return { id, dataset: GIVEN, ...raw };
  });
}

function refuseCount(found: string, count: number): void {
  const { min, max } = EXAMPLE_LIMITS;
  if (count >= min && count <= max) return;
  throw new CrayonError('examples-count', `${found}, expected ${min} to ${max}`, {
    hint: count < min ? 'A few more examples of the task are needed.' : 'Keep the most typical ones.',
  });
}

/** The base model where the pool's manifest says it is: from the working directory, in the pool or beside it, in models/, or where it was. */
function findBase(pool: Pool): string {
  const { base } = pool.manifest;
  const { name } = base;
  const places = [
    name,
    join(pool.dir, name),
    join(pool.dir, '..', name),
    join(pool.dir, '..', basename(name)),
    join('models', name),
    rememberedBase(base) ?? name,
  ];
  const found = places.find((path) => isModelDirectory(path) || isGgufPath(path));
  if (found !== undefined) return found;
  throw new CrayonError('file-not-found', `the pool's base model "${name}" is not there`, {
    hint: 'Name its directory or its GGUF file with --model: a few rows of it are read to embed the examples.',
  });
}
