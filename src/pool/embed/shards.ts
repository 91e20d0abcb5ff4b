/**
 * Embeddings of a training set in shards: files of a stated number of rows each, written one after the other, so that neither embedding
 * nor clustering holds them all, and an embedding that was stopped goes on behind its last shard. Each names the examples that it is of
 * by the digest of their tokens.
 *
 *     embeddings-<i>.safetensors    rows (rows of shard i, d) F32, before centring; metadata `examples`
 */

import { isCrayonError } from '../../core/errors.js';
import { sha256 } from '../../files/digest.js';
import { bytesOf, exists } from '../../files/io.js';
import { SafetensorsFile } from '../../safetensors/read.js';
import { writeSafetensors } from '../../safetensors/write.js';
import { flatOf, startsOf } from '../flat-lists.js';
import { stageFile } from '../work-directory.js';
import type { Sequences } from './kind.js';
import { centreRows } from './space.js';

/** 38 MB at 576 numbers each; some minutes of a small model's forward passes. */
export const SHARD_ROWS = 2 ** 14;
/** Rows of one step of a pass. */
const STEP = 4096;
/** Open at a time at most; many systems allow a process 1024. */
const OPEN_FILES = 256;

const TENSOR = 'rows';
const EXAMPLES = 'examples';

/** The stage of a work directory that shard i is. */
export const shardStage = (i: number): string => `embeddings-${i}`;

export interface ShardJob {
  /** a work directory */
  dir: string;
  prompts: Sequences;
  d: number;
  /** rows of a shard */
  rows?: number | undefined;
  /** Unit rows (some, d) of some of the prompts; called for the shards that are not there. */
  embed: (prompts: Sequences, onProgress: (done: number) => void) => Promise<Float32Array> | Float32Array;
  /** Awaited behind every shard; may throw, and what is written stays. */
  pause?: () => Promise<void>;
  onProgress?: (done: number, total: number) => void;
}

/** Writes the shards that are not there, or are damaged or of other examples. */
export async function writeShards(job: ShardJob): Promise<void> {
  const { dir, prompts, d, rows = SHARD_ROWS, embed, pause, onProgress } = job;
  for (let first = 0, i = 0; first < prompts.length; first += rows, i++) {
    const some = prompts.slice(first, first + rows);
    const examples = sha256(bytesOf(flatOf([startsOf(some), flatOf(some)])));
    const path = stageFile(dir, shardStage(i));
    if (!isShardOf(path, examples, [some.length, d])) {
      const data = await embed(some, (done) => onProgress?.(first + done, prompts.length));
      writeSafetensors(path, [{ name: TENSOR, dtype: 'F32', shape: [some.length, d], data }], { [EXAMPLES]: examples });
      await pause?.();
    }
    onProgress?.(first + some.length, prompts.length);
  }
}

function isShardOf(path: string, examples: string, [count, d]: readonly [number, number]): boolean {
  if (!exists(path)) return false;
  try {
    const file = SafetensorsFile.open(path);
    const { dtype, shape } = file.info(TENSOR);
    file.close();
    return file.metadata[EXAMPLES] === examples && dtype === 'F32' && shape[0] === count && shape[1] === d;
  } catch (error) {
    if (isCrayonError(error, 'safetensors-invalid')) return false;
    throw error;
  }
}

/** The rows of all shards, read where they are needed. */
export class ShardedRows {
  /** (d) subtracted from every row, which is made a unit vector again; null for rows as they are kept */
  centre: Float32Array | null = null;
  /** the last one used is the last one */
  readonly #open = new Map<number, SafetensorsFile>();

  constructor(
    readonly dir: string,
    readonly n: number,
    readonly d: number,
    readonly rows = SHARD_ROWS,
  ) {}

  /** Rows `first` to `first + count`, to the target's beginning. */
  read(first: number, count: number, target: Float32Array): void {
    const { d, rows } = this;
    for (let done = 0; done < count; ) {
      const at = first + done;
      const inside = at % rows;
      const some = Math.min(count - done, rows - inside);
      const bytes = bytesOf(target.subarray(done * d, (done + some) * d));
      this.#file(Math.floor(at / rows)).readBytesInto(TENSOR, 4 * d * inside, bytes);
      done += some;
    }
    if (this.centre !== null) centreRows(target.subarray(0, count * d), this.centre);
  }

  /** Mean of all rows: the same numbers as `meanRows` of the whole matrix. */
  mean(): Float64Array {
    const { n, d } = this;
    const mean = new Float64Array(d);
    const some = new Float32Array(Math.min(n, STEP) * d);
    for (let first = 0; first < n; first += STEP) {
      const count = Math.min(STEP, n - first);
      this.read(first, count, some);
      for (let i = 0; i < count; i++) for (let j = 0; j < d; j++) mean[j]! += some[i * d + j]!;
    }
    for (let j = 0; j < d; j++) mean[j]! /= n;
    return mean;
  }

  dispose(): void {
    for (const file of this.#open.values()) file.close();
    this.#open.clear();
  }

  #file(i: number): SafetensorsFile {
    const file = this.#open.get(i) ?? SafetensorsFile.open(stageFile(this.dir, shardStage(i)));
    this.#open.delete(i);
    this.#open.set(i, file);
    if (this.#open.size > OPEN_FILES) {
      const [oldest] = this.#open.keys();
      this.#open.get(oldest!)!.close();
      this.#open.delete(oldest!);
    }
    return file;
  }
}
