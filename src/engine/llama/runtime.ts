/**
 * llama.cpp through node-llama-cpp, an optional dependency: loaded when first needed, never compiled, never downloaded, and
 * silent; and how many threads it is fastest with.
 */

import { availableParallelism } from 'node:os';
import type { Llama, LlamaModel, Token } from 'node-llama-cpp';
import { CrayonError, reasonOf } from '../../core/errors.js';
import { readJson } from '../../files/json.js';
import { shippedPath } from '../../files/package.js';

/** What llama.cpp may run on; false is the processor alone. */
export const GPUS = ['auto', 'cuda', 'vulkan', 'metal', false] as const;
export type Gpu = (typeof GPUS)[number];

type Library = typeof import('node-llama-cpp');

/**
 * The packages that run llama.cpp on this machine's processor, as `npm install` takes them. Named, they are installed under
 * `--omit=optional` too, which leaves out the builds for GPUs: nine tenths of what node-llama-cpp brings.
 */
export function llamaPackages(platform: string = process.platform, arch: string = process.arch): string[] {
  const { optionalDependencies } = readJson(shippedPath('package.json')) as {
    optionalDependencies: { [name: string]: string };
  };
  const [major] = /\d+/.exec(optionalDependencies['node-llama-cpp']!)!;
  const system = { darwin: 'mac', win32: 'win' }[platform] ?? platform;
  const build = `${system}-${arch === 'arm' ? 'armv7l' : arch}${platform === 'darwin' && arch === 'arm64' ? '-metal' : ''}`;
  return ['node-llama-cpp', `@node-llama-cpp/${build}`].map((name) => `${name}@${major}`);
}

const installHint = () => `Run: npm install ${llamaPackages().join(' ')}`;

async function library(): Promise<Library> {
  try {
    return await import('node-llama-cpp');
  } catch (error) {
    throw new CrayonError('engine-unavailable', 'node-llama-cpp, which runs models on this device, cannot be loaded', {
      hint: installHint(),
      cause: error,
    });
  }
}

/** Of node-llama-cpp, whose binaries have llama.cpp in them. */
export async function llamaVersion(): Promise<string> {
  return (await library()).getModuleVersion();
}

/** One for each kind of device: the binding's back ends are the process's, not a model's, so it is never disposed of. */
const loaded = new Map<Gpu, Promise<Llama>>();

/** @throws CrayonError `engine-unavailable` where there is no binary for this machine or the wanted GPU */
export function loadLlama(gpu: Gpu): Promise<Llama> {
  const known = loaded.get(gpu);
  if (known !== undefined) return known;
  const loading = startLlama(gpu);
  loaded.set(gpu, loading);
  loading.catch(() => loaded.delete(gpu));
  return loading;
}

async function startLlama(gpu: Gpu): Promise<Llama> {
  const { getLlama, LlamaLogLevel } = await library();
  try {
    return await getLlama({
      gpu,
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      logLevel: LlamaLogLevel.disabled,
      logger: () => {},
      // Contexts that run at the same time share the cores: more threads than cores wait for each other, spinning.
      maxThreads: availableParallelism(),
    });
  } catch (error) {
    const where = gpu === false ? 'CPU' : `GPU (${gpu})`;
    const problem = `llama.cpp does not start on this machine's ${where}: ${reasonOf(error)}`;
    throw new CrayonError('engine-unavailable', problem, {
      hint: gpu === false || gpu === 'auto' ? installHint() : 'Set gpu to auto or to false.',
      cause: error,
    });
  }
}

/**
 * Loads a GGUF model. On the processor the file is read, not mapped: llama.cpp lays weights out anew for many processors (AMX, packed
 * rows), and the file's pages would stay beside them, twice the model.
 *
 * @throws CrayonError `out-of-memory`, `gguf-unsupported` when llama.cpp refuses it
 */
export async function loadLlamaModel(llama: Llama, path: string): Promise<LlamaModel> {
  const { InsufficientMemoryError } = await library();
  try {
    return await llama.loadModel({ modelPath: path, ...(llama.gpu === false && { useMmap: false }) });
  } catch (error) {
    if (error instanceof InsufficientMemoryError) throw outOfMemory(`${path}: the model does not fit`, error);
    throw new CrayonError('gguf-unsupported', `${path}: llama.cpp cannot load it (${reasonOf(error)})`, {
      cause: error,
    });
  }
}

/** A model's vocabulary without its weights. */
export function loadVocabulary(llama: Llama, path: string): Promise<LlamaModel> {
  return llama.loadModel({ modelPath: path, vocabOnly: true, gpuLayers: 0 });
}

/** What creating a context throws, in a user's words; anything but a lack of memory passes unchanged. */
export async function contextError(error: unknown, where: string): Promise<unknown> {
  const { InsufficientMemoryError } = await library();
  const isMemory = error instanceof InsufficientMemoryError || /create context/i.test(reasonOf(error));
  return isMemory ? outOfMemory(`${where}: no memory for another context`, error) : error;
}

function outOfMemory(problem: string, cause: unknown): CrayonError {
  return new CrayonError('out-of-memory', `${problem} (${reasonOf(cause)})`, {
    hint: 'Use a smaller or a quantised model, a smaller context, fewer sequences or fewer contexts.',
    cause,
  });
}

const WARM_UP_TOKENS = 4;
const CONTEXT_TOKENS = 256;
/** More threads must be faster by this to be worth their cores. */
const GAIN = 1.05;

/**
 * How many threads generate fastest: small models lose more by waiting for each other than they gain (95 tokens/s on two
 * threads, 154 on one, for 5 million parameters), so it is measured. Generates a few tokens with 1, 2, 4 ... threads, up to the
 * number of cores, and stops where it gets slower.
 *
 * @param budgetMs for each number; the whole is a small multiple of it
 */
export async function fastestThreads(
  model: LlamaModel,
  { cores = availableParallelism(), budgetMs = 250 }: { cores?: number; budgetMs?: number } = {},
): Promise<number> {
  let best = { threads: 1, tokensPerSecond: 0 };
  for (const threads of candidates(cores)) {
    const tokensPerSecond = await speed(model, threads, budgetMs);
    if (tokensPerSecond > best.tokensPerSecond * GAIN) best = { threads, tokensPerSecond };
    else if (threads > 2) break; // two may lose and four win; later ones do not
  }
  return best.threads;
}

/** Powers of two, and all cores. */
function candidates(cores: number): number[] {
  const list: number[] = [];
  for (let threads = 1; threads < cores; threads *= 2) list.push(threads);
  return [...list, cores];
}

async function speed(model: LlamaModel, threads: number, budgetMs: number): Promise<number> {
  const contextSize = Math.min(CONTEXT_TOKENS, model.trainContextSize);
  const context = await model.createContext({ contextSize, sequences: 1, threads });
  try {
    const sequence = context.getSequence();
    const start = [(model.tokens.bos ?? model.tokens.eos ?? 0) as Token];
    let count = 0;
    let counted = 0; // tokens before `sinceMs`
    let sinceMs = performance.now();
    for await (const _ of sequence.evaluateWithMetadata(start, {}, { yieldEogToken: true })) {
      count++;
      const elapsedMs = performance.now() - sinceMs;
      if (elapsedMs >= budgetMs || count >= contextSize - 2) break; // even within the warm-up, if it is that slow
      if (count === WARM_UP_TOKENS) [counted, sinceMs] = [count, performance.now()];
    }
    return ((count - counted) / (performance.now() - sinceMs)) * 1000;
  } finally {
    await context.dispose();
  }
}
