/** One answer: its text, who gave it and why, and how fast it came. */

import type { Signal } from '@preact/signals';
import type { SignalFact } from '../wire.js';
import { type Answer, facts } from './state.js';
import { scalePlace, segmentsOf, shown, whyAnswered } from './words.js';

const ENDS: Record<string, string> = { length: 'cut at the most tokens', content_filter: 'ended by a content filter' };

export function AnswerCard({ answer }: { answer: Signal<Answer> }) {
  const { title, state, text, who, error } = answer.value;
  const isBusy = state === 'waiting' || state === 'streaming';
  return (
    // A screen reader is told of an answer when it is whole, not token by token.
    <article class="answer" aria-busy={isBusy} aria-label={`Answer for ${title}`} data-state={state}>
      <header>
        {who === null ? (
          <span class="source">{state === 'waiting' ? 'Waiting' : 'No answer'}</span>
        ) : (
          <span class={`source ${who.source}`}>{who.source === 'on_device' ? 'Device' : 'Server'}</span>
        )}
        <span class="title">{who?.source === 'in_cloud' ? `${title} · ${facts.value!.server}` : title}</span>
        {isBusy && <span class="busy" aria-hidden="true" />}
      </header>
      {(text !== '' || error === null) && (
        <div class="text">
          {segmentsOf(text).map((segment, i) =>
            segment.isCode ? <pre key={i}>{segment.text}</pre> : <p key={i}>{segment.text}</p>,
          )}
          {text === '' && state === 'done' && <p class="hint">An empty answer.</p>}
          {state === 'stopped' && <p class="hint">Stopped.</p>}
        </div>
      )}
      {error !== null && (
        <div class="failure">
          <b>{failureTitle(error.type)}</b>
          <p>{error.message}</p>
          <code>{error.status > 0 ? `${error.code}, status ${error.status}` : error.code}</code>
        </div>
      )}
      {who !== null && <Why {...answer.value} who={who} />}
    </article>
  );
}

function failureTitle(type: string): string {
  switch (type) {
    case 'upstream_error':
      return 'The server LLM failed';
    case 'rate_limit_error':
    case 'insufficient_quota':
      return 'Too much is asked at the moment';
    case 'connection':
      return 'The connection failed';
    default:
      return 'No answer';
  }
}

function Why({ who, pace, finish }: Answer & { who: NonNullable<Answer['who']> }) {
  const { signals } = facts.value!;
  const scored = signals.filter(({ name }) => who.signals[name] !== undefined);
  const end = ENDS[finish ?? ''];
  return (
    <footer>
      <p class="why">{whyAnswered(who, facts.value!)}</p>
      {scored.length > 0 && (
        <ul class="scales">
          {scored.map((signal) => (
            <Scale key={signal.name} signal={signal} score={who.signals[signal.name]!} />
          ))}
        </ul>
      )}
      {pace !== null && (
        <p class="pace">
          <span>
            <b>{pace.firstMs < 995 ? `${Math.round(pace.firstMs)} ms` : `${(pace.firstMs / 1000).toFixed(2)} s`}</b> to
            first token
          </span>
          {pace.tokensPerSecond !== null && (
            <span>
              <b>{shown(pace.tokensPerSecond)}</b> tokens/s
            </span>
          )}
          <span>
            <b>{pace.tokens}</b> {pace.tokens === 1 ? 'token' : 'tokens'}
            {end !== undefined && `, ${end}`}
          </span>
        </p>
      )}
    </footer>
  );
}

function relation(score: number, threshold: number): string {
  return score < threshold ? '<' : score > threshold ? '>' : '=';
}

/** The score as a dot, the threshold as a tick; the side on which the server answers is shaded. */
function Scale({ signal, score }: { signal: SignalFact; score: number }) {
  const { name, title, unit, threshold, to_server: side } = signal;
  const place = scalePlace(signal, score);
  const limit = threshold === null ? 'no threshold' : `${relation(score, threshold)} ${shown(threshold)}`;
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  return (
    <li
      class="scale"
      data-crossed={place.isCrossed}
      title={`${title}, ${unit}: the server answers ${side} the threshold`}
    >
      <span class="name">{name}</span>
      <span class="track" aria-hidden="true">
        {place.threshold !== null && (
          <>
            <i
              class="zone"
              style={{
                left: side === 'below' ? '0%' : percent(place.threshold),
                width: percent(side === 'below' ? place.threshold : 1 - place.threshold),
              }}
            />
            <i class="cut" style={{ left: percent(place.threshold) }} />
          </>
        )}
        <i class="dot" style={{ left: percent(place.score) }} />
      </span>
      <span class="score">
        <b>{shown(score)}</b> {limit}
      </span>
    </li>
  );
}
