/**
 * Where a command's words go. Results go to stdout, everything else to stderr; with `--json`, stdout carries exactly one
 * JSON document. No colours and no moving lines where the stream is not a terminal or NO_COLOR is set.
 */

import { Chalk, type ChalkInstance } from 'chalk';
import Table from 'cli-table3';
import ora from 'ora';
import { bar, formatDuration, formatRate } from '../core/format.js';

export interface Streams {
  stdout: NodeJS.WriteStream | NodeJS.WritableStream;
  stderr: NodeJS.WriteStream | NodeJS.WritableStream;
  env: NodeJS.ProcessEnv;
}

export interface ProgressDisplay {
  /** Reports `done` of `total` units of a stage; a new stage ends the one before. */
  update(stage: string, done: number, total: number, note?: string): void;
  /** Ends the last stage; with an error, as failed. */
  end(failed?: boolean): void;
}

export class Terminal {
  json = false;
  quiet = false;
  /** colours for stdout */
  readonly colour: ChalkInstance;
  readonly #colourError: ChalkInstance;

  constructor(readonly streams: Streams) {
    this.colour = new Chalk({ level: colourLevel(streams, streams.stdout) });
    this.#colourError = new Chalk({ level: colourLevel(streams, streams.stderr) });
  }

  /** Width of stdout in characters; 100 where it is not a terminal. */
  get columns(): number {
    return (this.streams.stdout as NodeJS.WriteStream).columns ?? 100;
  }

  /** A line of the result for people; dropped under `--json`. */
  print(text = ''): void {
    if (!this.json) this.streams.stdout.write(`${text}\n`);
  }

  /** The result for programs; dropped without `--json`. */
  document(value: unknown): void {
    if (this.json) this.streams.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** A remark that is not part of the result. */
  note(text: string): void {
    if (!this.quiet) this.streams.stderr.write(`${this.#colourError.dim(text)}\n`);
  }

  warn(text: string): void {
    this.streams.stderr.write(`${this.#colourError.yellow('Warning:')} ${text}\n`);
  }

  error(code: string, message: string, hint?: string): void {
    const { red, dim } = this.#colourError;
    this.streams.stderr.write(`${red('Error:')} ${message} ${dim(`[${code}]`)}\n`);
    if (hint !== undefined) this.streams.stderr.write(`${dim('Hint:')}  ${hint}\n`);
  }

  table(head: string[], rows: string[][], align?: Array<'left' | 'right' | 'center'>): void {
    const table = new Table({
      head: head.map((cell) => this.colour.bold(cell)),
      style: { head: [], border: [], compact: true },
      ...(align && { colAligns: align }),
    });
    table.push(...rows);
    this.print(table.toString());
  }

  /** Does work that shows its progress; the stage in which it throws ends as failed. */
  async during<T>(work: (progress: ProgressDisplay) => Promise<T>): Promise<T> {
    const progress = this.progress();
    try {
      const result = await work(progress);
      progress.end();
      return result;
    } catch (error) {
      progress.end(true);
      throw error;
    }
  }

  /** A bar with rate and time left on a terminal; one line for each finished stage elsewhere. */
  progress(): ProgressDisplay {
    const { stderr } = this.streams;
    // A terminal that does not tell its width (0) cannot be drawn on.
    const live = !this.quiet && isForPeople(this.streams, stderr) && (stderr as NodeJS.WriteStream).columns !== 0;
    const spinner = ora({
      stream: stderr as NodeJS.WriteStream,
      isEnabled: live,
      isSilent: !live,
      discardStdin: false,
    });
    let stage: string | undefined;
    let started = 0;
    let startedAt = 0; // units done when the stage was first heard of
    let last: { done: number; total: number; note?: string | undefined } | undefined;

    const finish = (hasFailed: boolean) => {
      if (stage === undefined || last === undefined) return;
      const { done, total, note } = last;
      const failed = hasFailed && done < total; // else it was complete, and something after it failed
      const share = failed ? `${done} of ${total}` : `${total}`;
      const text = `${stage}  ${share} in ${formatDuration(performance.now() - started)}${note ? `, ${note}` : ''}`;
      if (!live) this.note(`${failed ? 'x' : '-'} ${text}`);
      else if (failed) spinner.fail(text);
      else spinner.succeed(text);
      stage = undefined;
    };

    return {
      update: (next, done, total, note) => {
        if (next !== stage) {
          finish(false);
          stage = next;
          started = performance.now();
          startedAt = done;
          if (live) spinner.start();
        }
        last = { done, total, note };
        if (live) spinner.text = progressLine(next, { ...last, startedAt }, performance.now() - started);
      },
      end: (failed = false) => finish(failed),
    };
  }
}

/** `train ████░░░░ 41 %  123/300  5.1/s  35 s left  loss 1.234` */
export function progressLine(
  stage: string,
  { done, total, startedAt, note }: { done: number; total: number; startedAt: number; note?: string | undefined },
  elapsedMs: number,
): string {
  const share = total > 0 ? done / total : 0;
  const perMs = elapsedMs > 0 ? (done - startedAt) / elapsedMs : 0;
  const parts = [stage, bar(share, 20), `${Math.floor(share * 100)} %`, `${done}/${total}`];
  if (perMs > 0) {
    parts.push(`${formatRate(perMs * 1000)}/s`, `${formatDuration((total - done) / perMs)} left`);
  }
  if (note) parts.push(note);
  return parts.join('  ');
}

function colourLevel(streams: Streams, stream: Streams['stdout']): 0 | 1 {
  const { NO_COLOR, FORCE_COLOR } = streams.env;
  if (FORCE_COLOR && FORCE_COLOR !== '0' && !NO_COLOR) return 1;
  return isForPeople(streams, stream) ? 1 : 0;
}

/** Whether a stream may have colours and lines that move. Where stdout goes to a file or a program, none may. */
function isForPeople({ stdout, env }: Streams, stream: Streams['stdout']): boolean {
  const isTerminal = (s: Streams['stdout']) => (s as NodeJS.WriteStream).isTTY === true;
  return isTerminal(stream) && isTerminal(stdout) && env.TERM !== 'dumb' && !env.NO_COLOR;
}
