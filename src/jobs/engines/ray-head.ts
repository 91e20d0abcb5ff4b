/**
 * The Jobs REST API of a Ray head (docs.ray.io, "Ray Jobs REST API"): submit, status, logs, stop. Requests are bounded in time and in
 * bytes; one that a head does not answer, or answers with a fault of its own, is asked again for a while, since a head that is started
 * anew is no reason to give a build of hours up. Submitting is repeated too: its ids are ours, so that the second of two is known.
 */

import type { request as httpRequest, IncomingMessage, RequestOptions } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { CrayonError, isCrayonError, reasonOf } from '../../core/errors.js';
import { ellipsis, printable } from '../../core/format.js';
import { LIMITS } from '../../core/limits.js';
import { errnoOf } from '../../files/io.js';
import { jsonValue } from '../../files/json.js';
import { checked } from '../../files/schema.js';

const JOB = z.looseObject({
  status: z.enum(['PENDING', 'RUNNING', 'STOPPED', 'SUCCEEDED', 'FAILED']),
  message: z.string().nullish(),
  error_type: z.string().nullish(),
  driver_exit_code: z.int().nullish(),
});
export type RayJob = z.output<typeof JOB>;

const VERSION = z.looseObject({ version: z.string(), ray_version: z.string() });
const LOGS = z.looseObject({ logs: z.string() });

/** What `POST /api/jobs/` takes, as far as crayon asks for it. */
export interface RaySubmission {
  submission_id: string;
  entrypoint: string;
  entrypoint_num_cpus?: number | undefined;
  entrypoint_num_gpus?: number | undefined;
  entrypoint_memory?: number | undefined;
  entrypoint_resources?: Record<string, number> | undefined;
  runtime_env: { env_vars: Record<string, string> };
  metadata: Record<string, string>;
}

export interface RayHeadOptions {
  /** without a path behind it, or with that of a proxy */
  address: string;
  headers: Record<string, string>;
  /** of one request */
  timeoutMs: number;
  /** for which a head that does not answer is asked again */
  patienceMs: number;
}

interface Answer {
  status: number;
  text: string;
}

const FIRST_WAIT_MS = 250;

export class RayHead {
  readonly #options: RayHeadOptions;

  constructor(options: RayHeadOptions) {
    this.#options = options;
  }

  /** Asked once. @returns the version of Ray @throws CrayonError `jobs-unavailable` */
  async version(): Promise<string> {
    const answer = await this.#once('GET', '/api/version');
    if (answer.status !== 200) throw this.#refused('GET', '/api/version', answer, 'jobs-unavailable');
    return this.#read(VERSION, answer.text, '/api/version', 'jobs-unavailable').ray_version;
  }

  /** @returns undefined where the head knows no such job */
  async job(id: string): Promise<RayJob | undefined> {
    const path = `/api/jobs/${id}`;
    const answer = await this.#patiently('GET', path);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw this.#refused('GET', path, answer);
    return this.#read(JOB, answer.text, path);
  }

  async submit(submission: RaySubmission): Promise<void> {
    const path = '/api/jobs/'; // without its last slash it is another address
    const answer = await this.#patiently('POST', path, submission);
    const isThere = answer.text.includes(`submission_id ${submission.submission_id} already exists`);
    if (answer.status !== 200 && !isThere) throw this.#refused('POST', path, answer);
  }

  async logs(id: string): Promise<string> {
    const path = `/api/jobs/${id}/logs`;
    const answer = await this.#once('GET', path);
    if (answer.status !== 200) throw this.#refused('GET', path, answer);
    return this.#read(LOGS, answer.text, path).logs;
  }

  /** Asks a job to end; one that has ended, or is not known, is none of its matter. */
  async stop(id: string): Promise<void> {
    const path = `/api/jobs/${id}/stop`;
    const answer = await this.#once('POST', path);
    if (answer.status !== 200 && answer.status !== 404) throw this.#refused('POST', path, answer);
  }

  async #patiently(method: string, path: string, body?: object): Promise<Answer> {
    const until = performance.now() + this.#options.patienceMs;
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LIMITS.retryMs)) {
      const isOver = performance.now() + wait > until;
      try {
        const answer = await this.#once(method, path, body);
        if (isOver || !isPassing(answer)) return answer;
      } catch (error) {
        if (isOver || !isCrayonError(error, 'jobs-unavailable')) throw error;
      }
      await sleep(wait);
    }
  }

  /** @throws CrayonError `jobs-unavailable` where there is no answer */
  async #once(method: string, path: string, body?: object): Promise<Answer> {
    const { address, headers, timeoutMs } = this.#options;
    const signal = AbortSignal.timeout(timeoutMs);
    const sent = body === undefined ? undefined : JSON.stringify(body);
    const type = sent === undefined ? {} : { 'content-type': 'application/json' };
    try {
      const asked = { method, headers: { ...headers, ...type, 'user-agent': 'crayon' }, signal };
      return await answerOf(new URL(address + path), asked, sent);
    } catch (error) {
      if (isCrayonError(error)) throw error;
      const reason = signal.aborted ? `no answer within ${timeoutMs / 1000} s` : (errnoOf(error) ?? reasonOf(error));
      throw new CrayonError('jobs-unavailable', `Ray at ${address} cannot be reached (${reason})`, {
        hint: 'Name the address of its dashboard: --engine-options address=http://HEAD:8265. The same command goes on with what was submitted.',
        cause: error,
      });
    }
  }

  #refused(
    method: string,
    path: string,
    { status, text }: Answer,
    code: 'jobs-failed' | 'jobs-unavailable' = 'jobs-failed',
  ) {
    // errors are tracebacks of Python's, whose last line says it
    const line = text.trim().split('\n').at(-1)!.trim();
    const said = /^\s*[<{]/.test(text) || line === '' ? '' : `: ${ellipsis(printable(line), LIMITS.errorCharacters)}`;
    const isLocked = [301, 302, 303, 307, 308, 401, 403].includes(status);
    return new CrayonError(code, `Ray at ${this.#options.address} answered ${status} to ${method} ${path}${said}`, {
      hint: isLocked
        ? 'Name the environment variable that holds its token: --engine-options token_env=NAME, or give headers in a YAML file.'
        : 'What Ray says of it stands in its dashboard. The same command goes on with what was submitted.',
    });
  }

  #read<T extends z.ZodType>(
    schema: T,
    text: string,
    path: string,
    code: 'jobs-failed' | 'jobs-unavailable' = 'jobs-failed',
  ): z.output<T> {
    const where = `the answer of ${this.#options.address}${path}`;
    let value: unknown;
    try {
      value = jsonValue(text);
    } catch (error) {
      throw new CrayonError(code, `${where} is not JSON (${reasonOf(error)}), so this is no Ray head`, {
        cause: error,
      });
    }
    return checked(schema, value, { where, code });
  }
}

/** The head's own trouble; what its agent refuses for good it passes on as a fault too. */
const isPassing = ({ status, text }: Answer): boolean =>
  status === 429 || (status >= 500 && !/status code 4\d\d|already exists/.test(text));

/** Not by `fetch`, whose Sec-Fetch-Mode Ray takes for a browser's, which may submit nothing. Redirections, which lead to where people log in, are not followed. */
async function answerOf(url: URL, options: RequestOptions, body: string | undefined): Promise<Answer> {
  const { request } = await import(url.protocol === 'https:' ? 'node:https' : 'node:http');
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    (request as typeof httpRequest)(url, options, resolve).once('error', reject).end(body);
  });
  const decoder = new TextDecoder();
  let [text, bytes] = ['', 0];
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.byteLength;
    if (bytes > LIMITS.jobsAnswerBytes) {
      throw new CrayonError('jobs-failed', `Ray answers more than ${LIMITS.jobsAnswerBytes} bytes`);
    }
    text += decoder.decode(part, { stream: true });
  }
  return { status: response.statusCode!, text: text + decoder.decode() };
}
