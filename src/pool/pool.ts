/**
 * A pool directory: pool.json, which describes the pool, centroids.safetensors and one PEFT adapter directory for each base
 * LoRA.
 */

import assert from 'node:assert';
import { join, sep } from 'node:path';
import * as z from 'zod';
import { CrayonError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { firstNonFinite } from '../core/vector.js';
import { sha256, sha256File } from '../files/digest.js';
import { bytesOf, exists, realPath } from '../files/io.js';
import { decodeUtf8, parseJson, readJson, writeJson } from '../files/json.js';
import { checked, positive, sha256Text, text, whole } from '../files/schema.js';
import { directoryVersion, readUnreplaced } from '../files/siblings.js';
import { BASE_FORMATS } from '../hf/base-model.js';
import { PROMPT_RECORD, type PromptForm, recordedForm, templateDigest } from '../hf/prompt-form.js';
import { CHAT_TEMPLATE, readChatTemplate, type Tokenizer } from '../hf/tokenizer.js';
import { ADAPTER_WEIGHTS, openPeftAdapter, type PeftAdapter } from '../peft/read.js';
import { SafetensorsFile } from '../safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../safetensors/write.js';
import { embeddingKind, findEmbeddingKind } from './embed/kinds.js';
import { LIFE, lifeProblem } from './life/record.js';
import { standIn } from './stand-in.js';

export const POOL_MANIFEST = 'pool.json';

/** Percentages of the stored similarity quantiles. */
export const SIMILARITY_QUANTILES = [0, 5, 25, 50, 75, 95, 100] as const;

const quantiles = z
  .array(z.number())
  .refine(
    (q) => q.length === SIMILARITY_QUANTILES.length && q.every((x, i) => i === 0 || x >= q[i - 1]!),
    `${SIMILARITY_QUANTILES.length} ascending numbers`,
  );

/** A path that stays in the pool's directory, whatever the machine. */
const insidePath = z
  .string()
  .refine(
    (path) => /^[^/\\:]+(\/[^/\\:]+)*$/.test(path) && !path.split('/').some((part) => /^\.\.?$/.test(part)),
    'a relative path inside the pool',
  );

const CLUSTER = z.object({
  /** Training examples nearest to this centroid. */
  size: whole(0),
  lossBefore: z.number().nullable(),
  lossAfter: z.number().nullable(),
  /** Training examples by dataset name. */
  tasks: z.record(z.string(), whole(0)),
  /** Ids of the examples nearest to the centroid, nearest first. */
  nearest: z.array(text),
  /** Cosine of the training examples with this, their own centroid; quantiles at `SIMILARITY_QUANTILES`. */
  similarity: z.object({ mean: z.number(), quantiles }),
});
export type PoolCluster = z.output<typeof CLUSTER>;

const numbers = z.array(z.number());

/** What the pool's own examples are to it, by which a user's examples are measured (src/pool/standards.ts). */
const STANDARDS = z.object({
  /** Cosines with each centroid, of so many examples: means (N), and the deviation around them. */
  similarity: z.object({ examples: whole(1), mean: numbers, deviation: positive }).optional(),
  /** Losses of each adapter alone, nats a token, on so many examples that were not trained on: means and deviations (N). */
  loss: z.object({ examples: whole(1), mean: numbers, deviation: z.array(positive) }).optional(),
});

/** `dir` is relative to the pool's directory. */
const MEMBER = z.object({ dir: insidePath, r: whole(1), loraAlpha: positive, sha256: sha256Text });

/** Keys that another version has added mean nothing here. */
const MANIFEST = z.object({
  format: z.literal('crayon-pool'),
  /**
   * 2 with a general adapter, without which the others mean nothing, 3 where clusters have come and gone, so that their places are not
   * their ids: a reader that does not know of it must not go on.
   */
  version: z.union([z.literal(1), z.literal(2), z.literal(3)]),
  /** Program and version that wrote it. */
  createdBy: text,
  base: z.object({
    name: text,
    modelType: text,
    digest: sha256Text,
    tokenizerDigest: sha256Text,
    hiddenSize: whole(1),
    /** How it was stored when the pool was built; a Hugging Face directory where it is left out. */
    format: z.enum(BASE_FORMATS).optional(),
  }),
  embedding: z.object({
    kind: z.string().refine((name) => findEmbeddingKind(name) !== undefined, 'an embedding kind'),
    /** The training set's mean is subtracted. */
    centred: z.boolean(),
    /** d */
    dim: whole(1),
    /** Tokens count by their inverse document frequency. */
    idfWeighted: z.boolean().optional(),
  }),
  /** Absent for plain. */
  prompt: PROMPT_RECORD.optional(),
  /** Number of base LoRAs, clusters and centroids. */
  N: whole(1),
  seed: whole(0),
  /** Temperature of the gate that the pool was trained with. */
  tau: positive,
  training: z.record(z.string(), z.unknown()),
  data: z.array(z.object({ path: text, sha256: sha256Text, examples: whole(0) })),
  clusters: z.array(CLUSTER),
  silhouette: z.number().nullable(),
  standards: STANDARDS.optional(),
  adapters: z.array(MEMBER),
  /** One LoRA on everything, on top of which the adapters were trained: at coefficient 1 in every mixture of them. */
  general: MEMBER.extend({
    learningRate: positive,
    epochs: positive,
    steps: whole(1),
    firstLoss: z.number(),
    lastLoss: z.number(),
  }).optional(),
  /** Of version 3. */
  life: LIFE.optional(),
});
export type PoolManifest = z.output<typeof MANIFEST>;

/**
 * Checks a manifest that was read from `path` or is about to be written there.
 *
 * @throws CrayonError `pool-invalid` naming every problem
 */
function checkManifest(json: unknown, path: string): PoolManifest {
  checked(MANIFEST, json, { where: path, code: 'pool-invalid' });
  // The value as it was read: a blend names its pool by the digest of this JSON, with its order and all of its keys.
  const manifest = json as PoolManifest;
  const { N, version, clusters, adapters, general, standards, life } = manifest;
  if ((life !== undefined) !== (version === 3)) {
    const found = `version ${version} ${life === undefined ? 'without' : 'with'} life`;
    throw new CrayonError('pool-invalid', `${path}: ${found}; it is version 3 that has it`);
  }
  if (version !== 3 && (general !== undefined) !== (version === 2)) {
    const found = `version ${version} ${general === undefined ? 'without' : 'with'} a general adapter`;
    throw new CrayonError('pool-invalid', `${path}: ${found}; it is version 2 that has one`);
  }
  if (clusters.length !== N || adapters.length !== N) {
    const found = `${clusters.length} clusters and ${adapters.length} adapters`;
    throw new CrayonError('pool-invalid', `${path}: ${found}, expected N = ${N} of each`);
  }
  const problem = life && lifeProblem(life, N);
  if (problem != null) throw new CrayonError('pool-invalid', `${path}: ${problem}`);
  const { similarity, loss } = standards ?? {};
  if ([similarity?.mean, loss?.mean, loss?.deviation].some((list) => list !== undefined && list.length !== N)) {
    throw new CrayonError('pool-invalid', `${path}: standards are not of N = ${N} numbers each`);
  }
  const all = membersOf(manifest);
  if (new Set(all.map(({ dir }) => dir)).size !== all.length) {
    throw new CrayonError('pool-invalid', `${path}: two adapters have the same dir`);
  }
  return manifest;
}

/** A manifest that was not read from a pool's directory. @throws CrayonError `json-invalid`, `pool-invalid` */
export function parseManifest(bytes: Uint8Array, where: string): PoolManifest {
  return checkManifest(parseJson(decodeUtf8(bytes, where), where), where);
}

/** What tells a pool from others and from what it was before: a digest of its manifest's JSON. */
export const poolDigest = ({ manifest }: Pick<Pool, 'manifest'>): string => sha256(JSON.stringify(manifest));

/** The base LoRAs, then the general adapter where there is one. */
export function membersOf({ adapters, general }: Pick<PoolManifest, 'adapters' | 'general'>) {
  return general === undefined ? adapters : [...adapters, general];
}

/** Coefficients of the base LoRAs (N) as those of all members: the general adapter's is 1. */
export function memberCoefficients({ general }: Pick<PoolManifest, 'general'>, alpha: ArrayLike<number>): number[] {
  return general === undefined ? Array.from(alpha) : [...Array.from(alpha), 1];
}

export const CENTROIDS = 'centroids.safetensors';

/** What is kept beside the manifest; N base LoRAs, d embedding size, V vocabulary. */
export interface PoolTensors {
  /** (N, d) row-major */
  centroids: Float32Array;
  /** (d), of a centred embedding; else null */
  mean: Float32Array | null;
  /** (V), of tf-idf or an idf-weighted embedding; else null */
  idf: Float32Array | null;
}

export interface Pool extends PoolTensors {
  readonly dir: string;
  readonly manifest: PoolManifest;
  /** Opens base LoRA n, 0 <= n < N; the caller closes it. */
  openAdapter(n: number): PeftAdapter;
  /**
   * Opens all members, see `membersOf`; the caller closes them.
   *
   * @param coefficients theirs: of a pool that was fetched in part, those of 0 need not be there (stand-in.ts)
   */
  openMembers(coefficients?: ArrayLike<number>): PeftAdapter[];
  /** Reads every adapter's bytes and compares digests. @throws CrayonError `pool-invalid` naming those that differ */
  verify(): void;
}

/** Says that a pool's directory has only what was fetched of it so far (src/remote). */
export const FETCHED_POOL = 'fetched.json';

export function isPoolDirectory(dir: string): boolean {
  return exists(join(dir, POOL_MANIFEST));
}

/**
 * Opens a pool and checks its manifest and centroids; adapters are opened one by one.
 *
 * @throws CrayonError `path-not-recognised`, `file-not-found`, `pool-invalid`, `safetensors-invalid`
 *
 * @example
 * const pool = openPool('pools/demo');
 * const adapter = pool.openAdapter(0);
 */
export function openPool(dir: string): Pool {
  return readUnreplaced(dir, () => readPool(dir));
}

function readPool(dir: string): Pool {
  const version = directoryVersion(dir);
  const path = join(dir, POOL_MANIFEST);
  if (!exists(path)) {
    if (!exists(dir)) throw new CrayonError('file-not-found', `${dir}: no such pool directory`);
    throw new CrayonError('path-not-recognised', `${dir}: no ${POOL_MANIFEST}, so not a pool directory`);
  }
  const manifest = checkManifest(readJson(path, LIMITS.manifestBytes), path);
  const tensors = readTensors(join(dir, CENTROIDS), manifest);
  const open = (n: number) => ofVersion(dir, version, () => openMember(dir, manifest, n));
  return {
    dir,
    manifest,
    ...tensors,
    openAdapter: open,
    openMembers: (coefficients) => {
      const members = membersOf(manifest);
      const absent =
        coefficients === undefined || !exists(join(dir, FETCHED_POOL))
          ? []
          : members.filter((member, n) => coefficients[n] === 0 && !exists(join(dir, member.dir, ADAPTER_WEIGHTS)));
      const opened = members.map((member, n) => (absent.includes(member) ? null : open(n)));
      const like = opened.find((adapter) => adapter !== null);
      assert(like !== undefined, 'one member at least is there');
      return opened.map((adapter, n) => adapter ?? standIn(members[n]!, like));
    },
    verify: () => verifyDigests(dir, manifest),
  };
}

/**
 * Writes pool.json and centroids.safetensors into a directory that already has the adapters: usually the temporary one
 * of an `AtomicDirectory`.
 */
export function writePoolManifest(dir: string, manifest: PoolManifest, tensors: PoolTensors): void {
  checkManifest(manifest, join(dir, POOL_MANIFEST));
  const { N, embedding } = manifest;
  const { centroids, mean, idf } = tensors;
  assert.equal(centroids.length, N * embedding.dim, 'centroids must be (N, d)');
  assert.equal(mean !== null, embedding.centred, 'mean goes with a centred embedding');
  assert.equal(idf !== null, usesIdf(manifest), 'idf goes with an embedding that uses it');
  const entries: TensorToWrite[] = [
    { name: 'centroids', dtype: 'F32', shape: [N, embedding.dim], data: centroids },
    ...(mean === null ? [] : [{ name: 'mean', dtype: 'F32' as const, shape: [mean.length], data: mean }]),
    ...(idf === null ? [] : [{ name: 'idf', dtype: 'F32' as const, shape: [idf.length], data: idf }]),
  ];
  writeSafetensors(join(dir, CENTROIDS), entries, { format: 'pt' });
  writeJson(join(dir, POOL_MANIFEST), manifest);
}

/**
 * The chat template that a pool was trained through: its adapters have it beside them. Null for a plain pool.
 *
 * @throws CrayonError `pool-invalid` where it is missing or another one
 */
export function poolTemplate({ dir, manifest }: Pool): string | null {
  const { prompt, adapters } = manifest;
  if (prompt === undefined || prompt.form === 'plain') return null;
  const path = join(dir, adapters[0]!.dir);
  const source = readChatTemplate(path);
  if (source !== null && templateDigest(source) === prompt.templateSha256) return source;
  const found = source === null ? `has no ${CHAT_TEMPLATE}` : `${CHAT_TEMPLATE} is not the one of the training`;
  throw new CrayonError('pool-invalid', `${path}: ${found}`, { hint: 'Copy the pool again, or build it again.' });
}

/**
 * The form that a pool was trained in, for this model.
 *
 * @throws CrayonError `pool-mismatch` where the model's chat template is another one than the pool's
 */
export function poolForm(
  { dir, manifest }: Pool,
  tokenizer: Pick<Tokenizer, 'chatTemplate'>,
  model: string,
): PromptForm {
  return recordedForm(manifest.prompt, tokenizer, { what: dir, model, code: 'pool-mismatch' });
}

/** What a pool's coefficients, gates and profiles are of: not its name, nor what was measured of it. */
export function servedDigest({ manifest, centroids }: Pick<Pool, 'manifest' | 'centroids'>): string {
  const { base, embedding, tau } = manifest;
  const members = membersOf(manifest).map(({ sha256 }) => sha256);
  const space = [embedding.kind, embedding.centred, embedding.dim, embedding.idfWeighted ?? false];
  return sha256(JSON.stringify([base.digest, base.tokenizerDigest, space, tau, members, sha256(bytesOf(centroids))]));
}

/** SHA-256 of an adapter directory's weights file, as the manifest keeps it. */
export function adapterDigest(dir: string): string {
  return sha256File(join(dir, ADAPTER_WEIGHTS));
}

export function usesIdf({ embedding }: Pick<PoolManifest, 'embedding'>): boolean {
  return 'fit' in embeddingKind(embedding.kind).kind || embedding.idfWeighted === true;
}

function readTensors(path: string, manifest: PoolManifest): PoolTensors {
  const file = SafetensorsFile.open(path);
  const bad: string[] = [];
  const read = (name: string, isWanted: boolean, shape: Array<number | null>): Float32Array | null => {
    const info = file.tensors.get(name);
    if (!isWanted) {
      if (info !== undefined) bad.push(`"${name}" is there, but ${POOL_MANIFEST} says it is not used`);
      return null;
    }
    const isRight =
      info?.shape.length === shape.length && shape.every((size, i) => size === null || size === info.shape[i]);
    if (info === undefined || !isRight) {
      bad.push(
        `"${name}" is ${info === undefined ? 'missing' : `[${info.shape}]`}, expected [${shape.map((x) => x ?? 'V')}]`,
      );
      return null;
    }
    const data = file.readF32(name);
    if (firstNonFinite(data) !== -1) bad.push(`"${name}" has NaN or infinity`);
    return data;
  };
  try {
    const { dim, centred } = manifest.embedding;
    const centroids = read('centroids', true, [manifest.N, dim]);
    const mean = read('mean', centred, [dim]);
    const idf = read('idf', usesIdf(manifest), [null]);
    if (bad.length > 0 || centroids === null) throw new CrayonError('pool-invalid', `${path}: ${bad.join('; ')}`);
    return { centroids, mean, idf };
  } finally {
    file.close();
  }
}

/** The adapters of a pool that was built again are no longer those of the manifest that was read. */
function ofVersion(dir: string, version: string, open: () => PeftAdapter): PeftAdapter {
  let adapter: PeftAdapter | null = null;
  try {
    adapter = open();
  } catch (error) {
    if (directoryVersion(dir) === version) throw error;
  }
  if (adapter !== null && directoryVersion(dir) === version) return adapter;
  adapter?.close();
  throw new CrayonError('pool-invalid', `${dir}: was replaced while it was being read`, {
    hint: 'Run the command again; a server that uses the pool is started again.',
  });
}

function openMember(dir: string, manifest: PoolManifest, n: number): PeftAdapter {
  const entry = membersOf(manifest)[n];
  assert(entry !== undefined, `adapter ${n} of ${manifest.N}`);
  const path = join(dir, entry.dir);
  if (!exists(path)) {
    throw new CrayonError('file-not-found', `${path}: no such adapter directory, but ${POOL_MANIFEST} names it`, {
      hint: 'The pool is not complete: copy it again, or build it again.',
    });
  }
  // The manifest's path has no "..", but a link could still lead out of the pool.
  if (!`${realPath(path)}${sep}`.startsWith(`${realPath(dir)}${sep}`)) {
    throw new CrayonError('pool-invalid', `${path}: a link that leads out of the pool`);
  }
  const adapter = openPeftAdapter(path);
  const { r, loraAlpha } = adapter.config;
  if (r === entry.r && loraAlpha === entry.loraAlpha) return adapter;
  adapter.close();
  const expected = `r ${entry.r} and lora_alpha ${entry.loraAlpha} as in ${POOL_MANIFEST}`;
  throw new CrayonError('pool-invalid', `${path}: r ${r} and lora_alpha ${loraAlpha}, expected ${expected}`);
}

function verifyDigests(dir: string, manifest: PoolManifest): void {
  const bad = membersOf(manifest).filter((entry) => adapterDigest(join(dir, entry.dir)) !== entry.sha256);
  if (bad.length === 0) return;
  const names = bad.map((entry) => join(entry.dir, ADAPTER_WEIGHTS)).join(', ');
  throw new CrayonError('pool-invalid', `${dir}: changed since the pool was built: ${names}`);
}
