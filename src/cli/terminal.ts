/**
 * Where a command's words go: the one place where text meets a terminal, so that text of files, which may hold the terminal's
 * own commands, is escaped here. Results go to stdout, everything else to stderr; with `--json`, stdout carries exactly one
 * JSON document. No colours and no moving lines where the stream is not a terminal or NO_COLOR is set.
 */

import { randomInt } from 'node:crypto';
import Table from 'cli-table3';
import { bar, formatDuration, formatRate, printable } from '../core/format.js';

export interface Streams {
  stdout: NodeJS.WriteStream | NodeJS.WritableStream;
  stderr: NodeJS.WriteStream | NodeJS.WritableStream;
  env: NodeJS.ProcessEnv;
}

/** Numbers that are in our colours' codes until they are written: those of a file cannot be told from text otherwise. */
const KEY = Array.from({ length: 3 }, () => randomInt(1000, 10_000)).join(';');
const OURS = new RegExp(`\\x1b\\[(\\d+);${KEY}m`);

const COLOURS = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
} as const;
export type Colours = Record<keyof typeof COLOURS, (text: string) => string>;

function coloursOf(level: 0 | 1): Colours {
  const paint = ([on, off]: readonly [number, number]) => {
    return (text: string) => (level === 0 ? text : `\x1b[${on};${KEY}m${text}\x1b[${off};${KEY}m`);
  };
  return Object.fromEntries(Object.entries(COLOURS).map(([name, codes]) => [name, paint(codes)])) as Colours;
}

/** Escapes all of a text but our colours, of which `code` makes what it is to be. */
function escaped(text: string, keepLines: boolean, code: (number: string) => string): string {
  const parts = text.split(OURS); // text and codes by turns
  return parts.map((part, i) => (i % 2 === 1 ? code(part) : printable(part, { keepLines }))).join('');
}
const onScreen = (text: string) => escaped(text, true, (code) => `\x1b[${code}m`);
const oneLine = (text: string) => escaped(text, false, (code) => `\x1b[${code};${KEY}m`);

/** A text of one line, whatever is in it, or several lines. */
export type Cell = string | readonly string[];

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
  readonly colour: Colours;
  readonly #colourError: Colours;

  constructor(readonly streams: Streams) {
    this.colour = coloursOf(colourLevel(streams, streams.stdout));
    this.#colourError = coloursOf(colourLevel(streams, streams.stderr));
  }

  /** Width of stdout in characters; 100 where it is not a terminal. */
  get columns(): number {
    return (this.streams.stdout as NodeJS.WriteStream).columns ?? 100;
  }

  /** A line of the result for people; dropped under `--json`. */
  print(text = ''): void {
    if (!this.json) this.streams.stdout.write(`${onScreen(text)}\n`);
  }

  /** The result for programs; dropped without `--json`. */
  document(value: unknown): void {
    if (this.json) this.streams.stdout.write(`${printable(JSON.stringify(value, null, 2), { keepLines: true })}\n`);
  }

  /** A remark that is not part of the result. */
  note(text: string): void {
    if (!this.quiet) this.say(this.#colourError.dim(text));
  }

  warn(text: string): void {
    this.say(`${this.#colourError.yellow('Warning:')} ${printable(text)}`);
  }

  /** @param said lines of another process: of several lines only where the program says so, each of them behind a mark of ours */
  error(code: string, message: string, hint?: string, said: readonly string[] = []): void {
    const { red, dim } = this.#colourError;
    this.say(`${red('Error:')} ${printable(message)} ${dim(`[${code}]`)}`);
    for (const line of said) this.say(`  ${dim('|')} ${printable(line.replaceAll('\t', '  '))}`);
    if (hint !== undefined) this.say(`${dim('Hint:')}  ${printable(hint)}`);
  }

  /** A line, or several, beside the result. */
  say(text: string): void {
    this.streams.stderr.write(`${onScreen(text)}\n`);
  }

  table(head: string[], rows: Cell[][], align?: Array<'left' | 'right' | 'center'>): void {
    const table = new Table({
      head: head.map((cell) => this.colour.bold(printable(cell))),
      style: { head: [], border: [], compact: true },
      ...(align && { colAligns: align }),
    });
    for (const row of rows) table.push(row.map((cell) => [cell].flat().map(oneLine).join('\n')));
    this.print(table.toString());
  }

  /** Does work that shows its progress; the stage in which it throws ends as failed. */
  async during<T>(work: (progress: ProgressDisplay) => Promise<T>): Promise<T> {
    const progress = await this.progress();
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
  async progress(): Promise<ProgressDisplay> {
    const { stderr } = this.streams;
    // A terminal that does not tell its width (0) cannot be drawn on.
    const live = !this.quiet && isForPeople(this.streams, stderr) && (stderr as NodeJS.WriteStream).columns !== 0;
    const stream = stderr as NodeJS.WriteStream;
    // Loaded where it is seen: the Unicode tables that it measures with take 30 ms.
    const spinner = live ? (await import('ora')).default({ stream, isEnabled: true, discardStdin: false }) : null;
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
      if (spinner === null) this.note(`${failed ? 'x' : '-'} ${text}`);
      else if (failed) spinner.fail(text);
      else spinner.succeed(text);
      stage = undefined;
    };

    return {
      update: (named, done, total, given) => {
        const [next, note] = [printable(named), given && printable(given)];
        if (next !== stage) {
          finish(false);
          stage = next;
          started = performance.now();
          startedAt = done;
          spinner?.start();
        }
        last = { done, total, note };
        if (spinner !== null) spinner.text = progressLine(next, { ...last, startedAt }, performance.now() - started);
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
