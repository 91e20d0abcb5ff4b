/** A decision in one plain sentence. */

import { SIGNALS, type SignalName } from './signals/index.js';
import { type Signal, shown } from './signals/signal.js';
import type { Decision } from './types.js';

/** @example explain(decision) // 'The server answers: the confidence -1.203 is below the cut -0.9.' */
export function explain(decision: Decision): string {
  return `${decision.source === 'on_device' ? 'The device' : 'The server'} answers: ${why(decision)}.`;
}

function why({ reason, score, threshold, signals, failure }: Decision): string {
  const numbers = (relation: string) => `${shown(score)} ${relation} ${shown(threshold)}`;
  const because = failure === undefined ? '' : ` (${failure.code})`;
  switch (reason) {
    case 'mode':
      return 'the mode says so';
    case 'context':
      return numbers('tokens of prompt and answer are more than the device takes, which is');
    case 'load':
      return `the device is busy, and its queue is full (${numbers('waiting of')})`;
    case 'memory':
      return `the device is short of memory (${numbers('bytes are free, less than the')} to be kept free)`;
    case 'accepted': {
      if (score === null) return 'no signal is switched on that could send the query to the server';
      const last = SIGNALS.findLast(({ name }) => signals[name] !== undefined)!;
      const relation = last.toServer === 'below' ? 'at least' : 'at most';
      if (last.explained !== undefined) return last.explained(score, relation, shown(threshold), { ...signals });
      return `its ${last.title} ${numbers(`is ${relation} the cut`)}`;
    }
    case 'server-failed':
      return `the server was wanted but failed${because}`;
    case 'budget':
      return 'the server was wanted but its budget for today is spent';
    case 'circuit-open':
      return 'the server was wanted but failed so often lately that it is left alone for now';
    case 'device-failed':
      return `the device was wanted but failed${because}`;
    default:
      return crossed(SIGNALS.find(({ name }) => name === reason)!, score, threshold, signals);
  }
}

/** The signal that sent the query to the server. */
function crossed(
  signal: Signal<SignalName>,
  score: number | null,
  threshold: number | null,
  signals: Decision['signals'],
): string {
  const { toServer, doubt, title, told = (value) => `${title} ${value}`, explained } = signal;
  const cut = shown(threshold);
  if (explained !== undefined) return explained(score!, toServer, cut, { ...signals });
  return `${doubt} (${told(shown(score))} is ${toServer} the cut ${cut})`;
}
