/**
 * GGUF files made once from Hugging Face models and PEFT adapters, and found again by a digest of what they were made from.
 *
 * Two processes may make the same file at once: each writes a sibling of its own and renames it, and both are the same.
 */

import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ensureDirectory } from '../files/atomic.js';
import { sha256File } from '../files/digest.js';
import { exists, touchQuietly } from '../files/io.js';
import { HfModel } from '../hf/model.js';
import { readTokenizerFiles } from '../hf/tokenizer.js';
import { ADAPTER_CONFIG } from '../peft/config.js';
import { ADAPTER_WEIGHTS, openPeftAdapter } from '../peft/read.js';
import { type AdapterBase, readAdapterBase, writeAdapterGguf } from './adapter.js';
import type { GgufFileType } from './file-types.js';
import { exportModelGguf } from './model.js';

export interface CacheOptions {
  /** default: `crayon` in $XDG_CACHE_HOME, or in ~/.cache */
  cacheDir?: string | undefined;
}

/** Goes up when an exporter changes what it writes, so that files of an older crayon are not found again. */
const EXPORT_VERSION = 2;

/** Hexadecimal digits of a digest in a file's name. */
const ID_DIGITS = 16;

/** Where made files are kept unless the user says otherwise. */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  const base = env.XDG_CACHE_HOME;
  return join(base === undefined || base === '' ? join(homedir(), '.cache') : base, 'crayon');
}

/**
 * The GGUF file of a Hugging Face directory, made on first use.
 *
 * @returns its path, `<cacheDir>/<digest16>-<type>.gguf`
 * @throws CrayonError what opening or exporting the model throws
 */
export function cachedModelGguf(
  model: string,
  { cacheDir = defaultCacheDir(), type = 'F16' }: CacheOptions & { type?: GgufFileType } = {},
): string {
  const out = join(cacheDir, `${modelId(model)}-${type}.gguf`);
  return made(out, cacheDir, () => exportModelGguf({ model, out, type }));
}

/**
 * The GGUF LoRA of a PEFT directory, made on first use.
 *
 * @param base a Hugging Face directory or a GGUF file
 * @returns its path, `<cacheDir>/<id>.lora.gguf`, and its id: the same content for the same kind of base has the same id
 * @throws CrayonError what opening or exporting the adapter throws
 */
export function cachedAdapterGguf(adapter: string, base: string, options: CacheOptions = {}): CachedAdapter {
  return cachedAdapterGgufs([adapter], base, options)[0]!;
}

export interface CachedAdapter {
  path: string;
  id: string;
}

/** The same of several: the base is read once, which takes longer than to write an adapter. */
export function cachedAdapterGgufs(
  adapters: readonly string[],
  base: string,
  { cacheDir = defaultCacheDir() }: CacheOptions = {},
): CachedAdapter[] {
  let read: AdapterBase | undefined;
  return adapters.map((dir) => {
    const adapter = openPeftAdapter(dir, { copies: 'later' });
    try {
      const { copies, modules } = adapter;
      if (copies.length === 0) read ??= readAdapterBase(base);
      // What was made for one base model is found again for another: copies of the base's weights are compared each time.
      const shape = copies.length === 0 ? read! : readAdapterBase(base, {}, (model) => adapter.compareCopies(model));
      const id = adapterId(dir, shape);
      const out = join(cacheDir, `${id}.lora.gguf`);
      const hasHead = modules.some(({ name }) => name === 'lm_head');
      const make = () => writeAdapterGguf(adapter, hasHead ? readAdapterBase(base, {}) : shape, { out });
      return { id, path: made(out, cacheDir, make) };
    } finally {
      adapter.close();
    }
  });
}

function made(out: string, cacheDir: string, make: () => unknown): string {
  if (!exists(out)) {
    ensureDirectory(cacheDir);
    make();
    return out;
  }
  touchQuietly(out); // the modification time says when a file was last of use, for whoever clears the cache by age
  return out;
}

function modelId(dir: string): string {
  const model = HfModel.open(dir, { someWeights: true });
  try {
    return shortDigest(['model', model.digest(), JSON.stringify([readTokenizerFiles(dir), model.endTokenIds])]);
  } finally {
    model.close();
  }
}

/** What the file depends on: the adapter's two files, and the base's architecture and shape of attention. */
function adapterId(dir: string, { architecture, numHeads, numKvHeads, headDim }: AdapterBase): string {
  const weights = join(dir, ADAPTER_WEIGHTS);
  const parts = exists(weights) ? [sha256File(weights), sha256File(join(dir, ADAPTER_CONFIG))] : [dir];
  return shortDigest(['adapter', ...parts, architecture.name, `${numHeads} ${numKvHeads} ${headDim}`]);
}

function shortDigest(parts: readonly string[]): string {
  const hash = createHash('sha256').update(String(EXPORT_VERSION));
  for (const part of parts) hash.update(`\n${part.length}\n`).update(part);
  return hash.digest('hex').slice(0, ID_DIGITS);
}
