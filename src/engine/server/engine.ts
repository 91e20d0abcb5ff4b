/**
 * The server LLM: any OpenAI-compatible endpoint as an Engine, with what a server on a network needs around it: time-outs,
 * retries before the first token, a circuit breaker, a limit of calls at a time and a budget of the day.
 */

import assert from 'node:assert';
import { CrayonError, type ErrorCode, isCrayonError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { orLate } from '../../core/long-work.js';
import { createRandom, type Random } from '../../core/random.js';
import { interrupted, sleep } from '../clock.js';
import { createSlots } from '../slots.js';
import { type Engine, type GenerateEvent, type GenerateRequest, refuseIncomplete, type Usage } from '../types.js';
import { AnswerReader, estimatePromptTokens } from './answer.js';
import type { Attempt } from './attempt.js';
import { ServerClient } from './client.js';
import type { Deadline } from './deadline.js';
import { serverErrorOf } from './error.js';
import { createCircuit, openBudget, type Settle } from './limits.js';
import type { BackoffOptions, OpenAiOptions, ServerState, Settings } from './options.js';

export type { OpenAiOptions, ServerEvent, ServerState } from './options.js';

export interface OpenAiEngine extends Engine {
  /** a moment's view, for metrics */
  state(): ServerState;
}

/**
 * @example
 * const server = openOpenAiEngine({ baseUrl: 'http://127.0.0.1:8000/v1', model: 'big', apiKey: process.env.SERVER_KEY ?? null });
 * for await (const event of server.generate(request)) if (event.type !== 'start') process.stdout.write(event.text);
 *
 * @throws CrayonError `config-invalid`; what the budget's store throws for a record that it cannot read
 */
export function openOpenAiEngine(options: OpenAiOptions): OpenAiEngine {
  const client = new ServerClient(options);
  const { settings, server } = client;
  const { onEvent } = settings;
  const slots = createSlots(server, settings.concurrency, settings.queue);
  const circuit = createCircuit(client);
  const budget = openBudget(client);
  const random = createRandom(settings.seed, 'server-retry');
  const errors: Partial<Record<ErrorCode, number>> = {};
  const running = new Set<Deadline>();
  let isClosed = false;

  async function* converse(request: GenerateRequest, call: Deadline, settle: Settle): AsyncGenerator<GenerateEvent> {
    const leaveCircuit = circuit.enter();
    const reader = new AnswerReader(client, request);
    // A reader that left before anything came proves nothing about the server.
    let outcome: unknown = interrupted();
    let attempt: Attempt | null = null;
    // While the reader deals with what it got, the call's time may run out: that proves nothing against the server.
    let isReaderBusy = false;
    const onEnd = (): void => leaveCircuit(isReaderBusy ? null : call.signal.reason);
    call.signal.addEventListener('abort', onEnd, { once: true });
    try {
      attempt = await withRetries(settings, random, call, () => client.send(request, call));
      let hasStarted = false;
      for await (const document of attempt.documents(() => reader.finishReason !== null)) {
        const events = reader.read(document);
        isReaderBusy = true;
        if (!hasStarted && events.length > 0) {
          hasStarted = true;
          yield startEvent(reader.counted());
        }
        if (hasStarted) outcome = null;
        yield* events;
        isReaderBusy = false;
      }
      const text = reader.end();
      reader.refuseEmpty();
      outcome = null;
      if (!hasStarted) yield startEvent(reader.counted());
      yield { type: 'end', text, finishReason: reader.finishReason!, usage: reader.counted() };
    } catch (error) {
      outcome = call.reasonFor(error);
      throw outcome;
    } finally {
      call.signal.removeEventListener('abort', onEnd);
      leaveCircuit(outcome);
      attempt?.abandon();
      // A server that began to answer has read the prompt, whatever became of the answer.
      settle(attempt && reader.counted());
    }
  }

  async function* generate(request: GenerateRequest): AsyncGenerator<GenerateEvent> {
    assert(!isClosed, `${server}: closed`);
    refuseIncomplete(request);
    const call = client.call(request.signal);
    running.add(call);
    let settle: Settle = () => {};
    let giveBack = (): void => {};
    try {
      circuit.check();
      settle = budget.reserve(estimatePromptTokens(request.query), request.maxTokens);
      giveBack = await slots.take(call.signal);
      yield* converse(request, call, settle);
    } catch (error) {
      const known = call.reasonFor(error);
      if (isCrayonError(known) && known.code !== 'interrupted') {
        errors[known.code] = (errors[known.code] ?? 0) + 1;
        onEvent({ type: 'error', code: known.code, status: serverErrorOf(known)?.status ?? null });
      }
      throw known;
    } finally {
      giveBack();
      settle(null);
      call.dispose();
      running.delete(call);
    }
  }

  return {
    name: settings.name,
    generate,
    state: () => {
      const { running, waiting } = slots.load();
      return { circuit: circuit.state(), running, waiting, budget: budget.state(), errors: { ...errors } };
    },
    close: async () => {
      isClosed = true;
      for (const call of running) call.end(interrupted());
      // A reader that stopped reading for good must not keep the process.
      await orLate(slots.idle(), LIMITS.closeMs);
      budget.flush();
    },
  };
}

const startEvent = ({ promptTokens, cachedTokens, estimated }: Usage): GenerateEvent => {
  return { type: 'start', promptTokens, cachedTokens, estimated };
};

/**
 * How long to wait before attempt number `attempt` (from 1), in milliseconds; null: no further attempt.
 *
 * The server's own wish comes first. Else the waits double, less a random part of up to a half, so that many clients that failed
 * together do not come back together.
 */
export function waitBefore(attempt: number, error: unknown, backoff: BackoffOptions, random: Random): number | null {
  const details = serverErrorOf(error);
  if (details === null || !details.retryable) return null;
  const { baseMs, maxMs, maxRetryAfterMs } = backoff;
  if (details.retryAfterMs !== null) return details.retryAfterMs <= maxRetryAfterMs ? details.retryAfterMs : null;
  return Math.round(Math.min(maxMs, baseMs * 2 ** (attempt - 1)) * (1 - random.uniform() / 2));
}

/**
 * Runs `attempt` until it succeeds, fails for good, or there are no retries left.
 *
 * @param call the whole call: no wait goes beyond its end
 * @throws CrayonError the last attempt's, which says how many there were; `interrupted` when the signal fires in a wait
 */
async function withRetries<T>(
  { retries, backoff, clock, onEvent }: Settings,
  random: Random,
  { signal, endsAt }: Deadline,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt();
    } catch (error) {
      const waitMs = signal.aborted || attempts > retries ? null : waitBefore(attempts, error, backoff, random);
      if (waitMs === null || clock.now() + waitMs >= endsAt) throw withAttempts(error, attempts);
      const { code } = error as CrayonError;
      onEvent({ type: 'retry', attempt: attempts, waitMs, code, status: serverErrorOf(error)?.status ?? null });
      await sleep(clock, waitMs, signal);
    }
  }
}

function withAttempts(error: unknown, attempts: number): unknown {
  if (attempts === 1 || !(error instanceof CrayonError) || serverErrorOf(error) === null) return error;
  const { code, message, hint, cause } = error;
  return new CrayonError(code, `${message} (after ${attempts} attempts)`, { hint, cause });
}
