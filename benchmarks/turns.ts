/**
 * Contestants that take turns at the same work: each is loaded and warm in a process of its own, does a round of the work when it is
 * told to, and waits. So a change of the machine's load meets all of them, and nobody's loading is measured.
 *
 * A contestant prints a JSON line when it is ready, reads a line for every round, and answers it by a Round.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** What one round took. */
export interface Round {
  ms: number;
  /** processor time of all threads */
  cpuMs: number;
}

/** What a contestant says when it is ready. */
export interface Ready {
  /** a number that all contestants at the same work must agree on */
  check: number;
  /** tokens of a round, padding excluded */
  tokens: number;
}

/** After a round, until the threads of its libraries have gone to sleep. */
const PAUSE_MS = 150;

export class Contestant {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<string>;
  #said = '';
  ready!: Ready;
  readonly rounds: Round[] = [];

  private constructor(
    readonly who: string,
    command: readonly [string, ...string[]],
  ) {
    const [file, ...args] = command;
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#closed = new Promise((done) => {
      this.#child.once('close', (code, signal) => done(`ended with ${signal ?? code}`));
    });
    this.#child.stdin!.on('error', () => {}); // it ended: its missing answer says so
    this.#child.stderr!.on('data', (text) => {
      this.#said = `${this.#said}${text}`.slice(-2000);
    });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /** @throws Error with the end of what the process wrote, where it does not get ready */
  static async start(who: string, command: readonly [string, ...string[]]): Promise<Contestant> {
    const contestant = new Contestant(who, command);
    contestant.ready = await contestant.#answer<Ready>();
    return contestant;
  }

  async takeTurn(): Promise<Round> {
    this.#child.stdin!.write('\n');
    const round = await this.#answer<Round>();
    this.rounds.push(round);
    await sleep(PAUSE_MS);
    return round;
  }

  async end(): Promise<void> {
    this.#child.stdin!.end();
    await this.#closed;
  }

  async #answer<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (!done) return JSON.parse(value) as T;
    throw new Error(`${this.who}: ${await this.#closed}: ${this.#said}`);
  }
}

/** The contestant's side: gets warm by a first round, says that it is ready, and does a round for every line that it reads. */
export async function serveRounds(ready: () => Promise<Ready>, round: () => Promise<void>): Promise<void> {
  console.log(JSON.stringify(await ready()));
  for await (const _ of createInterface({ input: process.stdin })) {
    const before = process.cpuUsage();
    const started = performance.now();
    await round();
    const ms = performance.now() - started;
    const { user, system } = process.cpuUsage(before);
    console.log(JSON.stringify({ ms, cpuMs: (user + system) / 1000 } satisfies Round));
  }
}
