/**
 * ONNX Runtime on the CPU, through its C API (onnxruntime_c_api.h): the library that the npm package onnxruntime-node brings,
 * called by koffi, both optional. The package's own JavaScript copies every result into a new array and runs on the event
 * loop's thread; through the C API results are written where the caller wants them, sessions share one pool of threads, and a
 * run leaves the event loop free.
 */

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { CrayonError, reasonOf } from '../core/errors.js';
import { threadShare } from '../core/threads.js';
import { ELEMENT_TYPES, encodeModel, type Graph, type GraphValue } from './encode.js';

/** An opaque pointer of the C API. */
type Pointer = unknown;
type Call = ((...args: unknown[]) => Pointer) & {
  async(...args: [...unknown[], (error: unknown, result: Pointer) => void]): void;
};

/** What is used of koffi. Its own types are not named: the sources compile without the package. */
interface Koffi {
  config(settings: Record<string, number>): void;
  load(path: string): { func(definition: string): Call };
  proto(definition: string): unknown;
  call(pointer: Pointer, type: unknown, ...args: unknown[]): Pointer;
  decode(pointer: Pointer, ...rest: unknown[]): Pointer;
}

/** Places of functions in the C API's table, which only ever grows at its end, with their C types. */
const FUNCTIONS = {
  getErrorMessage: [2, 'const char *(void *status)'],
  run: [
    9,
    'void *(void *session, void *options, const char **inputNames, void **inputs, size_t inputCount, const char **outputNames, size_t outputCount, void **outputs)',
  ],
  createSession: [8, 'void *(void *env, const void *model, size_t length, void *options, _Out_ void **out)'],
  createSessionOptions: [10, 'void *(_Out_ void **out)'],
  disableMemPattern: [17, 'void *(void *options)'],
  setOptimizationLevel: [23, 'void *(void *options, int level)'],
  createTensor: [
    49,
    'void *(void *memory, void *data, size_t bytes, const int64_t *shape, size_t rank, int type, _Out_ void **out)',
  ],
  createMemoryInfo: [69, 'void *(int allocator, int kind, _Out_ void **out)'],
  releaseStatus: [93, 'void (void *status)'],
  releaseSession: [95, 'void (void *session)'],
  releaseValue: [96, 'void (void *value)'],
  createEnv: [119, 'void *(int level, const char *name, void *threading, _Out_ void **out)'],
  disablePerSessionThreads: [120, 'void *(void *options)'],
  createThreading: [121, 'void *(_Out_ void **out)'],
  setIntraOpThreads: [147, 'void *(void *threading, int count)'],
  setInterOpThreads: [148, 'void *(void *threading, int count)'],
  registerAllocator: [144, 'void *(void *env, void *memory, void *arena)'],
  createArena: [156, 'void *(size_t most, int strategy, int initialChunk, int deadBytes, _Out_ void **out)'],
  setSpinning: [149, 'void *(void *threading, int allow)'],
  addConfigEntry: [130, 'void *(void *options, const char *key, const char *value)'],
} as const satisfies Record<string, readonly [number, string]>;

/** The version of the C API that has them all (ONNX Runtime 1.12). */
const API_VERSION = 12;
/** OrtLoggingLevel: errors, which come back as a status too, are not printed. */
const LOG_FATAL = 4;
const POINTER_BYTES = 8;
/** How an arena grows: by what is asked for, not to the next power of two. */
const SAME_AS_REQUESTED = 1;
/** Of the stack that koffi runs a call on. Its default is 128 KiB, of which a matrix product alone takes 64 to pack into. */
const STACK_BYTES = 2 ** 20;

const LIBRARIES: Partial<Record<NodeJS.Platform, string>> = {
  linux: 'libonnxruntime.so.1',
  darwin: 'libonnxruntime.1.dylib',
  win32: 'onnxruntime.dll',
};

/** koffi unloads a library whose object is garbage collected, though functions of it are still called. */
const held: unknown[] = [];

export interface RuntimeOptions {
  /** threads of one run; this process's share of the processors when absent */
  threads?: number | undefined;
}

/** One per process: its sessions share their threads. */
export class OnnxRuntime {
  readonly threads: number;
  /** of the library */
  readonly version: string;
  readonly #api: Record<keyof typeof FUNCTIONS, Call>;
  readonly #env: Pointer;
  readonly #options: Pointer;
  readonly #memory: Pointer;

  /** @throws Error in plain words where a package or the library is missing */
  constructor({ threads = threadShare() }: RuntimeOptions = {}) {
    // with one thread there is no pool, and some kernels of 1.30 end the process where there is none
    this.threads = Math.max(2, threads);
    const require = createRequire(import.meta.url);
    const name = LIBRARIES[process.platform];
    if (name === undefined) throw new Error(`no library for ${process.platform}`);
    const root = dirname(require.resolve('onnxruntime-node/package.json'));
    const koffi = require('koffi') as Koffi;
    koffi.config({ async_stack_size: STACK_BYTES });
    const library = koffi.load(join(root, 'bin', 'napi-v6', process.platform, process.arch, name));
    held.push(library);
    const base = library.func('void *OrtGetApiBase()')();
    const member = (index: number) => koffi.decode(base, index * POINTER_BYTES, 'void *');
    this.version = koffi.call(member(1), koffi.proto('const char *(void)')) as string;
    const table = koffi.call(member(0), koffi.proto('void *(uint32_t version)'), API_VERSION);
    const functions = Object.entries(FUNCTIONS).map(([key, [index, type]]) => {
      return [key, koffi.decode(koffi.decode(table, index * POINTER_BYTES, 'void *'), koffi.proto(type))];
    });
    this.#api = Object.fromEntries(functions) as Record<keyof typeof FUNCTIONS, Call>;
    const threading = this.#make('createThreading');
    this.#check(this.#api.setIntraOpThreads(threading, this.threads));
    this.#check(this.#api.setInterOpThreads(threading, 1));
    // threads that wait without spinning: a step takes as long, and what else the machine does is not held up
    this.#check(this.#api.setSpinning(threading, 0));
    this.#env = this.#make('createEnv', LOG_FATAL, 'crayon', threading);
    this.#memory = this.#make('createMemoryInfo', 1, 0); // arena allocator, default memory
    // one arena for all sessions, as large as the fullest run: an arena of its own would stay with each shape of batch
    const arena = this.#make('createArena', 0, SAME_AS_REQUESTED, -1, -1);
    this.#check(this.#api.registerAllocator(this.#env, this.#memory, arena));
    this.#options = this.#make('createSessionOptions');
    this.#check(this.#api.disablePerSessionThreads(this.#options));
    this.#check(this.#api.addConfigEntry(this.#options, 'session.use_env_allocators', '1'));
    this.#check(this.#api.disableMemPattern(this.#options));
    this.#check(this.#api.setOptimizationLevel(this.#options, 99));
  }

  session(graph: Graph): OnnxSession {
    const model = encodeModel(graph);
    const session = this.#make('createSession', this.#env, model, model.byteLength, this.#options);
    return new OnnxSession(graph, {
      run: (inputs, outputs) => this.#run(session, graph, inputs, outputs),
      release: () => void this.#api.releaseSession(session),
    });
  }

  async #run(session: Pointer, graph: Graph, inputs: readonly NumberArray[], outputs: readonly NumberArray[]) {
    // with their arrays, which must not be collected while the runtime reads and writes them
    const values: Array<{ value: Pointer; array: NumberArray }> = [];
    const wrap = (expected: readonly GraphValue[], arrays: readonly NumberArray[]) =>
      expected.map(({ name, type, shape }, i) => {
        const array = arrays[i]!;
        const count = shape.reduce((a, b) => a * b, 1);
        if (array.length !== count) throw new Error(`${graph.name}: ${name} has ${array.length} numbers, not ${count}`);
        const sizes = BigInt64Array.from(shape, BigInt);
        const type_ = ELEMENT_TYPES[type];
        const value = this.#make('createTensor', this.#memory, array, array.byteLength, sizes, sizes.length, type_);
        values.push({ value, array });
        return value;
      });
    const names = (expected: readonly GraphValue[]) => expected.map(({ name }) => name);
    try {
      const given = wrap(graph.inputs, inputs);
      const wanted = wrap(graph.outputs, outputs);
      const status = await new Promise<Pointer>((resolve, reject) => {
        const done = (error: unknown, result: Pointer) => (error ? reject(error) : resolve(result));
        const [from, to] = [names(graph.inputs), names(graph.outputs)];
        this.#api.run.async(session, null, from, given, given.length, to, wanted.length, wanted, done);
      });
      this.#check(status);
    } finally {
      for (const { value } of values) this.#api.releaseValue(value);
    }
  }

  #make(name: keyof typeof FUNCTIONS, ...args: unknown[]): Pointer {
    const out: Pointer[] = [null];
    this.#check(this.#api[name](...args, out));
    return out[0];
  }

  #check(status: Pointer): void {
    if (!status) return;
    const message = this.#api.getErrorMessage(status) as string;
    this.#api.releaseStatus(status);
    throw new CrayonError('tensor-runtime-failed', `ONNX Runtime: ${message}`, {
      hint: 'Another back end does the same work: --backend node, or --backend wasm, which needs nothing beyond npm install.',
    });
  }
}

/** The arrays that graphs read and write. 16-bit floats are passed as the integers of their bits. */
export type NumberArray = Float32Array | Int32Array | Uint16Array | Uint8Array | Int8Array;

interface Handle {
  run(inputs: readonly NumberArray[], outputs: readonly NumberArray[]): Promise<void>;
  release(): void;
}

/** A graph that is ready to run. */
export class OnnxSession {
  readonly #handle: Handle;

  constructor(
    readonly graph: Graph,
    handle: Handle,
  ) {
    this.#handle = handle;
  }

  /**
   * Runs the graph. Nothing is copied: inputs are read and outputs are written where they lie, so the caller touches neither
   * until the run has ended.
   *
   * @param inputs in the graph's order @param outputs likewise
   * @throws CrayonError `tensor-runtime-failed` with ONNX Runtime's message
   */
  run(inputs: readonly NumberArray[], outputs: readonly NumberArray[]): Promise<void> {
    return this.#handle.run(inputs, outputs);
  }

  dispose(): void {
    this.#handle.release();
  }
}

/** What a constructor of OnnxRuntime threw, in a few words. */
export function missingReason(error: unknown): string {
  const { code } = error as { code?: string };
  return code === 'MODULE_NOT_FOUND' ? 'package not installed' : reasonOf(error);
}
