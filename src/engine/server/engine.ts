/**
 * The server LLM: any OpenAI-compatible endpoint as an Engine, with what a server on a network needs around it: time-outs,
 * retries before the first token, a circuit breaker, a limit of calls at a time and a budget of the day.
 */

import assert from 'node:assert';
import { type ErrorCode, isCrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import { interrupted } from '../clock.js';
import { Slots } from '../slots.js';
import type { Engine, GenerateEvent, GenerateRequest, Usage } from '../types.js';
import { AnswerReader } from './answer.js';
import type { Attempt } from './attempt.js';
import { Budget, type Reservation } from './budget.js';
import { Circuit } from './circuit.js';
import { estimatePromptTokens, ServerClient } from './client.js';
import type { Deadline } from './deadline.js';
import { serverErrorOf } from './error.js';
import type { OpenAiOptions, ServerState } from './options.js';
import { withRetries } from './retry.js';

export type { OpenAiOptions, ServerEvent, ServerState } from './options.js';

/** How long close() waits for cancelled calls. */
const CLOSE_MS = 1_000;

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
  const { settings, server, redact } = client;
  const { onEvent } = settings;
  const slots = new Slots(server, settings.concurrency, settings.queue);
  const circuit = new Circuit(client);
  const budget = new Budget(client);
  const random = createRandom(settings.seed, 'server-retry');
  const errors: Partial<Record<ErrorCode, number>> = {};
  const running = new Set<Deadline>();
  let isClosed = false;

  async function* converse(
    request: GenerateRequest,
    call: Deadline,
    reservation: Reservation,
  ): AsyncGenerator<GenerateEvent> {
    const pass = circuit.enter();
    const reader = new AnswerReader(server, request, redact);
    const promptTokens = estimatePromptTokens(request.query);
    // A reader that left before anything came proves nothing about the server.
    let outcome: unknown = interrupted();
    let attempt: Attempt | null = null;
    let started = false;
    // While the reader deals with what it got, the call's time may run out: that proves nothing against the server.
    let isReaderBusy = false;
    const onEnd = (): void => pass.settle(isReaderBusy ? null : call.signal.reason);
    call.signal.addEventListener('abort', onEnd, { once: true });
    const start = (): GenerateEvent => {
      started = true;
      const { usage } = reader;
      return usage === null
        ? { type: 'start', promptTokens, cachedTokens: null, estimated: true }
        : { type: 'start', promptTokens: usage.promptTokens, cachedTokens: usage.cachedTokens };
    };
    const usage = (): Usage =>
      reader.usage ?? { promptTokens, completionTokens: reader.tokens, cachedTokens: null, estimated: true };
    try {
      attempt = await withRetries(settings, random, call, () => client.send(request, call));
      for await (const document of attempt.documents(() => reader.finishReason !== null)) {
        const events = reader.read(document);
        isReaderBusy = true;
        if (!started && (events.length > 0 || reader.finishReason !== null)) yield start();
        if (started) outcome = null;
        yield* events;
        isReaderBusy = false;
      }
      reader.end();
      if (!started) yield start();
      yield { type: 'end', text: '', finishReason: reader.finishReason ?? 'stop', usage: usage() };
    } catch (error) {
      outcome = call.signal.aborted ? call.signal.reason : error;
      throw outcome;
    } finally {
      call.signal.removeEventListener('abort', onEnd);
      pass.settle(outcome);
      attempt?.abandon();
      // A server that began to answer has read the prompt, whatever became of the answer.
      const used = attempt === null ? null : usage();
      if (used === null) reservation.settle(null);
      else {
        const { promptTokens: inputTokens, completionTokens: outputTokens, estimated = false } = used;
        const money = reservation.settle({ inputTokens, outputTokens });
        onEvent({ type: 'usage', inputTokens, outputTokens, money, estimated });
      }
    }
  }

  async function* generate(request: GenerateRequest): AsyncGenerator<GenerateEvent> {
    assert(!isClosed, `${server}: closed`);
    const call = client.call(request.signal);
    running.add(call);
    let reservation: Reservation | null = null;
    let giveBack = (): void => {};
    try {
      circuit.check();
      reservation = budget.reserve(estimatePromptTokens(request.query), request.maxTokens);
      giveBack = await slots.take(call.signal);
      yield* converse(request, call, reservation);
    } catch (error) {
      const known: unknown = call.signal.aborted ? call.signal.reason : error;
      if (isCrayonError(known) && known.code !== 'interrupted') {
        errors[known.code] = (errors[known.code] ?? 0) + 1;
        onEvent({ type: 'error', code: known.code, status: serverErrorOf(known)?.status ?? null });
      }
      throw known;
    } finally {
      giveBack();
      reservation?.settle(null);
      call.dispose();
      running.delete(call);
    }
  }

  return {
    name: settings.name,
    generate,
    state: () => {
      const { running, waiting } = slots.load();
      return { circuit: circuit.state, running, waiting, budget: budget.state(), errors: { ...errors } };
    },
    close: async () => {
      isClosed = true;
      for (const call of running) call.end(interrupted());
      // A reader that stopped reading for good must not keep the process.
      await Promise.race([slots.idle(), new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
      budget.flush();
    },
  };
}
