/** The server's log: JSON lines (pino), or short lines for a person at a terminal. */

import { Writable } from 'node:stream';
import { Chalk } from 'chalk';
import { type Logger, pino } from 'pino';
import { printable } from '../core/format.js';
import type { FinishReason } from '../engine/types.js';
import type { Decision, Mode, Signals, Source } from '../routing/types.js';

export type { Logger } from 'pino';

export interface LogOptions {
  level: string;
  stream: NodeJS.WritableStream;
  /** Short lines, for a terminal. */
  pretty: boolean;
}

/** What a handler adds to the line of its request: numbers and names, and no text of the request but for `prompt`. */
export interface AnswerRecord extends Partial<Signals & Pick<Decision, 'source' | 'reason' | 'score' | 'threshold'>> {
  mode?: Mode;
  /** Only where the configuration wants prompts logged and the mode allows it. */
  prompt?: string;
  fallbackFrom?: Source;
  /** Code of what failed at `fallbackFrom`. */
  failure?: string | undefined;
  ttftMs?: number;
  completionTokens?: number;
  cachedTokens?: number | null;
  finish?: FinishReason;
  /** Id of the customisation that was made, of how many examples and in what time. */
  customization?: string;
  examples?: number;
  blendMs?: number;
  /** The candidate that its examples chose, and in what time. */
  chosen?: string;
  chooseMs?: number;
  /** Code of the error that the client was told. */
  code?: string | null;
}

/** The one line of each request. */
export type AnswerLine = AnswerRecord & { id: string; method: string; route: string; status: number; ms: number };

/** Probes come every few seconds, so theirs are lines for debugging; refusals for want of a resource are warnings. */
export function logAnswer(log: Logger, line: AnswerLine): void {
  const { route, status } = line;
  const isProbe = route === 'health' || route === 'metrics';
  log[isProbe ? 'debug' : status === 503 ? 'warn' : status >= 500 ? 'error' : 'info'](line, 'answered');
}

/**
 * Records hold what the code names and nothing else: no headers, no bodies. What could carry a key is censored all the same.
 */
export function createLog({ level, stream, pretty }: LogOptions): Logger {
  // A terminal that shows the log must not be steered by what a file, a request or another server says.
  const escaped = { write: (line: string) => void stream.write(printable(line, { keepLines: true })) };
  const target = pretty ? prettyLines(stream) : escaped;
  return pino(
    {
      level,
      base: null,
      redact: { paths: ['authorization', '*.authorization', 'headers', '*.headers', 'apiKey', '*.apiKey'] },
      formatters: { level: (label) => ({ level: label }) },
    },
    target,
  );
}

const SHOWN_FIRST = ['time', 'level', 'msg', 'id', 'method', 'route', 'status', 'source', 'reason', 'ms'];

/** `12:00:01 info  answered POST chat 200 on_device accepted 12 ms  tokens=5`. */
function prettyLines(stream: NodeJS.WritableStream): Writable {
  const { dim, red, yellow, green } = new Chalk({ level: 1 });
  const paint: Record<string, (text: string) => string> = { error: red, fatal: red, warn: yellow, info: green };
  return new Writable({
    write(chunk: Buffer, _, done) {
      const record = JSON.parse(chunk.toString('utf8')) as Record<string, unknown>;
      const { time, level, msg, method, route, status, source, reason, ms } = record;
      const clock = new Date(Number(time)).toTimeString().slice(0, 8);
      const rest = Object.entries(record)
        .filter(([key, value]) => !SHOWN_FIRST.includes(key) && value !== null)
        .map(([key, value]) => `${key}=${printable(typeof value === 'string' ? value : JSON.stringify(value))}`);
      const main = printable([method, route, status, source, reason].filter((x) => x !== undefined).join(' '));
      const took = ms === undefined ? '' : ` ${Number(ms).toFixed(0)} ms`;
      const name = (paint[String(level)] ?? dim)(String(level).padEnd(5));
      stream.write(
        `${dim(clock)} ${name} ${printable(String(msg))}${main === '' ? '' : ` ${main}`}${took}  ${dim(rest.join(' '))}\n`,
      );
      done();
    },
  });
}
