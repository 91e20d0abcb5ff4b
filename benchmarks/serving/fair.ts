/**
 * Is everybody answered, in time, and by their own adapter? Two dozen clients of one device ask for several users, with long prompts
 * among the short ones and some who hang up.
 *
 *     npx tsx benchmarks/serving/fair.ts [--answers 5000] [--clients 24] [--sequences 4] [--threads 2]
 *
 * Each adapter of the embedded pool is a user, whose greedy answers to each prompt are asked for alone first. Under load an answer must
 * be that text. What else it can be is counted apart: `mixed`, the text that another user's adapter gives; `other`, which a batch that
 * rounds otherwise explains where it is rare; `lost`, no answer. Prints the counts, TTFT and the time of a whole answer by percentiles,
 * beside those of one client, the machine, and one JSON document as the last line. Ends with 1 where an answer is mixed or lost.
 */

import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { percentile } from '../../src/bench/latency.js';
import { createRandom } from '../../src/core/random.js';
import { machine, machineLine } from '../machine.js';
import { type Answer, ask } from './client.js';
import { startCrayon } from './servers.js';

const { values: options } = parseArgs({
  options: {
    answers: { type: 'string', default: '5000' },
    clients: { type: 'string', default: '24' },
    sequences: { type: 'string', default: '4' },
    threads: { type: 'string', default: `${availableParallelism()}` },
  },
});
const ANSWERS = Number(options.answers);
const CLIENTS = Number(options.clients);
const MAX_TOKENS = 12;
/** Of the requests. */
const HANG_UP = 0.1;
const ADAPTERS = 6;
const PROMPTS = 20;
const LONG = 5;

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const tasks = ['route-bank', 'route-farm', 'intent', 'route-clinic', 'swap-words'];
const read = (task: string): string[] =>
  readFileSync(path(`suite/${task}/heldout.jsonl`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { prompt: string }).prompt);
const known = tasks.flatMap((task) => read(task).slice(0, PROMPTS / tasks.length));
// Several questions in one: some three hundred tokens, read in blocks between the others' tokens.
const prompts = known.map((prompt, i) =>
  i % (PROMPTS / LONG) === 0 ? `${known.join(' ').slice(0, 900)} ${prompt}` : prompt,
);

const random = createRandom(0, 'bench-fair');
const server = await startCrayon({
  model: path('models/crayon-edge'),
  pool: path('models/crayon-edge-pool'),
  name: 'fair',
  engine: { threads: Number(options.threads), sequences: Number(options.sequences), gpu: false },
});
const { base } = server;

const users: string[] = [];
for (let n = 0; n < ADAPTERS; n++) {
  const coefficients = Array.from({ length: ADAPTERS }, (_, k) => Number(k === n));
  const response = await fetch(`${base}/v1/customizations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ coefficients, combine: 'cat' }),
  });
  const made = (await response.json()) as { model: string };
  if (!response.ok) throw new Error(JSON.stringify(made));
  users.push(made.model);
}

const asked = (user: number, prompt: number, signal?: AbortSignal): Promise<Answer> =>
  ask({ base, model: users[user]!, content: prompts[prompt]!, maxTokens: MAX_TOKENS, ...(signal && { signal }) });

const alone: Answer[][] = [];
for (const user of users.keys()) {
  alone[user] = [];
  for (const prompt of prompts.keys()) alone[user].push(await asked(user, prompt));
}
const told = prompts.map((_, p) => new Set(users.map((_, u) => alone[u]![p]!.text)).size);

const count = { right: 0, mixed: 0, other: 0, lost: 0, hungUp: 0 };
const answers: Answer[] = [];
let begun = 0;
const client = async (): Promise<void> => {
  while (begun < ANSWERS) {
    begun++;
    const [user, prompt] = [random.int(ADAPTERS), random.int(PROMPTS)];
    const hangs = random.uniform() < HANG_UP;
    const gone = new AbortController();
    if (hangs) setTimeout(() => gone.abort(), 400 * random.uniform());
    try {
      const answer = await asked(user, prompt, gone.signal);
      answers.push(answer);
      if (answer.text === alone[user]![prompt]!.text) count.right++;
      else if (users.some((_, other) => alone[other]![prompt]!.text === answer.text)) count.mixed++;
      else count.other++;
    } catch (error) {
      if (gone.signal.aborted) count.hungUp++;
      else {
        count.lost++;
        console.error((error as Error).message);
      }
    }
  }
};
const started = performance.now();
await Promise.all(Array.from({ length: CLIENTS }, client));
const seconds = (performance.now() - started) / 1000;
// All have gone: nothing may run or wait any more.
const metrics = await (await fetch(`${base}/metrics`)).text();
const left = ['running', 'waiting'].map((name) =>
  Number(new RegExp(`^crayon_edge_${name} (\\d+)`, 'm').exec(metrics)?.[1]),
);
await server.stop();

const spread = (list: Answer[], of: (one: Answer) => number) =>
  [50, 90, 99, 100].map((p) => `${Math.round(percentile(list.map(of).filter(Number.isFinite), p))}`).join(' / ');
const figures = {
  ...{ clients: CLIENTS, sequences: Number(options.sequences), seconds: Math.round(seconds), ...count },
  'tokens/s': Math.round(answers.reduce((sum, one) => sum + one.tokens, 0) / seconds),
  'prompts whose answers tell all users apart': told.filter((n) => n === ADAPTERS).length,
  'TTFT alone, ms (50 / 90 / 99 / worst)': spread(alone.flat(), (one) => one.ttftMs),
  'TTFT under load': spread(answers, (one) => one.ttftMs),
  'whole answer under load': spread(answers, (one) => one.endMs),
  'running and waiting after it': left.join(' '),
};
for (const [name, value] of Object.entries(figures)) console.log(`${name}: ${value}`);
console.log(machineLine(machine()));
console.log(JSON.stringify({ machine: machine(), figures }));
process.exit(count.mixed + count.lost + left[0]! + left[1]! > 0 ? 1 : 0);
