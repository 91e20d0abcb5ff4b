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
import { sha256 } from '../files/digest.js';
import { openBase } from '../gguf/base.js';
import { isGgufPath } from '../gguf/read.js';
import { baseRecord } from '../hf/adapter-record.js';
import { nameForOthers } from '../hf/base-name.js';
import { isModelDirectory } from '../hf/model.js';
import { leadingBos } from '../hf/tokenizer.js';
import { rememberedBase } from '../pool/base-place.js';
import type { ForwardPass } from '../pool/embed/kind.js';
import { embedInSpace, poolSpace, refuseOtherBase } from '../pool/embed/space.js';
import { openPoolFactors } from '../pool/factors.js';
import { memberCoefficients, openPool, type Pool, poolForm, poolTemplate } from '../pool/pool.js';
import { type LongPolicy, type PreparedExample, prepareExamples } from '../pool/prepare.js';
import { gateTerms, needed } from '../pool/standards.js';
import { poolTokenizer } from '../pool/vocabulary.js';
import { type BlendOptions, type BlendResult, blendAdapters, type Json } from './blend.js';
import {
  type BlendChoice,
  type BlendEstimate,
  type Estimator,
  EXAMPLE_LIMITS,
  estimateBlend,
  type SeenExamples,
} from './coefficients.js';
import { refineCoefficients } from './refine.js';

/** How errors name examples that come from no file. */
const GIVEN = 'examples';

export interface ShownExample {
  prompt: string;
  completion: string;
  /** the turns before the completion, where it answers a conversation; `prompt` is then their text */
  messages?: readonly ChatMessage[] | undefined;
}

export interface BlendPoolOptions
  extends Pick<BlendOptions, 'out' | 'combine' | 'rank' | 'dtype' | 'force' | 'threads' | 'onProgress'>,
    BlendChoice {
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
  /** `tau` is the pool's own when absent */
  estimator: Estimator;
  /** so many gradient steps of the coefficients alone, on the examples' answers; none when absent */
  refine?: number | undefined;
  long: LongPolicy;
  /** for the embedding kinds that need a forward pass: the tensor back end, or a model that is open already */
  forward?: ForwardPass | undefined;
}

export interface BlendPoolResult extends BlendEstimate {
  blend: BlendResult;
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
  const { estimator } = options;
  const { tau } = gateTerms(pool, options);
  if (estimator === 'label-evidence') needed(pool, 'loss', 'label evidence');
  const shown = options.examples;
  if (options.refine !== undefined && shown === undefined) {
    throw new CrayonError('examples-count', 'refine needs examples with answers, found none');
  }
  const seen = shown === undefined ? null : await seeExamples(options, shown, pool);
  const embedMs = performance.now() - started;

  const instant = estimateBlend(pool, estimator, seen, options);
  const estimate = options.refine === undefined ? instant : await refine(options, options.refine, pool, seen!, instant);

  const adapters = pool.openMembers();
  const factors = options.combine === 'cat' ? null : openPoolFactors(pool);
  try {
    const blend = blendAdapters({
      ...options,
      adapters,
      factors,
      coefficients: memberCoefficients(manifest, estimate.coefficients),
      baseModel: nameForOthers(manifest.base.name),
      template: poolTemplate(pool) ?? undefined,
      provenance: {
        base: baseRecord(manifest.base) as { [key: string]: Json },
        pool: sha256(JSON.stringify(manifest)),
        embedding: manifest.embedding.kind,
        ...(manifest.prompt === undefined ? {} : { prompt: manifest.prompt as { [key: string]: Json } }),
        estimator,
        tau,
        ...(options.standardise === true ? { standardised: true } : {}),
        ...(estimate.refined === undefined ? {} : { refined: estimate.refined }),
        examples: estimate.examples,
        coverage: estimate.coverage?.verdict ?? null,
        // the last of the coefficients is not of a cluster
        ...(manifest.general === undefined ? {} : { general: true }),
      },
    });
    return { ...estimate, blend, embedMs, totalMs: performance.now() - started };
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
  { prepared }: Prepared,
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

interface Prepared extends SeenExamples {
  prepared: PreparedExample[];
}

/** Embeds the examples; the losses of the adapters on them are computed for the estimator that asks for them. */
async function seeExamples(
  options: BlendPoolOptions,
  shown: string | readonly ShownExample[],
  pool: Pool,
): Promise<Prepared> {
  const { dataDir, split, turns, long, forward, estimator } = options;
  const needsLosses = estimator === 'label-evidence';
  const isPath = typeof shown === 'string';
  const examples = isPath ? loadDataset(shown, { dataDir, split, turns }).examples : givenExamples(shown);
  const where = isPath ? shown : GIVEN;
  refuseCount(`${where} has ${examples.length} examples`, examples.length);
  const base = options.model ?? findBase(pool);
  const source = openBase(base, { someWeights: !needsLosses });
  try {
    refuseOtherBase(pool, source, options.anyBase);
    const tokenizer = poolTokenizer(pool, source);
    const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
    const { examples: prepared, skipped } = prepareExamples(examples, tokenizer, {
      maxLength,
      long,
      form: poolForm(pool, tokenizer, base),
      addEnd: needsLosses || options.refine !== undefined,
      vocabSize,
    });
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
    const rows = { data, n: sequences.length, d: space.d };
    if (!needsLosses) return { rows, prepared };
    const { withPoolLosses } = await import('../pool/adapter-losses.js');
    return { rows, prepared, losses: await withPoolLosses(pool, source, forward ?? {}, (of) => of(prepared)) };
  } finally {
    source.close();
  }
}

/** Examples from no file, held to what a file's records are held to. */
function givenExamples(shown: readonly ShownExample[]): Example[] {
  return shown.map(({ prompt, completion, messages }, i) => {
    const id = `${GIVEN}:${i}`;
    const raw = recordExamples({ prompt, completion })[0]!;
    const why = whyInvalid(raw);
    if (why !== undefined) throw new CrayonError('example-invalid', `${id}: ${why}`);
    return { id, dataset: GIVEN, ...raw, ...(messages === undefined ? {} : { messages }) };
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
