/**
 * Chooses the back end at run time: ONNX Runtime, or TensorFlow.js on native TensorFlow (GPU build, then CPU build), WebGPU
 * through Dawn, WebAssembly, plain JavaScript. The first one that loads is taken unless one is forced.
 *
 * tfjs keeps its back end in process-wide state, so a process uses one; `crayon doctor` probes each in a child process.
 */

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import util from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { CrayonError, reasonOf } from '../core/errors.js';
import { hasLinuxLibrary, hasTfjsBinding, withQuietStderr } from '../files/native-libraries.js';
import { productGraph } from '../onnx/encode.js';
import { missingReason, OnnxRuntime } from '../onnx/runtime.js';
import { BACKENDS, type BackendName } from './names.js';
import { registerWasmMatMul } from './wasm-matmul.js';

export interface BackendChoice {
  name: BackendName;
  /** One line for people: library versions or adapter name. */
  detail: string;
  /** Back ends that were tried before this one, and why each did not load. */
  missing: Array<{ name: BackendName; reason: string }>;
}

const require = createRequire(import.meta.url);
let current: BackendChoice | undefined;
let runtime: OnnxRuntime | undefined;

/**
 * Loads and activates a back end, once per process; later calls return the same choice.
 *
 * @param wanted a name, or `auto` for the first of `BACKENDS` that loads
 * @throws CrayonError `backend-unavailable` when the wanted one, or all of them, fail to load
 */
export async function chooseBackend(wanted: BackendName | 'auto' = 'auto'): Promise<BackendChoice> {
  if (current !== undefined) {
    if (wanted === 'auto' || wanted === current.name) return current;
    throw new CrayonError('backend-unavailable', `back end "${wanted}" asked for, but "${current.name}" is active`, {
      hint: 'One process uses one back end: start another process for the other one.',
    });
  }
  const missing: BackendChoice['missing'] = [];
  for (const name of wanted === 'auto' ? preferred() : [wanted]) {
    try {
      const detail = await LOADERS[name](wanted === name);
      tf.enableProdMode();
      current = { name, detail, missing };
      return current;
    } catch (error) {
      missing.push({ name, reason: firstLine(error) });
    }
  }
  const reasons = missing.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  throw new CrayonError('backend-unavailable', `no tensor back end could be loaded (${reasons})`, {
    hint: 'Run `crayon doctor` to see what each back end needs; `--backend wasm` needs nothing beyond npm install.',
  });
}

/** In order of preference on this machine: with CUDA, TensorFlow's GPU build before ONNX Runtime on the CPU. */
function preferred(): readonly BackendName[] {
  const hasCuda = process.platform === 'linux' && hasLinuxLibrary('libcuda.so.1');
  return hasCuda ? ['node-gpu', ...BACKENDS.filter((name) => name !== 'node-gpu')] : BACKENDS;
}

/** The back end that this process uses. @throws CrayonError `backend-unavailable` before one was chosen */
export function activeBackend(): BackendName {
  if (current === undefined) throw new CrayonError('backend-unavailable', 'no tensor back end was chosen yet');
  return current.name;
}

/** ONNX Runtime, where it is the active back end. */
export function activeRuntime(): OnnxRuntime | undefined {
  return runtime;
}

/** Frees what keeps the process alive (a WebGPU device). Call once, at the end. */
export function releaseBackend(): void {
  if (current?.name !== 'webgpu') return;
  const { device } = tf.backend() as unknown as { device: { destroy(): void } };
  device.destroy();
  Reflect.deleteProperty(globalThis, 'navigator');
}

/**
 * Rate of a square float32 product on the active back end.
 *
 * @returns GFLOP/s of the best run within about `budgetMs`
 */
export async function measureMatMul(size: number, budgetMs: number): Promise<number> {
  const product = runtime === undefined ? tfjsProduct(size) : onnxProduct(size, runtime);
  const once = async () => {
    const started = performance.now();
    await product.run();
    return performance.now() - started;
  };
  await once();
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + budgetMs;
  do best = Math.min(best, await once());
  while (performance.now() < end);
  product.dispose();
  return (2 * size ** 3) / best / 1e6;
}

function tfjsProduct(size: number) {
  const a = tf.randomUniform([size, size], -1, 1, 'float32', 1);
  const b = tf.randomUniform([size, size], -1, 1, 'float32', 2);
  const run = async () => {
    const corner = tf.tidy(() => tf.slice(tf.matMul(a, b), [0, 0], [1, 1]));
    await corner.data(); // waits for the device
    corner.dispose();
  };
  return { run, dispose: () => tf.dispose([a, b]) };
}

function onnxProduct(size: number, runtime: OnnxRuntime) {
  const session = runtime.session(productGraph(size));
  const [a, b, y] = Array.from({ length: 3 }, () => new Float32Array(size * size).fill(0.5));
  return { run: () => session.run([a!, b!], [y!]), dispose: () => session.dispose() };
}

/** Each takes whether it was asked for by name. */
const LOADERS: Record<BackendName, (forced: boolean) => Promise<string>> = {
  onnx: loadOnnx,
  'node-gpu': () => loadNative('@tensorflow/tfjs-node-gpu'),
  node: () => loadNative('@tensorflow/tfjs-node'),
  webgpu: loadWebGpu,
  wasm: loadWasm,
  cpu: loadCpu,
};

async function loadOnnx(): Promise<string> {
  try {
    runtime = new OnnxRuntime();
  } catch (error) {
    throw new Error(missingReason(error));
  }
  return `ONNX Runtime ${runtime.version}, ${runtime.threads} threads`;
}

async function loadNative(packageName: string): Promise<string> {
  // Loading a package without its binding would register its kernels all the same, before it fails.
  if (!hasTfjsBinding(dirname(require.resolve(`${packageName}/package.json`)))) {
    throw new Error('installed, but its libtensorflow binding is not built (see scripts/link-libtensorflow.ts)');
  }
  // tfjs-node 4.22 calls util.isNullOrUndefined, which Node 23 removed.
  const legacyUtil = util as { isNullOrUndefined?: (x: unknown) => boolean };
  legacyUtil.isNullOrUndefined ??= (x) => x === null || x === undefined;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2';
  const native = withQuietStderr(() => require(packageName)) as { version: Record<string, string> };
  await activate('tensorflow');
  const bindings = tf.backend() as unknown as { binding?: { TF_Version?: string } };
  return `${packageName} ${native.version['tfjs-node'] ?? ''}, TensorFlow ${bindings.binding?.TF_Version ?? 'unknown'}`;
}

async function loadWebGpu(forced: boolean): Promise<string> {
  if (process.platform === 'linux' && !hasLinuxLibrary('libvulkan.so.1')) throw new Error('libvulkan.so.1 not found');
  const dawnName = 'webgpu'; // optional: kept out of the type checker's sight, it may not be installed
  const dawn = (await import(dawnName)) as { create(options: string[]): unknown; globals: object };
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create([]) as { requestAdapter(): Promise<{ info?: Record<string, string> } | null> };
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error('Dawn found no adapter (no Vulkan, Metal or Direct3D 12 driver)');
  const description = adapter.info?.description || adapter.info?.device || 'unnamed adapter';
  if (!forced && /swiftshader|llvmpipe|software/i.test(`${adapter.info?.architecture} ${description}`)) {
    throw new Error(`${description} is a software adapter, slower than wasm; --backend webgpu takes it all the same`);
  }
  Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true, writable: true });
  try {
    require('@tensorflow/tfjs-backend-webgpu');
    await activate('webgpu');
  } catch (error) {
    Reflect.deleteProperty(globalThis, 'navigator');
    throw error;
  }
  return `Dawn, ${description}`;
}

async function loadWasm(): Promise<string> {
  const wasm = require('@tensorflow/tfjs-backend-wasm') as {
    setWasmPaths(prefix: string): void;
    version_wasm: string;
  };
  wasm.setWasmPaths(join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm')), '/'));
  await activate('wasm');
  registerWasmMatMul();
  return `@tensorflow/tfjs-backend-wasm ${wasm.version_wasm}, one thread, SIMD`;
}

async function loadCpu(): Promise<string> {
  const cpu = require('@tensorflow/tfjs-backend-cpu') as { version_cpu: string };
  await activate('cpu');
  return `@tensorflow/tfjs-backend-cpu ${cpu.version_cpu}, plain JavaScript`;
}

async function activate(tfjsName: string): Promise<void> {
  if (!(await tf.setBackend(tfjsName))) throw new Error(`tfjs refused the back end "${tfjsName}"`);
  await tf.ready();
}

function firstLine(error: unknown): string {
  const { code } = error as { code?: string };
  if (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') return 'package not installed';
  return reasonOf(error).trim();
}
