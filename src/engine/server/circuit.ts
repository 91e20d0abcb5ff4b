/** The circuit breaker around a server: after several failures in a row no call is sent for a while, then one as a probe. */

import {
  type CircuitBreakerPolicy,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhen,
  type IBackoff,
  type IBackoffFactory,
  type IHalfOpenAfterBackoffContext,
  CircuitState as State,
} from 'cockatiel';
import { type ErrorCode, isCrayonError } from '../../core/errors.js';
import type { Clock } from '../clock.js';
import { serverError } from './error.js';
import type { CircuitOptions, CircuitState } from './options.js';

/** What says that the server is unwell. A refusal (401, 400) or a content filter says that it works. */
const COUNTED: ReadonlySet<ErrorCode> = new Set([
  'server-unreachable',
  'server-timeout',
  'server-failed',
  'server-invalid',
]);

const NAMES: Record<State, CircuitState> = {
  [State.Closed]: 'closed',
  [State.Open]: 'open',
  [State.HalfOpen]: 'half-open',
  [State.Isolated]: 'open',
};

export interface CircuitPass {
  /** Says how the call ended: with an error, or well (null). Once; later ones do nothing. */
  settle(error: unknown): void;
}

export class Circuit {
  readonly #policy: CircuitBreakerPolicy;
  readonly #name: string;
  readonly #clock: Clock;
  #openUntil = 0;

  constructor(name: string, options: CircuitOptions, clock: Clock, onChange: (state: CircuitState) => void) {
    this.#name = name;
    this.#clock = clock;
    const counts = (error: unknown): boolean =>
      isCrayonError(error) && (COUNTED.has(error.code) || (error.code === 'interrupted' && this.state === 'half-open'));
    this.#policy = circuitBreaker(handleWhen(counts), {
      breaker: new ConsecutiveBreaker(options.failures),
      halfOpenAfter: this.#waits(options.halfOpenAfterMs),
    });
    this.#policy.onStateChange((state) => onChange(NAMES[state]));
  }

  get state(): CircuitState {
    return NAMES[this.#policy.state];
  }

  /** @throws CrayonError `server-circuit-open` when a call made now would not be sent */
  check(): void {
    const waitMs = this.state === 'open' ? this.#openUntil - this.#clock.now() : 0;
    if (waitMs <= 0 && this.state !== 'half-open') return;
    const what = waitMs > 0 ? `the next attempt is in ${Math.ceil(waitMs / 1000)} s` : 'one call is trying it again';
    throw serverError('server-circuit-open', `${this.#name}: has failed several times in a row, ${what}`, {
      ...(waitMs > 0 ? { retryAfterMs: waitMs } : {}),
    });
  }

  /**
   * Lets one call through.
   *
   * @throws CrayonError `server-circuit-open`
   */
  enter(): CircuitPass {
    this.check();
    let settle: CircuitPass['settle'] = () => {};
    const outcome = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === null ? resolve() : reject(error));
    });
    // The policy guards the whole call, from before it is sent to the last token; what it throws is thrown by the call itself.
    this.#policy.execute(() => outcome).catch(() => {});
    return { settle };
  }

  /**
   * The policy reads the system's clock and compares; this makes it read ours. A probe that its client cancelled has shown
   * nothing, so the next call may be the probe at once.
   */
  #waits(halfOpenAfterMs: number): IBackoffFactory<IHalfOpenAfterBackoffContext> {
    const next = ({ result }: IHalfOpenAfterBackoffContext): IBackoff<IHalfOpenAfterBackoffContext> => {
      const cancelled = 'error' in result && isCrayonError(result.error, 'interrupted');
      this.#openUntil = this.#clock.now() + (cancelled ? 0 : halfOpenAfterMs);
      const isOver = (): boolean => this.#clock.now() >= this.#openUntil;
      return {
        get duration() {
          return isOver() ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
        },
        next,
      };
    };
    return { next };
  }
}
