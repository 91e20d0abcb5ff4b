/** What is said between a process that needs a stranger's code run and the one that runs it (child.ts). Plain data both ways. */

/** A module of ours that is loaded where the code is run; `open` is given what all calls have in common. */
export interface JobModule {
  open(setup: unknown): Jobs | Promise<Jobs>;
}

/** Functions from plain data to plain data. A CrayonError that they throw arrives as one. */
export type Jobs = Readonly<Record<string, (args: never) => unknown>>;

/** Names one `open`; `module` and `setup` come with the first call, and again where the other side has forgotten it. */
export interface Job {
  key: string;
  module: string;
  setup: unknown;
}

export interface CallMessage {
  id: number;
  key: string;
  opened?: Pick<Job, 'module' | 'setup'>;
  name: string;
  args: unknown;
  timeMs: number;
}

export type Reply = { id: number } & Outcome;

export type Outcome =
  | { kind: 'value'; value: unknown }
  /** the other side does not know this key any more */
  | { kind: 'unknown' }
  | { kind: 'time'; timeMs: number }
  /** more than may be sent, or the process has died: `ended` says how */
  | { kind: 'memory'; ended: string }
  | { kind: 'crayon'; code: string; message: string; hint: string | undefined }
  | { kind: 'error'; message: string };
