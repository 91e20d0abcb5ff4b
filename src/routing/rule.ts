/**
 * The rule that chooses a source, in the order in which its questions cost: before any work, after the prompt was read, after
 * the first tokens. One `RoutingRule` for each query; it asks only what the mode leaves open.
 *
 *   only_on_device    the device, or an error.           only_in_cloud    the server, or an error.
 *   prefer_in_cloud   the server; the device stands in when the server fails, is over its budget or its circuit is open.
 *   prefer_on_device  the device, but the server when
 *     1. prompt and answer do not fit the device's context,
 *     2. the device's queue is full or its memory nearly so (where `load` is on),
 *     3. a signal crosses its cut, in the order of signals/index.ts: before work the scope percentile and the success rate of
 *        the prompt's clusters, after the prompt its mean negative log-likelihood, after the first tokens their confidence
 *        and the probability, made of all of these, that the device's answer is right,
 *     or the device fails; and the device after all when the server fails.
 *
 * A signal that is not a number means that the device's model computed nonsense. It counts as a failure of the device, and is
 * named in the decision; no comparison is ever made with it.
 */

import assert from 'node:assert/strict';
import { CrayonError, isCrayonError, messageOf } from '../core/errors.js';
import type { DeviceEngine, GenerateRequest } from '../engine/types.js';
import { SIGNALS, type SignalName, signalNamed } from './signals/index.js';
import type { ScopeFunction } from './signals/scope.js';
import type { Evidence, ScopeScore, Signal, Stage } from './signals/signal.js';
import type { ClusterFunction } from './signals/success.js';
import type { Decision, Mode, Reason, RoutingConfig, Signals, Source } from './types.js';

/** What is known of a query and of the device before any work. */
export interface Situation {
  mode: Mode;
  /** tokens of the prompt as the device reads it; asked only where the device may answer */
  promptTokens: () => number;
  maxTokens: number;
  /** tokens that prompt and answer may have together on the device */
  contextTokens: number;
  hasServer: boolean;
  /** the device's load now */
  load: () => { running: number; waiting: number; capacity: number; queue: number };
  /** memory that the machine can still give, in bytes */
  freeBytes?: (() => number) | undefined;
  /** the query's scope score, computed when called; null where there is no profile */
  scope: () => ScopeScore | null;
  /** its gate over the clusters of the pool, likewise; null or absent where there is no pool */
  clusters?: Evidence['clusters'];
}

/** The situation of a query before a device. */
export function situationOf(
  device: DeviceEngine,
  { query, maxTokens }: Pick<GenerateRequest, 'query' | 'maxTokens'>,
  about: Pick<Situation, 'mode' | 'hasServer'> & {
    scope?: ScopeFunction | null;
    clusters?: ClusterFunction | null | undefined;
  },
): Situation {
  return {
    ...about,
    promptTokens: () => query.tokens(device).length,
    maxTokens,
    contextTokens: device.contextTokens,
    load: () => device.load(),
    freeBytes: device.freeBytes?.bind(device),
    scope: () => about.scope?.(query) ?? null,
    clusters: () => about.clusters?.(query) ?? null,
  };
}

export const GO_ON = 'go on';
export type Step = Decision | typeof GO_ON;

/** The wish was for this source, and this is why another one answers. */
type Failure = { source: Source; error: unknown };

export class RoutingRule {
  readonly #config: RoutingConfig;
  readonly #situation: Situation;
  readonly signals: Signals;
  #failure: Failure | null = null;
  /** the last signal that let the device go on, with its cut */
  #passed: [score: number, threshold: number] | null = null;
  /** signals that the query was found not to have: nothing can be made of them */
  readonly #absent = new Set<string>();
  readonly #evidence: Evidence;

  constructor(config: RoutingConfig, situation: Situation) {
    this.#config = config;
    this.#situation = situation;
    for (const [name, cut] of Object.entries(config.thresholds)) {
      assert.ok(!Number.isNaN(cut), `the threshold of ${name} is not a number`);
      const made = signalNamed(name as SignalName).madeOf?.(config);
      assert.ok((cut ?? null) === null || made !== null, `the threshold of ${name} has no weights or rates`);
    }
    const { maxTokens, scope, clusters } = situation;
    this.signals = { promptTokens: null, maxTokens };
    this.#evidence = {
      config,
      maxTokens,
      promptTokens: () => this.#promptTokens(),
      scope,
      clusters,
      promptNll: Number.NaN,
      confidence: Number.NaN,
      signals: this.signals as unknown as Evidence['signals'],
    };
  }

  /** Only where the device is preferred and there is a server to prefer to it. */
  get #signalsDecide(): boolean {
    return this.#situation.mode === 'prefer_on_device' && this.#situation.hasServer;
  }

  /** Whether the device is asked before any work: for the prompt's tokens, to begin with. */
  get asksDevice(): boolean {
    const { mode, hasServer } = this.#situation;
    return mode === 'only_on_device' || mode === 'prefer_on_device' || (mode === 'prefer_in_cloud' && !hasServer);
  }

  /** Whether the device is asked where the server has failed. */
  get deviceStandsIn(): boolean {
    return this.#situation.mode === 'prefer_in_cloud';
  }

  /** Whether a signal of this stage has a say; asked after the stage before it, which may find that the query lacks one. */
  needs(stage: Stage): boolean {
    return this.#signalsDecide && this.#wanted(stage).length > 0;
  }

  /** Signals of a stage that have a cut, or of which one that has a cut is made. */
  #wanted(stage: Stage): Signal<SignalName>[] {
    const names = SIGNALS.flatMap(({ name, madeOf }) => {
      if (this.#cutOf(name) === null) return [];
      const parts = madeOf?.(this.#config) ?? [];
      return parts.some((part) => this.#absent.has(part)) ? [] : [name, ...parts];
    });
    return SIGNALS.filter((signal) => signal.stage === stage && names.includes(signal.name));
  }

  #cutOf(name: SignalName): number | null {
    return this.#config.thresholds[name] ?? null;
  }

  /** A signal that is a part of another one is as such compared with nothing, but must be a number all the same. */
  #ask(stage: Stage): Step {
    for (const signal of this.#wanted(stage)) {
      const found = signal.read(this.#evidence);
      if (found === null) {
        this.#absent.add(signal.name);
        continue;
      }
      Object.assign(this.signals, found);
      const step = this.#compare(signal, found[signal.name]!);
      if (step !== GO_ON) return step;
    }
    return GO_ON;
  }

  /**
   * Mode, context, load, memory and the signals that are known before any work.
   *
   * @throws CrayonError `context-exceeded` where only the device may answer and the query is too long for it;
   *   `server-unreachable` where only the server may answer and none is configured
   */
  beforeWork(): Step {
    const { mode, hasServer, contextTokens, load } = this.#situation;
    if (mode === 'only_in_cloud' || mode === 'prefer_in_cloud') {
      if (hasServer) return this.#decide('in_cloud', 'mode');
      return this.insteadOfServer(noServer(mode));
    }
    const tokens = this.#tokens();
    if (tokens > contextTokens) {
      if (!this.#signalsDecide) throw tooLong(tokens, contextTokens);
      return this.#decide('in_cloud', 'context', tokens, contextTokens);
    }
    if (!this.#signalsDecide) return this.#decide('on_device', 'mode');
    if (this.#config.load) {
      const { running, waiting, capacity, queue } = load();
      if (running >= capacity && waiting >= queue) return this.#decide('in_cloud', 'load', waiting, queue);
      const { minFreeBytes = 0 } = this.#config;
      const free = minFreeBytes > 0 ? this.#situation.freeBytes?.() : undefined;
      if (free !== undefined && free < minFreeBytes) return this.#decide('in_cloud', 'memory', free, minFreeBytes);
    }
    return this.#ask('before-work');
  }

  /** @param promptNll mean negative log-likelihood of the prompt, nats a token */
  afterPrompt(promptNll: number): Step {
    assert.ok(this.needs('after-prompt'), 'afterPrompt: no signal of the prompt has a say here');
    this.#evidence.promptNll = promptNll;
    return this.#ask('after-prompt');
  }

  /** @param confidence of the tokens that the configuration looks at, or of the whole answer where it has fewer */
  afterTokens(confidence: number): Decision {
    assert.ok(this.needs('after-tokens'), 'afterTokens: no signal of the answer has a say here');
    this.#evidence.confidence = confidence;
    const step = this.#ask('after-tokens');
    return step === GO_ON ? this.accept() : step;
  }

  /** The device answers: every signal that has a say let it. */
  accept(): Decision {
    const [score, threshold] = this.#passed ?? [null, null];
    return this.#decide('on_device', 'accepted', score, threshold);
  }

  /**
   * The device failed before anything was sent to the client: the server takes the query, or this throws.
   *
   * @throws the device's error, where the mode or the missing server forbids; with the server's too, when it had failed before
   */
  insteadOfDevice(error: unknown): Decision {
    if (this.#failure?.source === 'in_cloud') throw bothFailed(this.#failure.error, 'the device', error);
    if (!this.#signalsDecide || !isFallbackWorthy(error)) throw error;
    // What the rule would have sent to the server had it known: not a failure of the device.
    const { contextTokens } = this.#situation;
    if (isCrayonError(error, 'context-exceeded')) {
      return this.#decide('in_cloud', 'context', this.#tokens(), contextTokens);
    }
    if (isCrayonError(error, 'engine-busy')) {
      if (!this.#config.load) throw error;
      const { waiting, queue } = this.#situation.load();
      return this.#decide('in_cloud', 'load', waiting, queue);
    }
    this.#failure = { source: 'on_device', error };
    return this.#decide('in_cloud', 'device-failed');
  }

  /**
   * The server failed before anything was sent to the client: the device stands in, or this throws.
   *
   * @throws the server's error, where the mode forbids or the device cannot; with the device's too, when it had failed before
   */
  insteadOfServer(error: unknown): Decision {
    const { mode, contextTokens } = this.#situation;
    if (this.#failure?.source === 'on_device') throw bothFailed(this.#failure.error, 'the server', error);
    if (mode === 'only_in_cloud' || mode === 'only_on_device' || !isFallbackWorthy(error)) throw error;
    const tokens = this.#tokens();
    if (tokens > contextTokens) throw bothFailed(error, 'the device', tooLong(tokens, contextTokens));
    this.#failure = { source: 'in_cloud', error };
    return this.#decide('on_device', reasonOf(error));
  }

  #compare({ name, toServer }: Signal<SignalName>, score: number): Step {
    if (Number.isNaN(score)) {
      return this.insteadOfDevice(new CrayonError('model-invalid', `the device's ${name} score is not a number`));
    }
    const cut = this.#cutOf(name);
    if (cut === null) return GO_ON;
    if (toServer === 'above' ? score > cut : score < cut) return this.#decide('in_cloud', name, score, cut);
    this.#passed = [score, cut];
    return GO_ON;
  }

  #promptTokens(): number {
    this.signals.promptTokens ??= this.#situation.promptTokens();
    return this.signals.promptTokens;
  }

  /** Tokens of prompt and answer. */
  #tokens(): number {
    return this.#promptTokens() + this.#situation.maxTokens;
  }

  #decide(source: Source, reason: Reason, score: number | null = null, threshold: number | null = null): Decision {
    const decision: Decision = {
      source,
      reason,
      score,
      threshold,
      signals: { ...this.signals },
      fallbackFrom: this.#failure?.source ?? null,
    };
    return this.#failure === null ? decision : { ...decision, failure: describe(this.#failure.error) };
  }
}

/** A request that was given up, or that is itself wrong, would be no better elsewhere. */
function isFallbackWorthy(error: unknown): boolean {
  return !isCrayonError(error, 'interrupted') && !isCrayonError(error, 'request-invalid');
}

function reasonOf(error: unknown): Reason {
  if (isCrayonError(error, 'server-budget')) return 'budget';
  return isCrayonError(error, 'server-circuit-open') ? 'circuit-open' : 'server-failed';
}

function describe(error: unknown): NonNullable<Decision['failure']> {
  const message = messageOf(error);
  return { code: error instanceof CrayonError ? error.code : 'internal', message };
}

function noServer(mode: Mode): CrayonError {
  return new CrayonError('server-unreachable', `mode ${mode} asks for the server LLM, and none is configured`, {
    hint: 'Give the configuration a server section with base_url and model, or use another mode.',
  });
}

function tooLong(tokens: number, contextTokens: number): CrayonError {
  return new CrayonError(
    'context-exceeded',
    `prompt and answer together are ${tokens} tokens, expected at most ${contextTokens} on the device`,
    { hint: 'Shorten the prompt, ask for fewer tokens, or raise engine.context.' },
  );
}

/** The first error stays the error: its code, and its cause with an upstream's status, say what the client is told. */
function bothFailed(first: unknown, other: string, second: unknown): unknown {
  if (!(first instanceof CrayonError) || isCrayonError(second, 'interrupted')) return second;
  return new CrayonError(first.code, `${first.message}; and ${other} could not stand in (${describe(second).code})`, {
    hint: first.hint,
    cause: first.cause ?? first,
  });
}
