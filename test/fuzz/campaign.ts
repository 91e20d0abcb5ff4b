/** A run over several targets: a child process for each, watched for hangs and aborts; what was found is made small and kept. */

import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Order, Report } from './child.js';
import { clockOf } from './clock.js';
import { wordsOf } from './mutate/index.js';
import { cook, type Larder, type Recipe, shrunk } from './recipe.js';
import { added, emptyTally, type Found, type Tally } from './slice.js';
import type { Kind, Target } from './target.js';
import { LONGEST_MS } from './trial.js';

/** A target's part of a run, as it is kept for a run that goes on. */
export interface Progress {
  tally: Tally;
  /** number of the next slice */
  slice: number;
  corpus: Recipe[];
  found: Found[];
  /** by what a mutant was reported again and again */
  times: Record<string, number>;
}

export interface CampaignOptions {
  seed: number;
  /** of all targets together; both are ends */
  ms: number;
  mutants: number;
  /** children at a time */
  lanes: number;
  coverage: boolean;
  /** for what is found, and for the state */
  out: string;
  state: Record<string, Progress>;
  log: (line: string) => void;
}

const SLICE_MS = 4000;
/** A child that takes longer to begin than this fails. */
const OPEN_MS = 180_000;
const POLL_MS = 200;
/** A machine with much else to do stops processes for a while, what a child waits for among them. */
const GRACE_MS = 1500;
/** Of a target: after so many it has said what it has to say. */
const MOST_DEATHS = 20;

export async function runCampaign(
  targets: readonly Target[],
  options: CampaignOptions,
): Promise<Record<string, Progress>> {
  const { state, lanes, out } = options;
  mkdirSync(out, { recursive: true });
  const whole = targets.reduce((sum, { weight = 1 }) => sum + weight, 0);
  const waiting = [...targets];
  const lane = async () => {
    for (let target = waiting.shift(); target !== undefined; target = waiting.shift()) {
      const share = (target.weight ?? 1) / whole;
      const part = { ...options, ms: options.ms * share * lanes, mutants: Math.ceil(options.mutants * share) };
      try {
        state[target.name] = await runTarget(target, state[target.name], part);
      } catch (error) {
        options.log(`${target.name}: failed, and was left: ${error instanceof Error ? error.message : error}`);
        process.exitCode = 2;
      }
      writeFileSync(join(out, 'state.json'), JSON.stringify(state));
    }
  };
  await Promise.all(Array.from({ length: Math.min(lanes, targets.length) }, lane));
  return state;
}

async function runTarget(target: Target, earlier: Progress | undefined, options: CampaignOptions): Promise<Progress> {
  const progress = earlier ?? { tally: emptyTally(), slice: 0, corpus: [], found: [], times: {} };
  const before = progress.tally.mutants;
  let child: Child | undefined = await Child.open(target, options);
  const end = performance.now() + options.ms;
  let deaths = 0;
  try {
    while (performance.now() < end && progress.tally.mutants - before < options.mutants && deaths < MOST_DEATHS) {
      child ??= await Child.open(target, options);
      const order: Order = {
        do: 'slice',
        seed: options.seed,
        slice: progress.slice++,
        mutants: options.mutants - (progress.tally.mutants - before),
        ms: Math.min(SLICE_MS, end - performance.now()),
        corpus: progress.corpus,
      };
      const start = performance.now();
      const report = await child.ask(order);
      if (report.done === 'failed') throw new Error(`${target.name}: ${report.message}`);
      if (report.done === 'slice') {
        progress.tally = added(progress.tally, report.tally);
        progress.corpus = report.corpus;
        for (const found of report.found) await note(found);
      } else if (report.done === 'died') {
        deaths++;
        child = undefined;
        const tally = {
          ...emptyTally(),
          mutants: report.tried,
          ms: performance.now() - start,
          outcomes: { [report.kind]: 1, lost: Math.max(0, report.tried - 1) },
        };
        progress.tally = added(progress.tally, tally);
        await note({
          kind: report.kind,
          recipe: report.recipe,
          signature: `${report.kind} ${report.how}`,
          message: report.how,
        });
      }
    }
  } finally {
    await child?.end();
  }
  return progress;

  /** Keeps it once: confirmed in a child of its own, and made small there, where that is how it shows. */
  async function note(found: Found): Promise<void> {
    progress.times[found.signature] = (progress.times[found.signature] ?? 0) + 1;
    if (progress.found.some(({ signature }) => signature === found.signature)) return;
    if (found.kind === 'hang' || found.kind === 'abort' || found.kind === 'memory') {
      const shows = async (recipe: Recipe) => (await isolated(target, recipe, options)) === found.kind;
      if (!(await shows(found.recipe))) {
        options.log(
          `${target.name}: ${found.kind} that did not show a second time, alone: ${JSON.stringify(found.recipe)}`,
        );
        progress.times[`not repeated: ${found.kind}`] = (progress.times[`not repeated: ${found.kind}`] ?? 0) + 1;
        return;
      }
      found.recipe = await shrunk(found.recipe, shows);
    }
    progress.found.push(found);
    const folder = await keep(target, found, options);
    options.log(
      `${target.name}: ${found.kind}: ${found.message.split('\n').slice(0, 6).join('\n    ')}\n    npx tsx test/fuzz/main.ts --repeat ${folder}`,
    );
  }
}

/** What a mutant does in a fresh child. */
async function isolated(target: Target, recipe: Recipe, options: CampaignOptions): Promise<Kind | undefined> {
  const child = await Child.open(target, { ...options, coverage: false });
  const report = await child.ask({ do: 'try', recipe });
  await child.end();
  return report.done === 'died' ? report.kind : report.done === 'try' ? (report.kind as Kind | undefined) : undefined;
}

/** The mutant's files, and what is known of it. */
async function keep(target: Target, found: Found, { out, seed }: CampaignOptions): Promise<string> {
  const seeds = await target.seeds(scratchIn(out));
  const larder: Larder = { target, seeds, words: [...(target.words ?? []), ...wordsOf(seeds)] };
  const number = [...found.signature]
    .reduce((hash, c) => (Math.imul(hash, 31) + c.codePointAt(0)!) >>> 0, 7)
    .toString(36);
  const folder = join(out, 'findings', `${target.name}-${found.kind}-${number}`);
  rmSync(folder, { recursive: true, force: true });
  for (const [name, content] of cook(larder, found.recipe)) {
    mkdirSync(dirname(join(folder, 'input', name)), { recursive: true });
    writeFileSync(join(folder, 'input', name), content);
  }
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'finding.json'), `${JSON.stringify({ target: target.name, seed, ...found }, null, 2)}\n`);
  return folder;
}

let scratches = 0;
function scratchIn(out: string): string {
  const dir = join(out, 'scratch', `${process.pid}-${++scratches}`);
  mkdirSync(dir, { recursive: true });
  return dir;
}

type Died = { done: 'died'; kind: 'hang' | 'abort'; how: string; recipe: Recipe; tried: number };

class Child {
  readonly #process: ChildProcess;
  readonly #progress: string;
  readonly #scratch: string;
  readonly #longestMs: number;
  /** the number of the mutant that was first of the order */
  #first = 0;

  private constructor(target: Target, { out, coverage }: Pick<CampaignOptions, 'out' | 'coverage'>) {
    this.#scratch = scratchIn(out);
    this.#longestMs = target.longestMs ?? LONGEST_MS;
    this.#progress = join(this.#scratch, 'progress');
    const script = join(dirname(fileURLToPath(import.meta.url)), 'child.ts');
    this.#process = fork(script, [target.name, this.#scratch, this.#progress, coverage ? 'yes' : 'no'], {
      execArgv: ['--import', import.meta.resolve('tsx'), '--max-old-space-size=2048'],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#process.on('error', () => {}); // an order that came too late for it: its exit says all
  }

  static async open(target: Target, options: Pick<CampaignOptions, 'out' | 'coverage'>): Promise<Child> {
    const child = new Child(target, options);
    const report = await child.#report(OPEN_MS);
    if (report.done === 'open') return child;
    await child.end();
    throw new Error(`${target.name}: cannot be opened: ${JSON.stringify(report)}`);
  }

  ask(order: Order): Promise<Report | Died> {
    this.#first = this.#read()?.[0] ?? 0;
    this.#process.send(order);
    return this.#report(null);
  }

  async end(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const gone = new Promise((resolve) => this.#process.once('exit', resolve));
      if (this.#process.connected && !this.#process.killed) this.#process.send({ do: 'end' } satisfies Order);
      const timer = setTimeout(() => this.#process.kill('SIGKILL'), 3000);
      await gone;
      clearTimeout(timer);
    }
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  /** The next report, or how the child died. @param limit for the whole; null: for each mutant */
  #report(limit: number | null): Promise<Report | Died> {
    return new Promise((resolve) => {
      const clock = clockOf(this.#process.pid!);
      let [last, stuck, at] = [this.#read()?.[0] ?? 0, 0, clock()];
      const settle = (report: Report | Died) => {
        clearInterval(timer);
        this.#process.off('message', settle);
        this.#process.off('exit', exited);
        resolve(report);
      };
      const died = (kind: Died['kind'], how: string) => {
        const [count, recipe] = this.#read() ?? [0, { from: 0, steps: [] }];
        rmSync(this.#scratch, { recursive: true, force: true });
        settle({ done: 'died', kind, how, recipe, tried: Math.max(1, count - this.#first) });
      };
      const exited = (code: number | null, signal: string | null) =>
        died('abort', `the process ended with ${signal ?? `code ${code}`}`);
      const timer = setInterval(() => {
        const count = this.#read()?.[0] ?? 0;
        const now = clock();
        stuck = count === last ? stuck + Math.min(now - at, 2 * POLL_MS) : 0; // this process may have been held up itself
        [last, at] = [count, now];
        if (stuck < (limit ?? this.#longestMs + GRACE_MS)) return;
        this.#process.off('exit', exited);
        this.#process.kill('SIGKILL');
        died('hang', `no answer within ${(limit ?? this.#longestMs) / 1000} s`);
      }, POLL_MS);
      this.#process.on('message', settle);
      this.#process.once('exit', exited);
    });
  }

  #read(): [count: number, recipe: Recipe] | null {
    try {
      return JSON.parse(readFileSync(this.#progress, 'utf8').split('\n')[0]!);
    } catch {
      return null; // nothing yet, or half of a line
    }
  }
}
