/** One mutant tried: laid out, read, and judged. */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isCrayonError, messageOf } from '../../src/core/errors.js';
import { clockOf } from './clock.js';
import { wordsOf } from './mutate/index.js';
import { cook, type Larder, type Recipe, sizeOf } from './recipe.js';
import { type Files, Finding, type Kind, type Target } from './target.js';

/** An answer that takes longer is a hang. */
export const LONGEST_MS = 5000;
/** The growth of the process that one mutant may cause: a warm-up, and so many bytes for each of its own. */
const MEMORY = { bytes: 96 * 2 ** 20, perByte: 64 };
/** Characters of a message: a refusal may quote the input, not repeat it. */
const LONGEST_MESSAGE = 20_000;

export interface Verdict {
  /** `accepted`, a code of CrayonError, or a finding */
  outcome: string;
  kind?: Kind;
  /** the outcome without what differs from mutant to mutant */
  signature: string;
  message: string;
  ms: number;
  bytes: number;
  /** bytes by which the most memory that the process ever had has grown */
  grown: number;
}

const clock = clockOf('self');
const rss = () => process.resourceUsage().maxRSS * 1024;

/** A target with its seeds, its directory and what it has started. */
export class Bench implements Larder {
  readonly words: readonly string[];
  readonly #dir: string;
  #laid = new Map<string, Buffer>();

  private constructor(
    readonly target: Target,
    readonly seeds: readonly Files[],
    scratch: string,
    readonly close: () => Promise<void>,
  ) {
    this.words = [...(target.words ?? []), ...wordsOf(seeds)];
    this.#dir = join(scratch, 'input');
  }

  static async open(target: Target, scratch: string): Promise<Bench> {
    mkdirSync(join(scratch, 'made'), { recursive: true });
    const seeds = await target.seeds(join(scratch, 'made'));
    const close = (await target.open?.(scratch)) ?? (async () => {});
    return new Bench(target, seeds, scratch, close);
  }

  /** Every sound input is accepted: else the target tests nothing. */
  async refuseUnsound(): Promise<void> {
    for (const [from] of this.seeds.entries()) {
      const { outcome, kind, message } = await this.tryOut(cook(this, { from, steps: [] }));
      // A busy machine may take long over a sound one too.
      const isSound =
        outcome === 'accepted' || kind === 'hang' || (this.target.refusals === true && kind === undefined);
      if (!isSound) throw new Error(`${this.target.name}: its sound input ${from} is ${outcome}: ${message}`);
    }
  }

  cooked(recipe: Recipe): Files {
    return cook(this, recipe);
  }

  tryRecipe(recipe: Recipe): Promise<Verdict> {
    return this.tryOut(this.cooked(recipe));
  }

  async tryOut(files: Files): Promise<Verdict> {
    if (!this.target.inMemory) this.#layOut(files);
    const bytes = sizeOf(files);
    const before = rss();
    const start = clock();
    const judged = await this.#judged(files);
    const ms = clock() - start;
    const verdict = { ms, bytes, grown: rss() - before, ...judged };
    if (verdict.kind !== undefined) return verdict;
    if (ms > (this.target.longestMs ?? LONGEST_MS))
      return { ...verdict, outcome: 'finding', kind: 'hang', message: `took ${Math.round(ms)} ms` };
    if (verdict.grown > MEMORY.bytes + MEMORY.perByte * bytes) {
      return { ...verdict, outcome: 'finding', kind: 'memory', message: `took ${verdict.grown} bytes for ${bytes}` };
    }
    return verdict;
  }

  async #judged(files: Files): Promise<Pick<Verdict, 'outcome' | 'kind' | 'signature' | 'message'>> {
    const stray = strayErrors();
    try {
      const way = await this.target.run(this.#dir, files);
      const [error] = stray.errors;
      if (error !== undefined) throw error;
      return { outcome: 'accepted', signature: `accepted ${String(way ?? '')}`, message: '' };
    } catch (error) {
      const message = messageOf(error);
      if (error instanceof Finding)
        return {
          outcome: 'finding',
          kind: error.kind,
          signature: `${error.kind} ${plain(message, this.#dir).slice(0, 50)}`,
          message,
        };
      if (isCrayonError(error) && message !== '' && message.length <= LONGEST_MESSAGE) {
        return { outcome: error.code, signature: `${error.code} ${plain(message, this.#dir)}`, message };
      }
      const kind = isCrayonError(error) ? 'message' : 'exception';
      const place = kind === 'message' ? error : error instanceof Error ? (error.stack ?? error) : error;
      const said = String(place).slice(0, 3000);
      return {
        outcome: 'finding',
        kind,
        signature: `${kind} ${error instanceof Error ? error.name : ''} ${frameOf(error)}`,
        message: said,
      };
    } finally {
      stray.stop();
    }
  }

  /** Writes what differs from the mutant before, and removes what it has no more. */
  #layOut(files: Files): void {
    if (this.target.writes) {
      rmSync(this.#dir, { recursive: true, force: true });
      this.#laid.clear();
    }
    mkdirSync(this.#dir, { recursive: true });
    for (const name of this.#laid.keys()) if (!files.has(name)) rmSync(join(this.#dir, name), { force: true });
    for (const [name, content] of files) {
      if (this.#laid.get(name) === content) continue;
      if (name.includes('/')) mkdirSync(dirname(join(this.#dir, name)), { recursive: true });
      writeFileSync(join(this.#dir, name), content);
    }
    this.#laid = new Map(files);
  }
}

/** Exceptions that nobody waits for, while a mutant is read. */
function strayErrors() {
  const errors: unknown[] = [];
  const note = (error: unknown) => void errors.push(error);
  process.on('uncaughtException', note);
  process.on('unhandledRejection', note);
  return {
    errors,
    stop() {
      process.off('uncaughtException', note);
      process.off('unhandledRejection', note);
    },
  };
}

/** A message without paths, numbers and quoted pieces of the input. */
function plain(message: string, dir: string): string {
  return message
    .replaceAll(dir, '')
    .replace(/"(?:[^"\\]|\\.)*"?/g, '"')
    .replace(/[\d.]+(e[+-]?\d+)?/g, '0')
    .slice(0, 160);
}

/** Where in crayon's code an exception came from. */
function frameOf(error: unknown): string {
  const frames = error instanceof Error ? (error.stack ?? '').split('\n') : [];
  return /src\/[\w/.-]+:\d+/.exec(frames.find((line) => /\/src\/(?!.*node_modules)/.test(line)) ?? '')?.[0] ?? '';
}
