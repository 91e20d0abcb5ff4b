/**
 * Sends each query to one source: runs the rule of rule.ts over the two engines. Knows nothing of HTTP.
 *
 * Nothing reaches the caller before the source is settled. The device's first tokens are held back while the rule may still
 * send the query to the server, and of either source everything is held back until its first text, or the whole answer where it
 * is wanted whole, because until then a failure can be made good by the other source where the mode allows. The first event is
 * the decision. After it, one source only: a failure ends the stream with its error.
 */

import {
  type AdapterScale,
  type DeviceEngine,
  type Engine,
  type GenerateEvent,
  type GenerateRequest,
  type Query,
  refuseIncomplete,
} from '../engine/types.js';
import { GO_ON, RoutingRule, type Step, situationOf } from './rule.js';
import { ConfidenceTracker, needsDistribution } from './signals/confidence.js';
import type { ScopeFunction } from './signals/scope.js';
import type { ClusterFunction } from './signals/success.js';
import type { Decision, Mode, RoutingConfig, Source } from './types.js';

export type RoutedEvent = { type: 'decision'; decision: Decision } | GenerateEvent;

export interface RouterParts {
  device: DeviceEngine;
  /** null: there is no server LLM */
  server: Engine | null;
  config: RoutingConfig;
  /** scope scores of the customisation that the device was started with */
  scope?: ScopeFunction | null;
  /** a query's gate over the clusters of the pool; null or absent without one */
  clusters?: ClusterFunction | null;
  /** the adapters of a query that names none; without it, the base model's answer */
  adapters?: (query: Query) => readonly AdapterScale[];
}

export interface RouteOptions {
  /** instead of the configuration's */
  mode?: Mode;
  /** the scope scores of another customisation; null switches the signal off for this query */
  scope?: ScopeFunction | null;
  /** nothing of the answer is sent on before all of it is there, so that until its end the other source may stand in */
  whole?: boolean;
  /** called at a source's first token, before it is passed on */
  onFirstToken?: () => void;
}

/** What a source has said so far, and the rest of it. */
interface Opened {
  held: GenerateEvent[];
  rest: Generation;
}

export class Router {
  constructor(readonly parts: RouterParts) {}

  /**
   * Answers a query: first the decision, then the events of exactly one engine.
   *
   * @param request without `adapters`, the device's own are used; with the empty list, none
   *
   * @throws CrayonError `bad-option` for a request without a query, what the engines throw; where both sources failed, the error of the one that was wanted first
   */
  async *route(asked: GenerateRequest, options: RouteOptions = {}): AsyncGenerator<RoutedEvent, void, void> {
    refuseIncomplete(asked);
    const { device, server, config, clusters, adapters = () => [] } = this.parts;
    const isForServer = (options.mode ?? config.mode) === 'only_in_cloud';
    const request =
      asked.adapters === undefined && !isForServer ? { ...asked, adapters: adapters(asked.query) } : asked;
    const scope = options.scope === undefined ? this.parts.scope : options.scope;
    const about = { mode: options.mode ?? config.mode, hasServer: server !== null, scope, clusters };
    const rule = new RoutingRule(config, situationOf(device, request, about));
    const passage = new Passage(this.parts, request, rule, options);
    try {
      const { decision, opened } = await passage.settle();
      yield { type: 'decision', decision };
      yield* opened.held;
      // Not `yield*`: leaving early must end this generation, whichever state it is in; `finally` does.
      for (;;) {
        const event = await opened.rest.next();
        if (event === null) return;
        yield event;
      }
    } finally {
      passage.close();
    }
  }
}

const isEnd = ({ type }: GenerateEvent): boolean => type === 'end';
/** Half a character, or what a stop text may begin with, is not sent on yet. */
const isText = (event: GenerateEvent): boolean =>
  event.type === 'end' || (event.type === 'token' && (event.text !== '' || event.calls !== undefined));

/** One query on its way to a source. */
class Passage {
  readonly #parts: RouterParts;
  readonly #request: GenerateRequest;
  readonly #rule: RoutingRule;
  readonly #options: RouteOptions;
  #current: Generation | null = null;

  constructor(parts: RouterParts, request: GenerateRequest, rule: RoutingRule, options: RouteOptions) {
    this.#parts = parts;
    this.#request = request;
    this.#rule = rule;
    this.#options = options;
  }

  /** Finds the source and reads its answer up to the first text, or to its end: from there on, nothing can change. */
  async settle(): Promise<{ decision: Decision; opened: Opened }> {
    let step = await this.#orOtherSource(async () => {
      if (this.#rule.asksDevice) await this.#tokens();
      return this.#rule.beforeWork();
    });
    if (step === GO_ON && this.#rule.needs('after-prompt')) {
      step = await this.#orOtherSource(async () => {
        const { query, adapters, signal } = this.#request;
        return this.#rule.afterPrompt(await this.#parts.device.promptNll(query, adapters ?? [], signal));
      });
    }
    let opened: Opened | null = null;
    if (step === GO_ON) ({ decision: step, opened } = await this.#askDevice());

    // At most one change of source from here: the rule throws when both have failed.
    while (opened === null || step.source === 'in_cloud') {
      const source: Source = step.source;
      try {
        const fresh = await this.#open(source);
        return { decision: step, opened: fresh };
      } catch (error) {
        this.#refuseIfGivenUp(error);
        if (source === 'in_cloud' && this.#rule.deviceStandsIn) await this.#tokens();
        step = source === 'in_cloud' ? this.#rule.insteadOfServer(error) : this.#rule.insteadOfDevice(error);
        // The whole answer was there when the rule turned it down: it is still the device's answer.
        if (step.source === 'on_device' && opened !== null) break;
      }
    }
    return { decision: step, opened };
  }

  /**
   * The device generates; where confidence has a say, its first tokens are held back until it has spoken. A complete answer
   * is kept although the server is preferred to it, for the case that the server fails.
   */
  async #askDevice(): Promise<{ decision: Decision; opened: Opened | null }> {
    try {
      if (!this.#rule.needs('after-tokens'))
        return { decision: this.#rule.accept(), opened: await this.#open('on_device') };
      const { measure, tokens } = this.#parts.config.confidence;
      const tracker = new ConfidenceTracker(measure, tokens);
      const opened = await this.#open(
        'on_device',
        { logprobs: true, distribution: needsDistribution(measure) },
        (event) => {
          if (event.type === 'token') tracker.add(event);
          return event.type === 'end' || tracker.complete;
        },
      );
      const decision = this.#rule.afterTokens(tracker.value());
      if (decision.source === 'on_device') {
        if (this.#options.whole) await this.#read(opened, isEnd);
        return { decision, opened };
      }
      this.close();
      return { decision, opened: opened.held.at(-1)?.type === 'end' ? opened : null };
    } catch (error) {
      this.close();
      this.#refuseIfGivenUp(error);
      return { decision: this.#rule.insteadOfDevice(error), opened: null };
    }
  }

  /** Starts a source and reads until `enough`: by default the first text, or the answer's end. */
  async #open(
    source: Source,
    measured: Measured = {},
    enough: (event: GenerateEvent) => boolean = this.#options.whole ? isEnd : isText,
  ): Promise<Opened> {
    this.close();
    const engine = source === 'on_device' ? this.#parts.device : this.#parts.server!;
    const rest = new Generation(engine, forSource(this.#request, source, measured));
    this.#current = rest;
    return this.#read({ held: [], rest }, enough);
  }

  /** Reads on until `enough`. */
  async #read(opened: Opened, enough: (event: GenerateEvent) => boolean): Promise<Opened> {
    const { held, rest } = opened;
    for (;;) {
      const event = await rest.next();
      if (event === null) return opened;
      if (event.type === 'token' && !held.some(({ type }) => type === 'token')) this.#options.onFirstToken?.();
      held.push(event);
      if (enough(event)) return opened;
    }
  }

  /** A device that fails before it generates (its tokenizer, its embedding) fails like one that fails later. */
  async #orOtherSource(ask: () => Promise<Step>): Promise<Step> {
    try {
      return await ask();
    } catch (error) {
      this.#refuseIfGivenUp(error);
      return this.#rule.insteadOfDevice(error);
    }
  }

  /** The prompt's tokens, which the rule compares with the device's context: made aside from the event loop. */
  async #tokens(): Promise<void> {
    await this.#request.query.tokensAside(this.#parts.device, this.#request.signal);
  }

  /** A client that has gone away wants no other source. */
  #refuseIfGivenUp(error: unknown): void {
    if (this.#request.signal.aborted) throw error;
  }

  /** Ends what is being generated; nothing happens when it has ended by itself. */
  close(): void {
    this.#current?.abandon();
    this.#current = null;
  }
}

/** One engine's answer under way, which can be ended at once. */
class Generation {
  readonly #request: GenerateRequest;
  readonly #controller = new AbortController();
  readonly #iterator: AsyncIterator<GenerateEvent>;
  #over = false;

  constructor(engine: Engine, request: GenerateRequest) {
    this.#request = request;
    // Not AbortSignal.any: its bookkeeping costs milliseconds of garbage collection every hundred queries.
    if (request.signal.aborted) this.#abort();
    else request.signal.addEventListener('abort', this.#abort, { once: true });
    this.#iterator = engine.generate({ ...request, signal: this.#controller.signal })[Symbol.asyncIterator]();
  }

  /** The next event; null after the last, and once abandoned. */
  async next(): Promise<GenerateEvent | null> {
    if (this.#over) return null;
    try {
      const { done, value } = await this.#iterator.next();
      if (done) this.#finish();
      return done ? null : value;
    } catch (error) {
      this.#finish();
      throw error;
    }
  }

  /** Nobody waits for it: the engine frees what it holds in its own time, and how it ends concerns nobody any more. */
  abandon(): void {
    if (this.#over) return;
    this.#finish();
    this.#abort();
    this.#iterator.return?.().catch(() => {});
  }

  readonly #abort = (): void => this.#controller.abort();

  #finish(): void {
    this.#over = true;
    this.#request.signal.removeEventListener('abort', this.#abort);
  }
}

/** What confidence is measured on. */
type Measured = Pick<GenerateRequest, 'distribution' | 'logprobs'>;

/** Adapters, distributions and the room in the context are the device's business, and no word of them goes to the server. */
function forSource(request: GenerateRequest, source: Source, measured: Measured): GenerateRequest {
  if (source === 'on_device') return { ...request, ...measured };
  const { adapters: _, distribution: __, serverMaxTokens = request.maxTokens, ...plain } = request;
  return { ...plain, maxTokens: serverMaxTokens };
}
