/** The server's log: JSON lines (pino), or short lines for a person at a terminal. */

import { Writable } from 'node:stream';
import { Chalk } from 'chalk';
import { type Logger, pino } from 'pino';

export type { Logger } from 'pino';

export interface LogOptions {
  level: string;
  stream: NodeJS.WritableStream;
  /** for a terminal */
  pretty: boolean;
}

/**
 * Records hold what the code names and nothing else: no headers, no bodies. What could carry a key is censored all the same.
 */
export function createLog({ level, stream, pretty }: LogOptions): Logger {
  const target = pretty ? prettyLines(stream) : stream;
  return pino(
    {
      level,
      base: null,
      redact: { paths: ['authorization', '*.authorization', 'headers', '*.headers', 'apiKey', '*.apiKey'] },
      formatters: { level: (label) => ({ level: label }) },
    },
    target as Writable,
  );
}

const SHOWN_FIRST = ['time', 'level', 'msg', 'id', 'method', 'route', 'status', 'source', 'reason', 'ms'];

/** `12:00:01 info  answered POST chat 200 on_device accepted 12 ms  tokens=5` */
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
        .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
      const main = [method, route, status, source, reason].filter((x) => x !== undefined).join(' ');
      const took = ms === undefined ? '' : ` ${Number(ms).toFixed(0)} ms`;
      const name = (paint[String(level)] ?? dim)(String(level).padEnd(5));
      stream.write(`${dim(clock)} ${name} ${msg}${main === '' ? '' : ` ${main}`}${took}  ${dim(rest.join(' '))}\n`);
      done();
    },
  });
}
