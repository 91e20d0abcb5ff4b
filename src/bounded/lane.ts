/**
 * Processes that run strangers' code, seen from the one that needs it run: started when first needed, ended when a call takes too
 * long, too much memory, or is given up, and started anew for the next call.
 *
 * A thread would be cheaper but no wall: V8 ends the whole process where one allocation of a thread does not fit its heap (a text
 * that doubles itself and is then split), whatever `resourceLimits` say.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { messageOf } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { childScript } from '../core/long-work.js';
import type { CallMessage, Job, Outcome, Reply } from './protocol.js';
import { wallMs } from './time.js';

/** A call that waits so long behind another one gets a process of its own. */
const IMPATIENT_MS = 100;

interface Waiting extends Job {
  /** of the message that asks for it */
  id: number;
  name: string;
  args: unknown;
  timeMs: number;
  settle(outcome: Outcome): void;
  /** the process that has it */
  runner: Runner | null;
}

interface Runner {
  child: ChildProcess;
  known: Set<string>;
  current: Waiting | null;
  hasAnswered: boolean;
  timer: NodeJS.Timeout | undefined;
}

export class Lane {
  readonly #runners: Runner[] = [];
  readonly #queue: Waiting[] = [];
  #impatience: NodeJS.Timeout | undefined;
  #calls = 0;

  /**
   * Never rejects: what went wrong is an outcome, too.
   *
   * @param signal gives the call up, and ends the process where it has begun: the outcome is then of no interest
   */
  run(job: Job, name: string, args: unknown, timeMs: number, signal?: AbortSignal): Promise<Outcome> {
    return new Promise((resolve) => {
      const giveUp = (): void => this.#drop(call);
      const call: Waiting = {
        ...{ ...job, id: 0, name, args, timeMs, runner: null },
        settle: (outcome) => {
          signal?.removeEventListener('abort', giveUp);
          resolve(outcome);
        },
      };
      if (signal?.aborted) return resolve({ kind: 'error', message: 'given up' });
      signal?.addEventListener('abort', giveUp, { once: true });
      this.#queue.push(call);
      this.#feed();
    });
  }

  #feed(): void {
    if (this.#queue.length === 0) return;
    const idle = this.#runners.find(({ current }) => current === null);
    if (idle !== undefined) this.#give(idle, this.#queue.shift()!);
    else if (this.#runners.length === 0) this.#giveNew(this.#queue.shift()!);
    else if (this.#runners.length < LIMITS.codeProcesses) {
      this.#impatience ??= setTimeout(() => {
        this.#impatience = undefined;
        const waits = this.#queue.length > 0 && this.#runners.every(({ current }) => current !== null);
        if (waits && this.#runners.length < LIMITS.codeProcesses) this.#giveNew(this.#queue.shift()!);
        this.#feed();
      }, IMPATIENT_MS).unref();
    }
  }

  /** What the system refuses at once (no permission, too large an environment) is the call's failure, as what it refuses later. */
  #giveNew(call: Waiting): void {
    let runner: Runner;
    try {
      runner = this.#start();
    } catch (error) {
      call.settle({ kind: 'error', message: `no process: ${messageOf(error)}` });
      queueMicrotask(() => this.#feed());
      return;
    }
    this.#give(runner, call);
  }

  #start(): Runner {
    const heap = `--max-old-space-size=${LIMITS.codeHeapBytes / 2 ** 20}`;
    // NODE_OPTIONS may hold a debugger's port or another heap limit.
    const { NODE_OPTIONS: _, ...env } = process.env;
    const child = spawn(process.execPath, [heap, ...childScript(import.meta.url, 'child')], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      serialization: 'advanced',
      windowsHide: true,
      env,
    });
    const runner: Runner = { child, known: new Set(), current: null, hasAnswered: false, timer: undefined };
    this.#runners.push(runner);
    child.on('message', (reply) => this.#answered(runner, reply as Reply));
    child.on('error', (error) => this.#ended(runner, { kind: 'error', message: `no process: ${error.message}` }));
    child.on('exit', (code, signal) => this.#ended(runner, outcomeOfExit(code, signal)));
    child.unref();
    child.channel?.unref();
    return runner;
  }

  #give(runner: Runner, call: Waiting): void {
    const { key, module, setup, name, args, timeMs } = call;
    call.runner = runner;
    runner.current = call;
    call.id = ++this.#calls;
    const message: CallMessage = { id: call.id, key, name, args, timeMs };
    if (!runner.known.has(key)) message.opened = { module, setup };
    runner.known.add(key);
    runner.child.channel?.ref(); // until it has answered, the caller's process stays
    try {
      runner.child.send(message, () => {}); // one that is gone says so by `exit`
    } catch (error) {
      this.#rest(runner);
      call.settle({ kind: 'error', message: messageOf(error) }); // what cannot be sent
      queueMicrotask(() => this.#feed());
      return;
    }
    // The process keeps its own time, of a processor: this is for one that cannot.
    const patience = wallMs(timeMs) + LIMITS.codeGraceMs + (runner.hasAnswered ? 0 : LIMITS.codeStartMs);
    runner.timer = setTimeout(() => this.#kill(runner, { kind: 'time', timeMs }), patience);
  }

  #answered(runner: Runner, { id, ...outcome }: Reply): void {
    const call = runner.current;
    if (call === null || id !== call.id) return;
    runner.hasAnswered = true;
    this.#rest(runner);
    if (outcome.kind === 'unknown') {
      runner.known.delete(call.key);
      this.#give(runner, call);
      return;
    }
    call.settle(outcome);
    this.#feed();
  }

  #rest(runner: Runner): void {
    clearTimeout(runner.timer);
    runner.current = null;
    runner.child.channel?.unref();
  }

  #kill(runner: Runner, outcome: Outcome): void {
    const call = runner.current;
    this.#rest(runner);
    this.#forget(runner);
    runner.child.kill('SIGKILL');
    call?.settle(outcome);
    this.#feed();
  }

  #ended(runner: Runner, outcome: Outcome): void {
    const call = runner.current;
    if (!this.#forget(runner)) return;
    this.#rest(runner);
    call?.settle(outcome);
    this.#feed();
  }

  /** @returns whether it was still known */
  #forget(runner: Runner): boolean {
    const at = this.#runners.indexOf(runner);
    if (at >= 0) this.#runners.splice(at, 1);
    return at >= 0;
  }

  #drop(call: Waiting): void {
    const outcome: Outcome = { kind: 'error', message: 'given up' };
    if (call.runner?.current === call) this.#kill(call.runner, outcome);
    else {
      const at = this.#queue.indexOf(call);
      if (at >= 0) this.#queue.splice(at, 1);
      call.settle(outcome);
    }
  }
}

/** Node ends itself by a signal where V8 has no memory left, and on Windows by a code of its own; so does the system, by SIGKILL. */
function outcomeOfExit(code: number | null, signal: NodeJS.Signals | null): Outcome {
  if (code !== null && code < 128) return { kind: 'error', message: `its process ended with exit code ${code}` };
  return { kind: 'memory', ended: signal ?? `exit code ${code}` };
}
