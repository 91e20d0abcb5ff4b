/**
 * What runs the units of a build: command lines of crayon that share nothing but a directory, each of which may be run on any machine,
 * more than once, and killed. An engine is a row of index.ts; run.ts follows it, with the same progress, logs, cancel and resume for all.
 *
 * Whether a unit is done is never an engine's word but that of the shared directory.
 */

import { join } from 'node:path';
import type * as z from 'zod';
import { EXIT } from '../core/errors.js';
import type { JsonObject } from '../files/json.js';
import { checked } from '../files/schema.js';

/** Set for workers whose standard input is a pipe from their coordinator: they stop, with a checkpoint, when it ends. */
export const ATTACHED_VARIABLE = 'CRAYON_ATTACHED';

/** Stands for a unit's number in its arguments. */
export const INDEX = '{index}';

export interface Work {
  /** for people, in queues: letters, digits, hyphens */
  name: string;
  /** the program that runs crayon, and what it is given before crayon's own arguments */
  program: readonly string[];
  /** crayon's arguments for a unit, with INDEX where its number goes */
  unit: readonly string[];
  /** numbers of the units that are left to do */
  indices: readonly number[];
  /** crayon's arguments for what is run when all units are done */
  last: readonly string[];
  /** where records, scripts and logs are kept, seen by all machines */
  dir: string;
  /** units that run at a time at most */
  workers: number;
  /** that each computes with */
  threads: number;
}

/** A unit's number, or what is run when all are done. */
export type Job = number | 'last';

export interface JobState {
  job: Job;
  /** `failed`: it will not be tried again by the engine */
  state: 'waiting' | 'running' | 'ended' | 'failed';
  /** in the engine's words: a reason to wait, how it ended */
  detail?: string | undefined;
}

/** How an engine finds again what it was given, in a file of the shared directory. */
export type Handle = JsonObject;

/** An engine with its options. */
export interface Engine {
  /** What would be submitted, for people. */
  print(work: Work): string;
  /** Checks that the engine is there. @throws CrayonError `jobs-unavailable` */
  check(): Promise<void>;
  /**
   * Hands units in, and what is run when all of them are done. An engine whose queue knows no dependencies hands that in from `poll`.
   *
   * @throws CrayonError `jobs-failed`
   */
  submit(work: Work): Promise<Handle>;
  /** The jobs of a handle that the engine knows anything of, be it of an earlier coordinator. */
  poll(handle: Handle, work: Work): Promise<JobState[]>;
  /** The end of what a job has said. */
  log(handle: Handle, work: Work, job: Job): Promise<string>;
  /** Ends all jobs of a handle; those that run keep a checkpoint. */
  cancel(handle: Handle, work: Work): Promise<void>;
}

export interface EngineKind {
  readonly name: string;
  /** for the help */
  readonly title: string;
  /** keys of --engine-options, each described; values of a command line are texts */
  readonly options: z.ZodObject;
  /** how often it is asked */
  readonly pollMs: number;
  /** @throws CrayonError `bad-option` naming the keys that are wrong */
  open(given: JsonObject): Engine;
}

/** A row: its options are checked before it is opened. */
export function engineKind<T extends z.ZodObject>(
  row: Omit<EngineKind, 'open' | 'options'> & { options: T; open: (options: z.output<T>) => Engine },
): EngineKind {
  const where = `--engine-options of ${row.name}`;
  return { ...row, open: (given) => row.open(checked(row.options, given, { where, code: 'bad-option' })) };
}

/** A unit of crayon that ends so can be run again with hope: the machine lacked something, or it was stopped from outside. */
export const RETRIED_EXITS: readonly number[] = [EXIT.environment, EXIT.interrupted];

/** Above it a shell says that a signal ended the process. */
const FIRST_SIGNAL = 128;

/** @param code null where a signal ended it */
export const isWorthRetrying = (code: number | null): boolean =>
  code === null || code > FIRST_SIGNAL || RETRIED_EXITS.includes(code);

/** Arguments of one unit. */
export const argumentsOf = ({ unit, last }: Work, job: Job): string[] =>
  job === 'last' ? [...last] : unit.map((part) => part.replaceAll(INDEX, String(job)));

/** A name of a job for people and files. */
export const jobName = (job: Job): string => (job === 'last' ? 'finish' : `unit-${job}`);

/** Where a job's words go. */
export const logPath = ({ dir }: Pick<Work, 'dir'>, job: Job): string => join(dir, 'logs', `${jobName(job)}.log`);

/** A command line as a POSIX shell reads it. */
export const shellLine = (words: readonly string[]): string => words.map(shellWord).join(' ');

export const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
