/** Prometheus metrics. Labels hold names from fixed lists only: no text of a request ever becomes one. */

import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ServerEvent, ServerState } from '../engine/server/options.js';
import type { EdgeEngine } from '../engine/types.js';
import type { Decision, Mode, Source } from '../routing/types.js';

export type Metrics = ReturnType<typeof createMetrics>;

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const CIRCUIT_STATES = ['closed', 'half-open', 'open'];

export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: string[]) =>
    new Counter({ name: `crayon_${name}`, help, labelNames, registers });
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `crayon_${name}`, help, labelNames, registers });
  const histogram = (name: string, help: string, labelNames: string[]) =>
    new Histogram({ name: `crayon_${name}`, help, labelNames, buckets: SECONDS, registers });

  const requests = counter('requests_total', 'Requests answered, by route and status', ['route', 'status']);
  const duration = histogram('request_seconds', 'From a request to the end of its answer', ['route']);
  const routes = counter('routes_total', 'Queries by mode, who answered and why', ['mode', 'source', 'reason']);
  const fallbacks = counter('fallbacks_total', 'Queries whose wanted source failed', ['from', 'code']);
  const ttft = histogram('time_to_first_token_seconds', 'From a request to its first token', ['source']);
  const tokens = counter('tokens_total', 'Tokens read and written, by who answered', ['source', 'kind']);
  const aborted = counter('aborted_total', 'Requests whose client went away', []);
  const retries = counter('upstream_retries_total', 'Attempts at the server LLM repeated, by what failed', ['code']);
  const errors = counter('upstream_errors_total', 'Failed calls of the server LLM', ['code']);
  const money = counter('upstream_money_total', 'Spent at the server LLM, in the currency of its prices', []);

  let update = (): void => {}; // sets the gauges, once there is something to look at

  return {
    contentType: registry.contentType,
    text: (): Promise<string> => {
      update();
      return registry.metrics();
    },
    request: (route: string, status: number, seconds: number): void => {
      requests.inc({ route, status: String(status) });
      duration.observe({ route }, seconds);
    },
    route: (mode: Mode, { source, reason, fallbackFrom, failure }: Decision): void => {
      routes.inc({ mode, source, reason });
      if (fallbackFrom !== null) fallbacks.inc({ from: fallbackFrom, code: failure?.code ?? 'internal' });
    },
    firstToken: (source: Source, seconds: number): void => ttft.observe({ source }, seconds),
    tokens: (source: Source, prompt: number, completion: number): void => {
      tokens.inc({ source, kind: 'prompt' }, prompt);
      tokens.inc({ source, kind: 'completion' }, completion);
    },
    aborted: (): void => aborted.inc(),
    upstream: (event: ServerEvent): void => {
      if (event.type === 'retry') retries.inc({ code: event.code });
      if (event.type === 'error') errors.inc({ code: event.code });
      if (event.type === 'usage') money.inc(event.money);
    },
    /** From now on each scrape looks at these. */
    watch: (edge: EdgeEngine, server: (() => ServerState) | null, customizations: () => number): void => {
      const up = gauge('up', '1 once the model is loaded');
      const kept = gauge('customizations', 'Customisations kept');
      const load = {
        running: gauge('edge_running', 'Requests the device works on'),
        waiting: gauge('edge_waiting', 'Requests that wait for the device'),
        capacity: gauge('edge_capacity', 'Requests the device can work on at a time'),
        queue: gauge('edge_queue', 'Requests that may wait for the device'),
      };
      const upstream = server === null ? null : upstreamGauges(gauge);
      update = () => {
        up.set(1);
        kept.set(customizations());
        const now = edge.load();
        for (const name of Object.keys(load) as Array<keyof typeof load>) load[name].set(now[name]);
        if (server !== null) upstream?.(server());
      };
    },
  };
}

function upstreamGauges(gauge: (name: string, help: string, labelNames?: string[]) => Gauge) {
  const circuit = gauge('upstream_circuit', 'State of the server LLM’s circuit: 1 for the present one', ['state']);
  const running = gauge('upstream_running', 'Requests the server LLM works on');
  const waiting = gauge('upstream_waiting', 'Requests that wait for the server LLM');
  const budget = gauge('upstream_budget_used', 'Used today (UTC)', ['unit']);
  return (state: ServerState): void => {
    for (const name of CIRCUIT_STATES) circuit.set({ state: name }, state.circuit === name ? 1 : 0);
    running.set(state.running);
    waiting.set(state.waiting);
    budget.set({ unit: 'tokens' }, state.budget.inputTokens + state.budget.outputTokens);
    budget.set({ unit: 'money' }, state.budget.money);
  };
}
