/**
 * What HTTP and routing cost: tokens a second and time to first token of `crayon serve-edge` beside the same engine called in
 * its own process, and the router's own time for a request.
 *
 *     npx tsx benchmarks/serve.ts [--model models/crayon-edge] [--tokens 64] [--requests 32] [--rounds 5]
 *
 * For each number of parallel clients, rounds alternate between
 *
 * - `engine`: a process of its own that opens the engine and runs that many generations at a time, without HTTP;
 * - `http`: `crayon serve-edge` in a process of its own, and streaming clients in this one.
 *
 * Both have the same model, context, sequences and threads, and answer the same prompts greedily; the first request of each
 * round is a warm-up. The router's time is measured on an engine that answers at once: from the request to the first token,
 * with a scope score from the first-attention embedding of prompts of some 25 tokens, and without.
 *
 * Prints tables, the machine, and one JSON document as the last line.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { percentile } from '../src/bench/latency.js';
import { openLlamaCppEngine } from '../src/engine/llama/engine.js';
import { type DeviceEngine, type GenerateEvent, type GenerateRequest, Query } from '../src/engine/types.js';
import { openBase } from '../src/gguf/base.js';
import { cachedModelGguf, defaultCacheDir } from '../src/gguf/cache.js';
import { firstAttentionEmbedder } from '../src/pool/embed/kinds/first-attention.js';
import { Router } from '../src/routing/router.js';
import { buildScopeProfile, type ScopeFunction, scopeScore } from '../src/routing/signals/scope.js';
import type { RoutingConfig } from '../src/routing/types.js';
import { machine, machineLine } from './machine.js';
import { ask as askHttp } from './serving/client.js';
import { startCrayon } from './serving/servers.js';

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'models/crayon-edge' },
    tokens: { type: 'string', default: '64' },
    requests: { type: 'string', default: '32' },
    rounds: { type: 'string', default: '5' },
    clients: { type: 'string', default: '1,2,8' },
    threads: { type: 'string', default: '1' },
    // used by the benchmark itself
    worker: { type: 'boolean', default: false },
  },
});

const TOKENS = Number(options.tokens);
const REQUESTS = Number(options.requests);
const ROUNDS = Number(options.rounds);
const CLIENTS = options.clients.split(',').map(Number);
const SEQUENCES = Math.max(...CLIENTS);
const THREADS = Number(options.threads);
const OPENINGS = [
  'It was a cold morning, and',
  'The doctor went to the door',
  'In the garden behind the house',
  'She took the letter',
];

interface Round {
  tokensPerSecond: number;
  /** medians over the round's requests */
  ttftMs: number;
  tokens: number;
}

interface Answer {
  tokens: number;
  ttftMs: number;
}

const median = (values: number[]) => percentile(values, 50);
const prompt = (i: number) => `${OPENINGS[i % OPENINGS.length]!} number ${i}`;

/** `clients` loops that share `REQUESTS` requests. */
async function round(clients: number, ask: (text: string) => Promise<Answer>): Promise<Round> {
  await ask(prompt(REQUESTS));
  const answers: Answer[] = [];
  let next = 0;
  const started = performance.now();
  const client = async () => {
    while (next < REQUESTS) answers.push(await ask(prompt(next++)));
  };
  await Promise.all(Array.from({ length: clients }, client));
  const seconds = (performance.now() - started) / 1000;
  const tokens = answers.reduce((sum, answer) => sum + answer.tokens, 0);
  return { tokensPerSecond: tokens / seconds, ttftMs: median(answers.map((answer) => answer.ttftMs)), tokens };
}

const request = (text: string): GenerateRequest => ({
  query: new Query({ kind: 'chat', messages: [{ role: 'user', content: text }] }),
  maxTokens: TOKENS,
  temperature: 0,
  topP: 1,
  seed: null,
  stop: [],
  topLogprobs: null,
  signal: new AbortController().signal,
});

/** The engine without HTTP: a line with a number of clients in, a line with the round's figures out. */
async function worker(): Promise<void> {
  const gguf = cachedModelGguf(options.model, { cacheDir: defaultCacheDir(), type: 'F16' });
  const engine = await openLlamaCppEngine({ model: gguf, name: 'bench', threads: THREADS, sequences: SEQUENCES });
  const ask = async (text: string): Promise<Answer> => {
    const started = performance.now();
    let [ttftMs, tokens] = [Number.NaN, 0];
    for await (const event of engine.generate(request(text))) {
      if (event.type === 'token' && event.text !== '' && Number.isNaN(ttftMs)) ttftMs = performance.now() - started;
      if (event.type === 'end') tokens = event.usage.completionTokens;
    }
    return { tokens, ttftMs };
  };
  process.stdout.write('ready\n');
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await round(Number(line), ask))}\n`);
  }
  await engine.close();
}

/** An engine that answers at once: what remains is the router's own time. */
function instantEngine(tokenize: (text: string) => Int32Array): DeviceEngine {
  return {
    name: 'instant',
    contextTokens: 512,
    tokenize: ({ ...p }) => tokenize(p.kind === 'chat' ? p.messages[0]!.content : p.text),
    textTokens: tokenize,
    promptNll: async () => 1,
    scoreTokens: async () => ({ tokens: [], cachedTokens: 0 }),
    vocabulary: {
      ...{ bos: null, eos: null, start: [], chatTemplate: null, encode: tokenize },
      ...{ spell: () => [], nameOf: () => new Uint8Array(), decode: () => '' },
    },
    load: () => ({ running: 0, waiting: 0, capacity: 1, queue: 1 }),
    async *generate(): AsyncGenerator<GenerateEvent> {
      yield { type: 'start', promptTokens: 25, cachedTokens: 0 };
      yield { type: 'token', text: 'Red', logprob: -0.1 };
      yield {
        type: 'end',
        text: '',
        finishReason: 'stop',
        usage: { promptTokens: 25, completionTokens: 1, cachedTokens: 0 },
      };
    },
    close: async () => {},
  };
}

interface RouterTime {
  signals: string;
  p50Ms: number;
  p99Ms: number;
}

/** Time from the request to its first token, less that of the engine alone (which is nothing). */
async function routerTimes(): Promise<RouterTime[]> {
  const source = openBase(options.model);
  const embedder = firstAttentionEmbedder(source);
  const tokenizer = source.tokenizer();
  const tokens = (text: string) => Int32Array.from(tokenizer.encode(text, { addBos: false }));
  const texts = readdirSync('suite')
    .filter((name) => name.startsWith('route-') && !name.endsWith('.yaml'))
    .flatMap((name) =>
      readFileSync(join('suite', name, 'test.jsonl'), 'utf8')
        .trim()
        .split('\n'),
    )
    .map((line) => (JSON.parse(line) as { prompt: string }).prompt);
  const examples = embedder.embed(texts.slice(0, 10).map(tokens));
  const profile = buildScopeProfile(examples, 10, embedder.d);
  const embedding = { embed: (text: string) => ({ vector: embedder.embed([tokens(text)]) }) };
  const scope: ScopeFunction = (query) => scopeScore(profile, query.vector(embedding));
  const confidence = { measure: 'mean-logprob', tokens: 16 } as const;
  const base: RoutingConfig = {
    mode: 'prefer_on_device',
    confidence,
    load: true,
    thresholds: { scope: null, complexity: null, confidence: null },
  };
  const cases: Array<[string, RoutingConfig]> = [
    ['none', base],
    ['confidence', { ...base, thresholds: { ...base.thresholds, confidence: -5 } }],
    ['scope and confidence', { ...base, thresholds: { ...base.thresholds, scope: 0, confidence: -5 } }],
  ];
  const device = instantEngine(tokens);
  const times: RouterTime[] = [];
  for (const [signals, config] of cases) {
    const router = new Router({ device, server: device, config, scope });
    const spent: number[] = [];
    for (let i = 0; i < 6000; i++) {
      const started = performance.now();
      for await (const event of router.route(request(texts[i % texts.length]!))) if (event.type === 'token') break;
      if (i >= 1000) spent.push(performance.now() - started);
    }
    times.push({ signals, p50Ms: percentile(spent, 50), p99Ms: percentile(spent, 99) });
  }
  source.close();
  return times;
}

/** A process of this file's `worker`, and what it says by lines. */
function startWorker(args: readonly string[]) {
  const words = [...process.execArgv, fileURLToPath(import.meta.url), '--worker', ...args];
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next();
    if (done) throw new Error('the worker has ended');
    return value;
  };
  return { child, next };
}

async function main(): Promise<void> {
  const engine = { threads: THREADS, sequences: SEQUENCES, type: 'F16' };
  const server = await startCrayon({ model: resolve(options.model), name: 'bench', engine });
  const shared = Object.entries({ model: options.model, tokens: options.tokens, requests: options.requests })
    .concat(Object.entries({ clients: options.clients, threads: options.threads }))
    .flatMap(([name, value]) => [`--${name}`, value]);
  const worker = startWorker(shared);
  if ((await worker.next()) !== 'ready') throw new Error('the worker is not ready');
  const direct = async (clients: number): Promise<Round> => {
    worker.child.stdin.write(`${clients}\n`);
    return JSON.parse(await worker.next()) as Round;
  };

  const askServer = (content: string) => askHttp({ base: server.base, model: 'bench', content, maxTokens: TOKENS });

  const rows = [];
  for (const clients of CLIENTS) {
    const found: Record<'engine' | 'http', Round[]> = { engine: [], http: [] };
    for (let i = 0; i < ROUNDS; i++) {
      found.engine.push(await direct(clients));
      found.http.push(await round(clients, askServer));
    }
    if (found.engine[0]!.tokens !== found.http[0]!.tokens)
      throw new Error('the two did not generate the same number of tokens');
    const of = (who: 'engine' | 'http', key: 'tokensPerSecond' | 'ttftMs') => median(found[who].map((r) => r[key]));
    const ratios = found.http.map((r, i) => r.tokensPerSecond / found.engine[i]!.tokensPerSecond);
    const row = {
      clients,
      engineTokensPerSecond: of('engine', 'tokensPerSecond'),
      httpTokensPerSecond: of('http', 'tokensPerSecond'),
      share: median(ratios),
      engineTtftMs: of('engine', 'ttftMs'),
      httpTtftMs: of('http', 'ttftMs'),
    };
    rows.push(row);
    console.log(
      `${clients} clients: engine ${row.engineTokensPerSecond.toFixed(0)} tokens/s, HTTP ${row.httpTokensPerSecond.toFixed(0)}` +
        ` (${(100 * row.share).toFixed(1)} %, by round ${ratios.map((r) => (100 * r).toFixed(0)).join(' ')});` +
        ` TTFT ${row.engineTtftMs.toFixed(1)} and ${row.httpTtftMs.toFixed(1)} ms`,
    );
  }
  worker.child.kill();
  await server.stop();

  const router = await routerTimes();
  for (const { signals, p50Ms, p99Ms } of router) {
    console.log(`router, signals ${signals}: p50 ${(1000 * p50Ms).toFixed(0)} µs, p99 ${(1000 * p99Ms).toFixed(0)} µs`);
  }
  const on = machine();
  console.log(
    `${machineLine(on)}; ${options.model}, ${THREADS} thread, ${SEQUENCES} sequences, ${REQUESTS} requests of ${TOKENS} tokens`,
  );
  console.log(
    JSON.stringify({
      machine: on,
      model: options.model,
      requests: REQUESTS,
      tokens: TOKENS,
      rounds: ROUNDS,
      rows,
      router,
    }),
  );
  process.exit(0);
}

await (options.worker ? worker() : main());
