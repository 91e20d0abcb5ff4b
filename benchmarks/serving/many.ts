/**
 * Many users of one device: what `crayon serve-edge` makes of questions that come while others are answered, of a blend for each user,
 * and of a gate for each prompt; beside llama.cpp's own server and bare node-llama-cpp where they can do the same.
 *
 *     npx tsx benchmarks/serving/many.ts --smollm2 <gguf> [--rows third,stream,peer,blends,gate,memory] [--python <with xllamacpp>]
 *         [--adapter <gguf lora>] [--gate-top-k 2] [--rounds 5] [--threads 2] [--crayon-threads auto]
 *         [--cache .crayon/bench-serving]
 *
 * | row | work |
 * |---|---|
 * | third | SmolLM2: an 8-token question alone, and while two streams of 400 tokens run |
 * | stream | SmolLM2: one prompt of 400 tokens and 100 of answer, beside bare node-llama-cpp |
 * | peer | SmolLM2 with an adapter: 1, 4, 8 clients, prompts and answers of unequal lengths, Poisson starts |
 * | blends | Qwen2.5-0.5B's shapes, N = 16: 8 users of two adapters each beside 8 requests to one of them |
 * | gate | the same with `gate: per-query` beside no pool, and with `gate_top_k` where it is given: TTFT of new prompts, resident memory |
 * | memory | Qwen3-0.6B's shapes, N = 8, per query, `memory_mib: 2560`: resident memory over 20 prompts |
 *
 * Contestants take turns within a row. Two threads, crayon's as it measures them when it starts (`--crayon-threads`), four sequences of 4,096
 * tokens unless a row says so. Prints a table for each row,
 * the machine, and one JSON document as the last line.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { percentile } from '../../src/bench/latency.js';
import { createRandom } from '../../src/core/random.js';
import { openBase } from '../../src/gguf/base.js';
import { machine, machineLine } from '../machine.js';
import { type SHAPES, shapedBase } from '../memory-bases.js';
import { type Answer, ask } from './client.js';
import { type RunningServer, startCrayon, startLlamaServer } from './servers.js';
import { shapedPool } from './shaped-pool.js';

const { values: options } = parseArgs({
  options: {
    smollm2: { type: 'string' },
    adapter: { type: 'string' },
    python: { type: 'string' },
    'gate-top-k': { type: 'string' },
    rows: { type: 'string', default: 'third,stream,peer,blends,gate,memory' },
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    'crayon-threads': { type: 'string', default: 'auto' },
    cache: { type: 'string', default: '.crayon/bench-serving' },
  },
});
const ROUNDS = Number(options.rounds);
const THREADS = Number(options.threads);
const CRAYON_THREADS = options['crayon-threads'] === 'auto' ? 'auto' : Number(options['crayon-threads']);
const CACHE = resolve(options.cache);
const EDGE = fileURLToPath(new URL('../../models/crayon-edge', import.meta.url));
const CONTEXT = 4096;

const random = createRandom(0, 'bench-many');
const median = (values: number[]) => percentile(values, 50);
const WORDS = 'river stone market winter letter garden doctor yellow machine music border silent corner engine'.split(
  ' ',
);
/** So many words, no two alike in a run: nobody's cache has the prompt. */
const words = (count: number) =>
  Array.from({ length: count }, () => WORDS[Math.floor(random.uniform() * WORDS.length)]).join(' ');
const story = () => `Write a very long story, with many chapters, about ${words(6)}.`;
const question = () => `What is ${words(4)}?`;

type Figures = Record<string, number | string>;
const found: Record<string, Figures[]> = {};
function tell(row: string, figures: Figures): void {
  found[row] ??= [];
  found[row].push(figures);
  const shown = Object.entries(figures).map(([name, value]) => {
    return `${name} ${typeof value === 'number' ? Number(value.toPrecision(4)) : value}`;
  });
  console.log(`${row}: ${shown.join('; ')}`);
}

/** The servers by name, each stopped at the end. */
async function withServers(
  starting: Record<string, Promise<RunningServer>>,
  work: (servers: Record<string, RunningServer>) => Promise<void>,
): Promise<void> {
  const servers: Record<string, RunningServer> = {};
  try {
    for (const [name, server] of Object.entries(starting)) servers[name] = await server;
    await work(servers);
  } finally {
    for (const server of Object.values(servers)) await server.stop();
  }
}

const edge = (model: string, more: { engine?: object; [key: string]: unknown } = {}) =>
  startCrayon({
    model,
    name: 'bench',
    cache_dir: join(CACHE, 'gguf'),
    ...more,
    engine: { threads: CRAYON_THREADS, sequences: 4, context: CONTEXT, gpu: false, ...more.engine },
  });

function smollm2(): string {
  if (options.smollm2 === undefined) throw new Error('give --smollm2, a GGUF of SmolLM2-135M-Instruct');
  return resolve(options.smollm2);
}

function peers(sequences: number): Record<string, Promise<RunningServer>> {
  const { python, adapter } = options;
  if (python === undefined) return {};
  const adapters = adapter === undefined ? [] : [resolve(adapter)];
  const how = { sequences, context: CONTEXT, threads: THREADS };
  return { 'llama.cpp': startLlamaServer({ python, model: smollm2(), adapters, ...how }) };
}

const ROWS: Record<string, () => Promise<void>> = {
  async third() {
    await withServers({ crayon: edge(smollm2()), ...peers(4) }, async (servers) => {
      for (const [who, { base }] of Object.entries(servers)) {
        const asked = () => ask({ base, model: 'bench', content: question(), maxTokens: 8 });
        const [alone, beside]: [Answer[], Answer[]] = [[], []];
        await asked();
        for (let i = 0; i < ROUNDS; i++) {
          alone.push(await asked());
          const streams = [1, 2].map(() => ask({ base, model: 'bench', content: story(), maxTokens: 400 }));
          await sleep(1500);
          let areRunning = true;
          const ended = Promise.all(streams).then((answers) => {
            areRunning = false;
            return answers;
          });
          const answer = await asked();
          if (areRunning) beside.push(answer);
          await ended;
        }
        const ttft = (answers: Answer[]) => median(answers.map((one) => one.ttftMs));
        const counted = { alone: alone.length, beside: beside.length };
        const times = { 'TTFT alone, ms': ttft(alone), 'beside two streams': ttft(beside) };
        tell('third', {
          who,
          ...times,
          ratio: ttft(beside) / ttft(alone),
          rounds: `${counted.alone} ${counted.beside}`,
        });
      }
    });
  },

  async stream() {
    const model = smollm2();
    const base = openBase(model);
    const tokenizer = base.tokenizer();
    const [PROMPT, ANSWER] = [400, 100];
    const ids = () => Array.from(tokenizer.encode(words(2 * PROMPT), { addBos: false })).slice(0, PROMPT);
    const { child, line } = await startBare([model, `${THREADS}`, `${CONTEXT}`]);
    try {
      await withServers({ crayon: edge(model) }, async ({ crayon }) => {
        const ratios: Record<'prompt' | 'answer', number[]> = { prompt: [], answer: [] };
        for (let i = 0; i <= ROUNDS; i++) {
          const prompt = ids();
          const bare = await line({ ids: prompt, answerTokens: ANSWER });
          const content = tokenizer.decode(prompt);
          const answer = await ask({ base: crayon!.base, model: 'bench', content, maxTokens: ANSWER });
          if (i === 0) continue; // warm
          const perToken = (answer.endMs - answer.ttftMs) / (answer.tokens - 1);
          ratios.prompt.push(bare.promptMs / PROMPT / (answer.ttftMs / answer.promptTokens));
          ratios.answer.push(bare.answerMs / (bare.tokens - 1) / perToken);
        }
        tell('stream', {
          'prompt tokens/s, crayon / node-llama-cpp': median(ratios.prompt),
          'answer tokens/s': median(ratios.answer),
          rounds: ROUNDS,
        });
      });
    } finally {
      child.kill();
      base.close();
    }
  },

  async peer() {
    const { adapter } = options;
    const crayon = edge(smollm2(), {
      ...(adapter && { adapter: resolve(adapter) }),
      any_base: true,
      engine: { sequences: 8 },
    });
    await withServers({ crayon, ...peers(8) }, async (servers) => {
      for (const clients of [1, 4, 8]) {
        const speeds: Record<string, Load[]> = {};
        for (let i = 0; i <= ROUNDS; i++) {
          for (const [who, { base }] of Object.entries(servers)) {
            const load = await unequal(base, clients, i);
            speeds[who] ??= [];
            if (i > 0) speeds[who].push(load);
          }
        }
        const of = (who: string, key: keyof Load) => median(speeds[who]!.map((one) => one[key]));
        for (const who of Object.keys(speeds)) {
          const ratio = median(speeds[who]!.map((one, i) => one.tokensPerSecond / speeds.crayon![i]!.tokensPerSecond));
          tell('peer', {
            ...{ who, clients, 'tokens/s': of(who, 'tokensPerSecond'), "of crayon's": ratio },
            ...{
              'TTFT p50': of(who, 'ttft50'),
              p99: of(who, 'ttft99'),
              'ITL p50': of(who, 'itl50'),
              'ITL p99': of(who, 'itl99'),
            },
          });
        }
      }
    });
  },

  async blends() {
    const USERS = 8;
    const { model, pool, N } = shaped('qwen2.5-0.5b', 16);
    await withServers({ crayon: edge(model, { pool, engine: { sequences: USERS } }) }, async ({ crayon }) => {
      const { base } = crayon!;
      const users: string[] = [];
      const times: number[] = [];
      for (let i = 0; i < USERS; i++) {
        const started = performance.now();
        users.push(
          await customise(
            base,
            Array.from({ length: N }, (_, n) => (n === i ? 0.7 : n === i + USERS ? 0.3 : 0)),
          ),
        );
        times.push(performance.now() - started);
      }
      const rounds: Record<'one' | 'many', Load[]> = { one: [], many: [] };
      const together = (models: string[]) =>
        loadOf(models.map((model) => ask({ base, model, content: question(), maxTokens: 48 })));
      for (let i = 0; i <= Math.min(ROUNDS, 3); i++) {
        const one = await together(users.map(() => users[0]!));
        const many = await together(users);
        if (i === 0) continue;
        rounds.one.push(one);
        rounds.many.push(many);
      }
      const speed = (who: 'one' | 'many') => median(rounds[who].map((one) => one.tokensPerSecond));
      tell('blends', {
        'tokens/s, 8 of one blend': speed('one'),
        'of 8 blends': speed('many'),
        ratio: speed('many') / speed('one'),
        'worst TTFT of 8 blends, s': Math.max(...rounds.many.map((one) => one.ttftMost)) / 1000,
        'a customisation, s': median(times) / 1000,
        'resident MiB': crayon!.residentMib(),
      });
    });
  },

  async gate() {
    const { model, pool } = shaped('qwen2.5-0.5b', 16);
    const topK = options['gate-top-k'];
    const gate = (more = {}) => edge(model, { pool, gate: 'per-query', ...more });
    const starting = {
      ...{ plain: edge(model), gate: gate(), 'one by one': gate({ engine: { stack_adapters: false } }) },
      ...(topK !== undefined && { few: gate({ gate_top_k: Number(topK) }) }),
    };
    await withServers(starting, async (servers) => {
      const ttft: Record<string, number[]> = { plain: [], gate: [], 'one by one': [], few: [] };
      const perToken: Record<string, number[]> = { plain: [], gate: [], 'one by one': [], few: [] };
      const curve: number[] = [];
      for (let i = 0; i < 20 + 1; i++) {
        const content = words(40);
        for (const [who, { base }] of Object.entries(servers)) {
          const answer = await ask({ base, model: 'bench', content, maxTokens: 8 });
          if (i === 0) continue;
          ttft[who]!.push(answer.ttftMs);
          perToken[who]!.push((answer.endMs - answer.ttftMs) / (answer.tokens - 1));
        }
        curve.push(servers.gate!.residentMib() - servers.plain!.residentMib());
      }
      tell('gate', {
        'TTFT without pool, ms': median(ttft.plain!),
        'per query': median(ttft.gate!),
        ratio: median(ttft.gate!) / median(ttft.plain!),
        'ratio of adapters one by one': median(ttft['one by one']!) / median(ttft.plain!),
        'a token, by that without pool': median(perToken.gate!) / median(perToken.plain!),
        'one by one': median(perToken['one by one']!) / median(perToken.plain!),
        ...(topK !== undefined && { [`ratio of top ${topK}`]: median(ttft.few!) / median(ttft.plain!) }),
        'MiB over the plain model after 1, 10, 20 prompts': [1, 10, 20].map((i) => curve[i]!.toFixed(0)).join(' '),
      });
    });
  },

  async memory() {
    const { model, pool } = shaped('qwen3-0.6b', 8);
    const budget = { memory_mib: 2560, engine: { context: null } };
    await withServers({ crayon: edge(model, { pool, gate: 'per-query', ...budget }) }, async ({ crayon }) => {
      const curve = [crayon!.residentMib()];
      for (let i = 0; i < 20; i++) {
        await ask({ base: crayon!.base, model: 'bench', content: words(40), maxTokens: 8 });
        curve.push(crayon!.residentMib());
      }
      tell('memory', {
        'resident MiB at start, after 3, 10, 20 prompts': [0, 3, 10, 20].map((i) => curve[i]!.toFixed(0)).join(' '),
      });
    });
  },
};

/** The base as a GGUF is exported by the server itself, from the directory. */
function shaped(name: keyof typeof SHAPES, N: number) {
  const model = shapedBase(name, CACHE, EDGE);
  return { model, N, pool: shapedPool(model, N, CACHE, name) };
}

/** @returns what the customised model is called */
async function customise(base: string, coefficients: number[]): Promise<string> {
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ coefficients });
  const response = await fetch(`${base}/v1/customizations`, { method: 'POST', headers, body });
  const made = (await response.json()) as { model: string };
  if (!response.ok) throw new Error(JSON.stringify(made));
  return made.model;
}

interface Load {
  tokensPerSecond: number;
  ttft50: number;
  ttft99: number;
  ttftMost: number;
  itl50: number;
  itl99: number;
}

async function loadOf(asking: Array<Promise<Answer>>): Promise<Load> {
  const started = performance.now();
  const answers = await Promise.all(asking);
  const seconds = (performance.now() - started) / 1000;
  const ttft = answers.map((one) => one.ttftMs).filter(Number.isFinite);
  const itl = answers.flatMap((one) => one.itlMs);
  return {
    tokensPerSecond: answers.reduce((sum, one) => sum + one.tokens, 0) / seconds,
    ...{ ttft50: median(ttft), ttft99: percentile(ttft, 99), ttftMost: Math.max(...ttft) },
    ...{ itl50: median(itl), itl99: percentile(itl, 99) },
  };
}

/** Each client asks four questions one after the other, begins at a moment of its own, and gets answers of 16 to 160 tokens. */
function unequal(base: string, clients: number, round: number): Promise<Load> {
  const draw = createRandom(round, 'bench-unequal');
  const plans = Array.from({ length: clients }, () => ({
    startMs: -Math.log(1 - draw.uniform()) * 300,
    questions: Array.from({ length: 4 }, () => ({
      content: `${draw.uniform() < 0.25 ? words(200) : words(15)}. Write a long story about it, with many chapters.`,
      maxTokens: [16, 48, 96, 160][Math.floor(4 * draw.uniform())]!,
    })),
  }));
  const asked = plans.flatMap(({ startMs, questions }) => {
    let before: Promise<unknown> = sleep(startMs);
    return questions.map((one) => {
      const answer = before.then(() => ask({ base, model: 'bench', ...one }));
      before = answer;
      return answer;
    });
  });
  return loadOf(asked);
}

async function startBare(args: string[]) {
  const script = fileURLToPath(new URL('bare.ts', import.meta.url));
  const child: ChildProcess = spawn(process.execPath, ['--import', 'tsx', script, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  await lines.next();
  const line = async (work: object) => {
    child.stdin!.write(`${JSON.stringify(work)}\n`);
    return JSON.parse((await lines.next()).value) as { promptMs: number; answerMs: number; tokens: number };
  };
  return { child, line };
}

for (const row of options.rows.split(',')) {
  if (ROWS[row] === undefined) throw new Error(`no row ${row}, expected ${Object.keys(ROWS).join(', ')}`);
  await ROWS[row]();
}
console.log(machineLine(machine()));
console.log(JSON.stringify({ machine: machine(), rows: found }));
process.exit(0);
