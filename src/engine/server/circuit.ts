/** The circuit breaker around a server: after several failures in a row no call is sent for a while, then one as a probe. */

import { type ErrorCode, isCrayonError } from '../../core/errors.js';
import { serverError } from './error.js';
import type { CircuitState, ServerContext, Settings } from './options.js';

/** What says that the server is unwell. A refusal (401, 400) or a content filter says that it works. */
const COUNTED: ReadonlySet<ErrorCode> = new Set([
  'server-unreachable',
  'server-timeout',
  'server-failed',
  'server-invalid',
]);

export interface CircuitPass {
  /** Says how the call ended: with an error, or well (null). Once; later ones do nothing. */
  settle(error: unknown): void;
}

export class Circuit {
  readonly #server: string;
  readonly #settings: Settings;
  #state: CircuitState = 'closed';
  /** since the last call that went well */
  #failures = 0;
  #openUntil = 0;

  constructor({ server, settings }: ServerContext) {
    this.#server = server;
    this.#settings = settings;
  }

  get state(): CircuitState {
    return this.#state;
  }

  /** @throws CrayonError `server-circuit-open` when a call made now would not be sent */
  check(): void {
    const waitMs = this.#state === 'open' ? this.#openUntil - this.#settings.clock.now() : 0;
    if (waitMs <= 0 && this.#state !== 'half-open') return;
    const what = waitMs > 0 ? `the next attempt is in ${Math.ceil(waitMs / 1000)} s` : 'one call is trying it again';
    throw serverError('server-circuit-open', `${this.#server}: has failed several times in a row, ${what}`, {
      retryAfterMs: waitMs > 0 ? waitMs : null,
    });
  }

  /**
   * Lets one call through; the first after the rest is the probe.
   *
   * @throws CrayonError `server-circuit-open`
   */
  enter(): CircuitPass {
    this.check();
    const isProbe = this.#state === 'open';
    if (isProbe) this.#become('half-open');
    let isRunning = true;
    return {
      settle: (error) => {
        if (isRunning) this.#settle(error, isProbe);
        isRunning = false;
      },
    };
  }

  #settle(error: unknown, isProbe: boolean): void {
    if (isCrayonError(error) && COUNTED.has(error.code)) {
      const { failures, halfOpenAfterMs } = this.#settings.circuit;
      this.#failures++;
      if (isProbe || this.#failures >= failures) this.#open(halfOpenAfterMs);
    } else if (isProbe && isCrayonError(error, 'interrupted')) {
      // A probe that its client cancelled has shown nothing, so the next call may be the probe at once.
      this.#open(0);
    } else {
      if (error === null) this.#failures = 0;
      if (isProbe && this.#state === 'half-open') this.#become('closed');
    }
  }

  /** Where the circuit is open already, the failure of a call from before does not prolong that. */
  #open(restMs: number): void {
    if (this.#state === 'open') return;
    this.#openUntil = this.#settings.clock.now() + restMs;
    this.#become('open');
  }

  #become(state: CircuitState): void {
    this.#state = state;
    this.#settings.onEvent({ type: 'circuit', state });
  }
}
