/**
 * Whoever has a pool's files, asked over HTTP: any file server or object store, or `crayon serve-pool`. Requests hold the paths of the
 * pool's files, the key where there is one, and nothing of the user. What is answered is bounded before it is read, in bytes and in
 * time; what breaks off is asked for again, from where it broke off (RFC 9110, section 14).
 */

import { isCrayonError, messageOf } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { type Clock, sleep, systemClock } from '../engine/clock.js';
import { Deadline, timeoutError } from '../engine/server/deadline.js';
import {
  parseRetryAfter,
  quoter,
  type ServerErrorDetails,
  serverError,
  serverErrorOf,
} from '../engine/server/error.js';
import { networkError } from '../engine/server/network-error.js';
import type { ServerContext } from '../engine/server/options.js';
import type { PartialFile } from '../files/partial.js';
import { fileUrl, shownUrl } from './url.js';

export interface PoolServerOptions {
  /** Sent as a bearer token to the pool's own origin. */
  key?: string | null | undefined;
  /** Ends what is under way with `interrupted`. */
  signal?: AbortSignal | undefined;
  clock?: Clock | undefined;
  timeouts?: Partial<typeof TIMEOUTS> | undefined;
}

const TIMEOUTS = {
  firstByteMs: LIMITS.poolFirstByteMs,
  idleMs: LIMITS.poolIdleMs,
  /** until an answer begins that must be made first */
  blendMs: LIMITS.poolBlendMs,
  /** between two attempts, doubled each time */
  retryMs: 250,
};

/** Attempts in a row without a byte more than before. */
const ATTEMPTS = 4;

interface Wanted {
  method?: 'POST';
  headers?: Record<string, string>;
  body?: string;
}

/** An answer whose status is a good one. */
interface Answer {
  status: number;
  headers: Headers;
  /** @throws CrayonError `server-invalid` as soon as it is larger, or said to be */
  body(maxBytes: number): AsyncGenerator<Uint8Array, void>;
}

export class PoolServer {
  /** bytes of bodies so far */
  received = 0;
  readonly #pool: URL;
  readonly #key: string | null;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #timeouts: typeof TIMEOUTS;
  readonly #context: Pick<ServerContext, 'server' | 'failure' | 'quote'>;

  /** @param pool as `poolUrl` has it */
  constructor(pool: URL, { key, signal, clock, timeouts }: PoolServerOptions = {}) {
    const server = `pool ${shownUrl(pool)}`;
    this.#pool = pool;
    this.#key = key ?? null;
    this.#clock = clock ?? systemClock;
    this.#signal = signal ?? new AbortController().signal;
    this.#timeouts = { ...TIMEOUTS, ...timeouts };
    const failure = (code: Parameters<typeof serverError>[0], what: string, details?: ServerErrorDetails) =>
      serverError(code, `${server}: ${what}`, details);
    this.#context = { server, failure, quote: quoter(this.#key) };
  }

  /**
   * A small file, whole.
   *
   * @param etag of what is known: null is returned where it is still the same
   * @throws CrayonError `server-unreachable`, `server-timeout`, `server-failed`, `server-refused`, `server-invalid`
   */
  async bytes(
    path: string,
    maxBytes: number,
    etag: string | null = null,
  ): Promise<{ bytes: Uint8Array; etag: string | null } | null> {
    const headers: Record<string, string> = etag === null ? {} : { 'if-none-match': etag };
    return await this.#persistently(async (call) => {
      const answer = await this.#ask(path, { headers }, call, etag === null ? [] : [304]);
      if (answer.status === 304) return null;
      const parts: Uint8Array[] = [];
      for await (const part of answer.body(maxBytes)) parts.push(part);
      return { bytes: Buffer.concat(parts), etag: answer.headers.get('etag') };
    });
  }

  /**
   * A file of a known digest, into `part`, which may hold its beginning.
   *
   * @throws CrayonError as `bytes`; `server-invalid` where it is another file
   */
  async file(path: string, sha256: string, maxBytes: number, part: PartialFile): Promise<void> {
    for (;;) {
      const hadMore = part.size > 0;
      let etag: string | null = null;
      const ask = async (call: Deadline): Promise<void> => {
        const from = part.size;
        const headers: Record<string, string> = { 'accept-encoding': 'identity' };
        if (from > 0) headers.range = `bytes=${from}-`;
        if (from > 0 && etag !== null) headers['if-range'] = etag;
        const answer = await this.#ask(path, { headers }, call, from > 0 ? [416] : []);
        if (answer.status === 416) return; // nothing is missing, or what is there is of another file: the digest says
        if (answer.status === 206) this.#checkRange(answer.headers, from);
        else part.restart();
        etag = /^"/.test(answer.headers.get('etag') ?? '') ? answer.headers.get('etag') : null;
        for await (const bytes of answer.body(maxBytes - part.size)) part.append(bytes);
      };
      await this.#persistently(ask, () => part.size);
      if (part.digest() === sha256) return;
      part.restart();
      if (hadMore) continue; // once more, from the start
      throw this.#invalid(`sent another ${path} than the pool's manifest names`, {
        hint: 'It was replaced just now, which running the command again finds out, or it is damaged where it lies.',
      });
    }
  }

  /**
   * What the server makes of a small JSON document, into `part`; what breaks off is read on from where the answer says that it lies.
   *
   * @param etag of what is known: null is returned where the answer would be the same
   * @returns the answer's headers
   */
  async made(
    path: string,
    document: object,
    maxBytes: number,
    part: PartialFile,
    etag: string | null,
  ): Promise<Headers | null> {
    const plain = { 'accept-encoding': 'identity' };
    const asking = { ...plain, 'content-type': 'application/json', ...(etag !== null && { 'if-none-match': etag }) };
    const wanted: Wanted = { method: 'POST', headers: asking, body: JSON.stringify(document) };
    part.restart(); // what another process had may be of another pool
    let begun: Headers | null = null;
    const headers = await this.#persistently(
      async (call) => {
        const from = part.size;
        const key = /\/([\w-]+)$/.exec(begun?.get('content-location') ?? '')?.[1];
        const tag = begun?.get('etag') ?? '';
        const rest = from === 0 || key === undefined ? null : { ...plain, range: `bytes=${from}-`, 'if-range': tag };
        const answer =
          rest === null
            ? await this.#ask(path, wanted, call, etag === null ? [] : [304])
            : await this.#ask(`${path}/${key}`, { headers: rest }, call, [404]);
        if (answer.status === 304) return null;
        if (answer.status === 404) {
          begun = null;
          throw this.#context.failure('server-failed', 'does not have what broke off any more');
        }
        if (answer.status === 206) this.#checkRange(answer.headers, from);
        else part.restart();
        begun = rest === null ? answer.headers : begun;
        for await (const bytes of answer.body(maxBytes - part.size)) part.append(bytes);
        return begun;
      },
      () => part.size,
    );
    const digest = /sha-256=:([^:]*):/.exec(headers?.get('repr-digest') ?? '')?.[1];
    if (digest !== undefined && Buffer.from(digest, 'base64').toString('hex') !== part.digest()) {
      part.restart();
      throw this.#invalid('sent another blend than its digest says');
    }
    return headers;
  }

  /** @throws CrayonError `server-invalid` */
  #checkRange(headers: Headers, from: number): void {
    const range = headers.get('content-range') ?? 'none';
    if (new RegExp(`^bytes ${from}-\\d+/`).test(range)) return;
    throw this.#invalid(`sent the range "${this.#context.quote(range)}", asked for from ${from} on`);
  }

  /** Work that is tried again for as long as something comes of it, and a few times where nothing does. */
  async #persistently<T>(work: (call: Deadline) => Promise<T>, progress: () => number = () => 0): Promise<T> {
    let inVain = 0;
    for (let attempt = 1; ; attempt++) {
      const before = progress();
      const call = new Deadline(this.#signal);
      try {
        return await work(call);
      } catch (error) {
        const { status = null, retryAfterMs = null } = serverErrorOf(error) ?? {};
        const isPassing = isOffline(error) || status === 429;
        inVain = progress() > before ? 0 : inVain + 1;
        if (!isPassing || inVain >= ATTEMPTS || attempt >= LIMITS.poolAttempts) throw error;
        const wait = Math.min(LIMITS.retryMs, this.#timeouts.retryMs * 2 ** inVain);
        await sleep(this.#clock, Math.max(wait, Math.min(retryAfterMs ?? 0, LIMITS.retryAfterMs)), this.#signal);
      } finally {
        call.end(serverError('server-failed', 'no longer wanted')); // a body that is not read to its end
        call.dispose();
      }
    }
  }

  /** One request, with the redirections that are followed; `good` are statuses that the caller knows how to take. */
  async #ask(path: string, wanted: Wanted, call: Deadline, good: readonly number[] = []): Promise<Answer> {
    const firstByteMs = wanted.method === 'POST' ? this.#timeouts.blendMs : this.#timeouts.firstByteMs;
    call.limit(this.#clock, firstByteMs, () => timeoutError(this.#context.server, 'first-byte', firstByteMs));
    let url = fileUrl(this.#pool, path);
    for (let redirects = 0; ; redirects++) {
      const isOwn = url.origin === this.#pool.origin;
      const { method = 'GET', headers = {}, body = null } = wanted;
      const sent: Record<string, string> = { ...headers, 'user-agent': 'crayon' };
      if (this.#key !== null && isOwn) sent.authorization = `Bearer ${this.#key}`;
      let response: Response;
      try {
        const asked = { method, body, headers: sent, redirect: 'manual', signal: call.signal } as const;
        response = await call.guard(fetch(url, asked));
      } catch (error) {
        throw networkError(error, this.#context, false);
      }
      const { status } = response;
      const isGood = (status >= 200 && status < 300) || good.includes(status);
      if (isGood) return { status, headers: response.headers, body: (most) => this.#body(response, most, call) };
      const target = response.headers.get('location');
      if (status < 300 || status >= 400 || target === null) throw await this.#refusal(response, path, call);
      response.body?.cancel().catch(() => {});
      url = this.#redirected(url, target, method, redirects);
    }
  }

  /**
   * Object stores send readers on to other hosts, so that is followed: a few times, never from https to http, from http to another host
   * not at all, and what is sent by POST nowhere. The key stays behind.
   */
  #redirected(from: URL, target: string, method: string, redirects: number): URL {
    const to = URL.canParse(target, from.href) ? new URL(target, from) : null;
    const isFine =
      to !== null &&
      method === 'GET' &&
      redirects < LIMITS.poolRedirects &&
      (from.protocol === 'https:' ? to.protocol === 'https:' : /^https?:$/.test(to.protocol)) &&
      (from.protocol === 'https:' || to.hostname === from.hostname);
    if (isFine) return to;
    const where = this.#context.quote(to === null ? 'another place' : to.origin);
    throw this.#context.failure('server-refused', `redirects to ${where}, which is not followed`, {
      hint: 'Give the address that it redirects to, if you trust it.',
    });
  }

  async *#body(response: Response, maxBytes: number, call: Deadline): AsyncGenerator<Uint8Array, void> {
    const { idleMs } = this.#timeouts;
    const tooLarge = (bytes: string) => this.#invalid(`sends ${bytes} bytes, expected at most ${maxBytes}`);
    const declared = response.headers.get('content-length');
    if (declared !== null && Number(declared) > maxBytes) throw tooLarge(declared);
    const reader = response.body?.getReader();
    const started = this.#clock.now();
    let bytes = 0;
    while (reader !== undefined) {
      call.limit(this.#clock, idleMs, () => timeoutError(this.#context.server, 'idle', idleMs));
      let read: Awaited<ReturnType<typeof reader.read>>;
      try {
        read = await call.guard(reader.read());
      } catch (error) {
        throw networkError(error, this.#context, true);
      }
      if (read.done) return;
      bytes += read.value.byteLength;
      this.received += read.value.byteLength;
      if (bytes > maxBytes) throw tooLarge(`more than ${maxBytes}`);
      yield read.value;
      const ms = this.#clock.now() - started;
      if (ms > LIMITS.poolPatienceMs && bytes < (ms / 1000) * LIMITS.poolBytesPerSecond) {
        throw timeoutError(this.#context.server, 'total', ms);
      }
    }
  }

  async #refusal(response: Response, path: string, call: Deadline): Promise<Error> {
    const { status, headers } = response;
    const retryAfterMs = parseRetryAfter(headers, this.#clock.now());
    let said = '';
    try {
      for await (const bytes of this.#body(response, LIMITS.errorBytes, call)) said += Buffer.from(bytes).toString();
    } catch (error) {
      if (isCrayonError(error, 'interrupted')) throw error;
    }
    const message = /^\s*\{/.test(said) ? (/"message"\s*:\s*("(?:[^"\\]|\\.)*")/.exec(said)?.[1] ?? '') : '';
    const words = message === '' ? '' : `: ${this.#context.quote(textOf(message))}`;
    const isTheirs = status === 408 || status === 429 || status >= 500;
    return this.#context.failure(
      isTheirs ? 'server-failed' : 'server-refused',
      `answered ${status} to ${path}${words}`,
      { status, retryAfterMs, ...(HINTS[status] !== undefined && { hint: HINTS[status] }) },
    );
  }

  #invalid(what: string, details?: { hint?: string }): Error {
    return this.#context.failure('server-invalid', what, details);
  }
}

const HINTS: Record<number, string> = {
  401: 'Name the environment variable that holds its key: --pool-key-env.',
  403: 'Check what the key may read: --pool-key-env.',
  404: 'The address is that of the directory that has pool.json.',
  409: 'The pool has been replaced just now: run the command again.',
};

/** No fault of ours or of the pool's: what is kept is as good as before. */
export function isOffline(error: unknown): boolean {
  return isCrayonError(error) && ['server-unreachable', 'server-timeout', 'server-failed'].includes(error.code);
}

function textOf(json: string): string {
  try {
    return String(JSON.parse(json));
  } catch (error) {
    return messageOf(error);
  }
}
