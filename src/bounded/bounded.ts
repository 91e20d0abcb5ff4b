/**
 * Code that comes with a model, an adapter or a data set, run bounded in time and in memory: in another process, which can be ended
 * whatever the code does. What runs there is a module of ours over plain data (`open(setup)` gives its functions); only what that
 * module interprets is a stranger's.
 *
 * One process serves all callers of a process; it starts with the first call and ends with the last process that needs it.
 */

import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { CrayonError, type ErrorCode } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { threadScript } from '../core/long-work.js';
import type { BridgeAnswer, BridgeCall } from './bridge.js';
import { Lane } from './lane.js';
import type { Job, Outcome } from './protocol.js';
import { seconds, wallMs } from './time.js';

/** Whose code it is, and how it is run. */
export interface BoundedOptions {
  /** `import.meta.url` of the module beside which the jobs are */
  beside: string;
  /** their file, without its ending: it exports `open(setup)` */
  jobs: string;
  /** plain data, given to `open` */
  setup: unknown;
  /** file and key whose code runs, for errors: `model/: the chat template` */
  what: string;
  /** of the errors for time and memory */
  code: ErrorCode;
  /** what a user can do about it */
  hint: string;
}

let lane: Lane | undefined;
let bridge: { port: MessagePort; signal: Int32Array; worker: Worker } | undefined;
let keys = 0;
let calls = 0;

export class Bounded {
  readonly #job: Job;
  readonly #options: BoundedOptions;

  constructor(options: BoundedOptions) {
    const { beside, jobs, setup } = options;
    const module = new URL(`./${jobs}${beside.endsWith('.ts') ? '.ts' : '.js'}`, beside).href;
    this.#job = { key: `${process.pid}.${++keys}`, module, setup };
    this.#options = options;
  }

  /**
   * Calls a function of the jobs while the event loop goes on.
   *
   * @throws CrayonError what the function throws; the options' code where time or memory is over; `interrupted` when the signal fires,
   *   whatever the code does
   */
  async run<T>(
    name: string,
    args: unknown,
    { timeMs = LIMITS.codeMs, signal }: { timeMs?: number; signal?: AbortSignal } = {},
  ) {
    lane ??= new Lane();
    const outcome = await lane.run(this.#job, name, args, timeMs, signal);
    if (signal?.aborted) throw new CrayonError('interrupted', 'the request was cancelled');
    return this.#valueOf(outcome) as T;
  }

  /** The same, waiting: for command lines, whose thread has nothing else to do. Many items in one call cost little more than one. */
  runSync<T>(name: string, args: unknown, { timeMs = LIMITS.codeMs }: { timeMs?: number } = {}): T {
    bridge ??= startBridge();
    const { port, signal, worker } = bridge;
    const id = ++calls;
    const end = performance.now() + wallMs(timeMs) + LIMITS.codeBridgeMs;
    port.postMessage({ id, job: this.#job, name, args, timeMs } satisfies BridgeCall);
    for (;;) {
      const seen = Atomics.load(signal, 0);
      // A wake-up may be that of the answer before, whose thread was interrupted between counting and notifying: only an answer with
      // this call's number ends the wait.
      for (let found = receiveMessageOnPort(port); found !== undefined; found = receiveMessageOnPort(port)) {
        const answer = found.message as BridgeAnswer;
        if (answer.id === id) return this.#valueOf(answer.outcome) as T;
      }
      const left = end - performance.now();
      if (left > 0 && Atomics.wait(signal, 0, seen, left) !== 'timed-out') continue;
      void worker.terminate();
      bridge = undefined;
      return this.#valueOf({ kind: 'time', timeMs }) as T;
    }
  }

  #valueOf(outcome: Outcome): unknown {
    if (outcome.kind === 'value') return outcome.value;
    if (outcome.kind === 'crayon') {
      const { code, message, hint } = outcome;
      throw new CrayonError(code as ErrorCode, message, hint === undefined ? {} : { hint });
    }
    const { what, code, hint } = this.#options;
    throw new CrayonError(code, `${what} ${reason(outcome)}`, { hint });
  }
}

function reason(outcome: Exclude<Outcome, { kind: 'value' | 'crayon' }>): string {
  switch (outcome.kind) {
    case 'time':
      return `was stopped after ${seconds(outcome.timeMs)}: it does not end, or takes far too long`;
    case 'memory':
      return `was stopped: it takes more than ${LIMITS.codeHeapBytes / 2 ** 20} MiB of memory (${outcome.ended})`;
    case 'error':
      return `failed (${outcome.message})`;
    case 'unknown':
      return 'failed';
  }
}

function startBridge() {
  const { port1: port, port2 } = new MessageChannel();
  const signal = new Int32Array(new SharedArrayBuffer(4));
  const [script, options] = threadScript(import.meta.url, 'bridge');
  const worker = new Worker(script, { ...options, workerData: { port: port2, signal }, transferList: [port2] });
  worker.on('error', () => {
    bridge = undefined;
  });
  worker.unref();
  port.unref();
  return { port, signal, worker };
}
