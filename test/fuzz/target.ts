/** What is fuzzed: a reader by its public entrance, the sound inputs that mutants are made of, and what else must hold of an accepted one. */

import type { Mutate } from './mutate/index.js';

/** An input: bytes by file name, `/` for folders. */
export type Files = ReadonlyMap<string, Buffer>;

export interface Target {
  name: string;
  /** what is read, for the table of docs/fuzzing.md */
  reads: string;
  /** Sound inputs, made when the target is first used. `scratch` is a folder for what must be generated. */
  seeds(scratch: string): Files[] | Promise<Files[]>;
  /** Some of the sound inputs are refusals by nature, such as a server's that says no. */
  refusals?: boolean;
  /** Further words to name keys by, beside those of the seeds. */
  words?: readonly string[];
  /** Files that are changed; all where it is left out. */
  changes?: RegExp;
  /** The mutator where a file's ending does not say it. */
  mutate?: Mutate;
  /** Laid out in `dir` anew for every mutant, because reading writes there too. */
  writes?: boolean;
  /** What is read may end the process by a right of its own: tried in children alone. */
  endsProcess?: boolean;
  /** Needs no directory: `files` is all that `run` looks at. */
  inMemory?: boolean;
  /** An answer that takes longer is a hang: 5 s, or where code of strangers runs, which is given longer itself, what is said here. */
  longestMs?: number;
  /** This target's share of a run, against 1 of the others. */
  weight?: number;
  /**
   * Reads the mutant as far as it goes. Right is to return, or to throw a CrayonError; what is returned is the name of the way
   * that it was accepted, for the coverage of outcomes. A `Finding` thrown here is a fault that the target sees itself.
   */
  run(dir: string, files: Files): unknown | Promise<unknown>;
  /** Starts what all runs share; the returned function stops it. */
  open?(scratch: string): Promise<() => Promise<void>>;
}

export const KINDS = ['exception', 'message', 'hang', 'memory', 'abort', 'different'] as const;
export type Kind = (typeof KINDS)[number];

/** A fault that a target saw: an accepted mutant that means something else to a peer, a wrong answer on the wire. */
export class Finding extends Error {
  constructor(
    readonly kind: Kind,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'Finding';
  }
}
