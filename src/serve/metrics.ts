/** Prometheus metrics. Labels hold names from fixed lists only: no text of a request ever becomes one. */

import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ServerEvent, ServerState } from '../engine/server/options.js';
import type { DeviceEngine } from '../engine/types.js';
import type { Decision, Mode, Source } from '../routing/types.js';

export type Metrics = ReturnType<typeof createMetrics>;

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const CIRCUIT_STATES = ['closed', 'half-open', 'open'];

/** A registry of its own, and what makes a metric in it. */
export function createMeters() {
  const registry = new Registry();
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: string[]) =>
    new Counter({ name: `crayon_${name}`, help, labelNames, registers });
  /** A gauge that looks when it is scraped: at one number, or at one for each value of a label. */
  const gauge = (name: string, help: string, now: () => number | Record<string, number>, label?: string) =>
    new Gauge({
      name: `crayon_${name}`,
      help,
      labelNames: label === undefined ? [] : [label],
      registers,
      collect() {
        const found = now();
        if (typeof found === 'number') this.set(found);
        else for (const [value, count] of Object.entries(found)) this.set({ [label!]: value }, count);
      },
    });
  const histogram = (name: string, help: string, labelNames: string[]) =>
    new Histogram({ name: `crayon_${name}`, help, labelNames, buckets: SECONDS, registers });
  return { registry, counter, gauge, histogram };
}

/** Of every server: requests by route, and those whose client has gone. */
export function requestMetrics({ counter, histogram }: ReturnType<typeof createMeters>) {
  const requests = counter('requests_total', 'Requests answered, by route and status', ['route', 'status']);
  const duration = histogram('request_seconds', 'From a request to the end of its answer', ['route']);
  const aborted = counter('aborted_total', 'Requests whose client went away', []);
  return {
    request: (route: string, status: number, seconds: number): void => {
      requests.inc({ route, status: String(status) });
      duration.observe({ route }, seconds);
    },
    aborted: (): void => aborted.inc(),
  };
}

export function createMetrics() {
  const meters = createMeters();
  const { registry, counter, gauge, histogram } = meters;
  const ofRequests = requestMetrics(meters);
  const routes = counter('routes_total', 'Queries by mode, who answered and why', ['mode', 'source', 'reason']);
  const fallbacks = counter('fallbacks_total', 'Queries whose wanted source failed', ['from', 'code']);
  const ttft = histogram('time_to_first_token_seconds', 'From a request to its first token', ['source']);
  const tokens = counter('tokens_total', 'Tokens read and written, by who answered', ['source', 'kind']);
  const retries = counter('upstream_retries_total', 'Attempts at the server LLM repeated, by what failed', ['code']);
  const errors = counter('upstream_errors_total', 'Failed calls of the server LLM', ['code']);
  const finishes = counter('upstream_finishes_total', 'Answers of the server LLM, by why they ended', ['reason']);
  const adapted = counter(
    'upstream_adapted_parameters_total',
    'Parameters that the server LLM refused, and that are left out or go by another name since',
    ['parameter', 'change'],
  );
  const money = counter('upstream_money_total', 'Spent at the server LLM, in the currency of its prices', []);

  return {
    contentType: registry.contentType,
    text: (): Promise<string> => registry.metrics(),
    ...ofRequests,
    route: (mode: Mode, { source, reason, fallbackFrom, failure }: Decision): void => {
      routes.inc({ mode, source, reason });
      if (fallbackFrom !== null) fallbacks.inc({ from: fallbackFrom, code: failure?.code ?? 'internal' });
    },
    firstToken: (source: Source, seconds: number): void => ttft.observe({ source }, seconds),
    tokens: (source: Source, prompt: number, completion: number): void => {
      tokens.inc({ source, kind: 'prompt' }, prompt);
      tokens.inc({ source, kind: 'completion' }, completion);
    },
    upstream: (event: ServerEvent): void => {
      if (event.type === 'retry') retries.inc({ code: event.code });
      if (event.type === 'error') errors.inc({ code: event.code });
      if (event.type === 'finish') finishes.inc({ reason: event.finish });
      if (event.type === 'adapted') {
        const { parameter, to } = event;
        adapted.inc({ parameter, change: to === null ? 'left-out' : `sent-as-${to}` });
      }
      if (event.type === 'usage') money.inc(event.money);
    },
    /** From now on each scrape looks at these. */
    watch: (device: DeviceEngine, server: (() => ServerState) | null, customizations: () => number): void => {
      gauge('up', '1 once the model is loaded', () => 1);
      gauge('customizations', 'Customisations kept', customizations);
      gauge('edge_running', 'Requests the device works on', () => device.load().running);
      gauge('edge_waiting', 'Requests that wait for the device', () => device.load().waiting);
      gauge('edge_capacity', 'Requests the device can work on at a time', () => device.load().capacity);
      gauge('edge_queue', 'Requests that may wait for the device', () => device.load().queue);
      if (server === null) return;
      const circuit = () => {
        const { circuit: present } = server();
        return Object.fromEntries(CIRCUIT_STATES.map((name) => [name, name === present ? 1 : 0]));
      };
      const budgetUsed = () => {
        const { inputTokens, outputTokens, money } = server().budget;
        return { tokens: inputTokens + outputTokens, money };
      };
      gauge('upstream_circuit', 'State of the server LLM’s circuit: 1 for the present one', circuit, 'state');
      gauge('upstream_running', 'Requests the server LLM works on', () => server().running);
      gauge('upstream_waiting', 'Requests that wait for the server LLM', () => server().waiting);
      gauge('upstream_budget_used', 'Used today (UTC)', budgetUsed, 'unit');
    },
  };
}
