/**
 * The rule that chooses a source, in the order in which its questions cost: before any work, after the prompt was read, after
 * the first tokens. One `RoutingRule` for each query; it asks only what the mode leaves open.
 *
 *   only_on_device    the device, or an error.           only_in_cloud    the server, or an error.
 *   prefer_in_cloud   the server; the device stands in when the server fails, is over its budget or its circuit is open.
 *   prefer_on_device  the device, but the server when
 *     1. prompt and answer do not fit the device's context,
 *     2. the device's queue is full or its memory nearly so (where `load` is on),
 *     3. the scope percentile is below its cut,
 *     4. the prompt's mean negative log-likelihood is above its cut,
 *     5. the confidence of the first tokens is below its cut,
 *     6. the probability that the device's answer is right, made of these signals, is below its cut,
 *     or the device fails; and the device after all when the server fails.
 *
 * A signal that is not a number means that the device's model computed nonsense. It counts as a failure of the device, and is
 * named in the decision; no comparison is ever made with it.
 */

import assert from 'node:assert/strict';
import { CrayonError, isCrayonError } from '../core/errors.js';
import { correctnessOf, weighs } from './signals/correctness.js';
import type { ScopeScore } from './signals/scope.js';
import type {
  CorrectnessWeights,
  Decision,
  Mode,
  Reason,
  RoutingConfig,
  Signals,
  Source,
  Thresholds,
} from './types.js';

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
  /** false once the query was found to have no profile to be compared with */
  #hasProfile = true;

  constructor(config: RoutingConfig, situation: Situation) {
    this.#config = config;
    this.#situation = situation;
    for (const [name, cut] of Object.entries(config.thresholds)) {
      assert.ok(!Number.isNaN(cut), `the threshold of ${name} is not a number`);
    }
    const { thresholds, correctness } = config;
    assert.ok((thresholds.correctness ?? null) === null || correctness, 'the threshold of correctness has no weights');
    this.signals = { promptTokens: null, maxTokens: situation.maxTokens };
  }

  /** Whether the signals have a say: only where the device is preferred and there is a server to prefer to it. */
  get #open(): boolean {
    return this.#situation.mode === 'prefer_on_device' && this.#situation.hasServer;
  }

  /** Asked after `beforeWork`, as is the next: without a profile, a probability that needs one has no say. */
  get needsComplexity(): boolean {
    return this.#open && (this.#config.thresholds.complexity !== null || this.#combines('complexity'));
  }

  get needsConfidence(): boolean {
    return this.#open && (this.#config.thresholds.confidence !== null || this.#combined !== null);
  }

  /** The weights of the probability of a right answer, where that has a say. */
  get #combined(): CorrectnessWeights | null {
    const { thresholds, correctness } = this.#config;
    if (!this.#open || (thresholds.correctness ?? null) === null || !correctness) return null;
    return this.#hasProfile || !weighs(correctness, 'scope') ? correctness : null;
  }

  #combines(signal: 'scope' | 'complexity'): boolean {
    return this.#combined !== null && weighs(this.#combined, signal);
  }

  /**
   * Mode, context, load and scope.
   *
   * @throws CrayonError `context-exceeded` where only the device may answer and the query is too long for it;
   *   `server-unreachable` where only the server may answer and none is configured
   */
  beforeWork(): Step {
    const { mode, hasServer, contextTokens, load, scope } = this.#situation;
    if (mode === 'only_in_cloud' || mode === 'prefer_in_cloud') {
      if (hasServer) return this.#decide('in_cloud', 'mode');
      return this.insteadOfServer(noServer(mode));
    }
    const tokens = this.#readPrompt();
    if (tokens > contextTokens) {
      if (!this.#open) throw tooLong(tokens, contextTokens);
      return this.#decide('in_cloud', 'context', tokens, contextTokens);
    }
    if (!this.#open) return this.#decide('on_device', 'mode');
    if (this.#config.load) {
      const { running, waiting, capacity, queue } = load();
      if (running >= capacity && waiting >= queue) return this.#decide('in_cloud', 'load', waiting, queue);
      const { minFreeBytes = 0 } = this.#config;
      const free = minFreeBytes > 0 ? this.#situation.freeBytes?.() : undefined;
      if (free !== undefined && free < minFreeBytes) return this.#decide('in_cloud', 'memory', free, minFreeBytes);
    }
    if (this.#config.thresholds.scope === null && !this.#combines('scope')) return GO_ON;
    const found = scope();
    if (found === null) {
      this.#hasProfile = false;
      return GO_ON;
    }
    this.signals.scope = found.percentile;
    this.signals.similarity = found.similarity;
    return this.#compare('scope', found.percentile);
  }

  /** @param complexity mean negative log-likelihood of the prompt, nats a token */
  afterPrefill(complexity: number): Step {
    assert.ok(this.needsComplexity, 'afterPrefill: complexity has no say here');
    this.signals.complexity = complexity;
    return this.#compare('complexity', complexity);
  }

  /** @param confidence of the tokens that the configuration looks at, or of the whole answer where it has fewer */
  afterTokens(confidence: number): Decision {
    assert.ok(this.needsConfidence, 'afterTokens: confidence has no say here');
    this.signals.confidence = confidence;
    let step = this.#compare('confidence', confidence);
    if (step === GO_ON && this.#combined !== null) {
      const { scope = Number.NaN, complexity = Number.NaN } = this.signals;
      const signals = { scope, complexity, confidence };
      this.signals.correctness = correctnessOf(this.#combined, this.#config.confidence.measure, signals);
      step = this.#compare('correctness', this.signals.correctness);
    }
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
    if (!this.#open || !isFallbackWorthy(error)) throw error;
    // What the rule would have sent to the server had it known: not a failure of the device.
    const { contextTokens } = this.#situation;
    if (isCrayonError(error, 'context-exceeded')) {
      return this.#decide('in_cloud', 'context', this.#readPrompt(), contextTokens);
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
    const tokens = this.#readPrompt();
    if (tokens > contextTokens) throw bothFailed(error, 'the device', tooLong(tokens, contextTokens));
    this.#failure = { source: 'in_cloud', error };
    return this.#decide('on_device', reasonOf(error));
  }

  /** A signal without a cut of its own is looked at all the same: what is made of it must be a number. */
  #compare(reason: keyof Thresholds, score: number): Step {
    if (Number.isNaN(score)) {
      return this.insteadOfDevice(new CrayonError('model-invalid', `the device's ${reason} score is not a number`));
    }
    const cut = this.#config.thresholds[reason] ?? null;
    if (cut === null) return GO_ON;
    const toServer = reason === 'complexity' ? score > cut : score < cut;
    if (toServer) return this.#decide('in_cloud', reason, score, cut);
    this.#passed = [score, cut];
    return GO_ON;
  }

  #readPrompt(): number {
    this.signals.promptTokens ??= this.#situation.promptTokens();
    return this.signals.promptTokens + this.#situation.maxTokens;
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
  const message = error instanceof Error ? error.message : String(error);
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
    ...(first.hint === undefined ? {} : { hint: first.hint }),
    cause: first.cause ?? first,
  });
}
