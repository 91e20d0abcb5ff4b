import { describe, expect, it } from 'vitest';
import { SIGNALS } from '../../../../src/routing/signals/index.js';
import { MODES } from '../../../../src/routing/types.js';
import {
  clusterLabel,
  MODE_WORDS,
  scalePlace,
  segmentsOf,
  shown,
  whyAnswered,
} from '../../../../src/serve/playground/page/words.js';
import type { CrayonFacts, SignalFact, WhoAnswered } from '../../../../src/serve/playground/wire.js';

const signal = (name: string, fields: Partial<SignalFact> = {}): SignalFact => ({
  ...{ name, title: name, unit: '', doubt: `${name} is in doubt`, to_server: 'below', threshold: null, ...fields },
});
const facts = (fields: Partial<CrayonFacts>): CrayonFacts => ({
  ...{ object: 'crayon', version: '0', base: 'edge', is_gated: false, server: 'big', mode: 'prefer_on_device' },
  ...{ mode_per_request: true, signals: [signal('scope', { threshold: 5 })], held_tokens: 16, pool: null, ...fields },
});
const answered = (fields: Partial<WhoAnswered>): WhoAnswered => ({
  ...{ source: 'on_device', reason: 'accepted', score: null, threshold: null, signals: {}, ...fields },
});

describe('why', () => {
  it('has a sentence for every reason that there is', () => {
    const reasons = [
      'mode',
      'context',
      'load',
      'memory',
      'accepted',
      'server-failed',
      'budget',
      'circuit-open',
      'device-failed',
    ];
    const signals = SIGNALS.map(({ name, doubt }) => signal(name, { doubt }));
    for (const reason of [...reasons, ...SIGNALS.map(({ name }) => name)]) {
      const sentence = whyAnswered(answered({ reason }), facts({ signals }));
      expect(sentence).toMatch(/^[A-Z].{15,}\.$/);
    }
    expect(Object.keys(MODE_WORDS).sort()).toEqual([...MODES].sort());
  });

  it('tells an acceptance by what could have spoken against it', () => {
    expect(whyAnswered(answered({}), facts({}))).toBe('No signal speaks for the server.');
    expect(whyAnswered(answered({}), facts({ signals: [signal('scope')] }))).toContain('No signal has a threshold');
    expect(whyAnswered(answered({}), facts({ server: null }))).toBe('There is no server to ask.');
  });

  it('names the source that was wanted, and how it failed', () => {
    const failed = answered({ reason: 'server-failed', fallback_from: 'in_cloud', failure: 'server-timeout' });
    expect(whyAnswered(failed, facts({}))).toBe(
      'The server was wanted and failed. Wanted: the server (server-timeout).',
    );
  });
});

describe('a scale', () => {
  it('has the score and the threshold on it, and says who answers there', () => {
    const scope = signal('scope', { threshold: 20 });
    expect(scalePlace(scope, 10)).toEqual({ score: 0.1, threshold: 0.2, isCrossed: true });
    expect(scalePlace(scope, 20)).toMatchObject({ isCrossed: false });
    expect(scalePlace(signal('scope'), 10)).toEqual({ score: 0.1, threshold: null, isCrossed: false });
  });

  it.each([
    ['mean-logprob of 16 tokens', 'below', -0.5, -2, true],
    ['negative-entropy of 16 tokens', 'below', -0.5, -0.1, false],
    ['min-probability of 16 tokens', 'below', 0.5, 0.4, true],
    ['nats a prompt token', 'above', 3, 4, true],
    ['nats a prompt token', 'above', 3, 2, false],
  ] as const)('of %s, %s %f, holds a score of %f', (unit, to_server, threshold, score, isCrossed) => {
    const place = scalePlace(signal('another', { unit, to_server, threshold }), score);
    expect(place.isCrossed).toBe(isCrossed);
    for (const at of [place.score, place.threshold!]) {
      expect(at).toBeGreaterThan(0);
      expect(at).toBeLessThan(1);
    }
    expect(place.score < place.threshold!).toBe(score < threshold);
  });
});

describe('texts', () => {
  it('are cut into paragraphs and code, while a fence is open too', () => {
    expect(segmentsOf('see:\n```ts\nlet x;\n\nx = 1\n```\ndone')).toEqual([
      { isCode: false, text: 'see:' },
      { isCode: true, text: 'let x;\n\nx = 1' },
      { isCode: false, text: 'done' },
    ]);
    expect(segmentsOf('one\ntwo\n\nthree\n')).toEqual([
      { isCode: false, text: 'one\ntwo' },
      { isCode: false, text: 'three' },
    ]);
    expect(segmentsOf('```\n  x')).toEqual([{ isCode: true, text: '  x' }]);
    expect(segmentsOf('it is ```')).toEqual([{ isCode: false, text: 'it is ```' }]);
    expect(segmentsOf('')).toEqual([]);
  });

  it('name a cluster by its tasks', () => {
    expect(clusterLabel({ bank: 10 }, 10)).toBe('bank');
    expect(clusterLabel({ a: 5, b: 3, c: 1, d: 1 }, 10)).toBe('a 50 %, b 30 %, c 10 %, 1 more');
    expect(clusterLabel({}, 0)).toBe('no tasks known');
  });

  it('show numbers with a minus sign and three digits', () => {
    expect([-0.12345, 1234.5, 0, 42.123].map(shown)).toEqual(['−0.123', '1235', '0', '42.1']);
  });
});
