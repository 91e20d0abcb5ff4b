/**
 * What a grammar costs: answers held to a JSON Schema beside free ones of as many tokens, in turn, on one engine in this process.
 *
 *     npx tsx benchmarks/serving/grammar.ts MODEL.gguf [rounds]
 *
 * A row is tokens a second of both and the ratio of the rates, of the medians over the rounds: by the clock, and by this process's
 * processor time, which other work on the machine leaves alone; the most processor time between two tokens; and a digest of what was
 * written, to be compared between two versions: the same seeds are to give the same tokens.
 */

import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { openLlamaCppEngine } from '../../src/engine/llama/engine.js';
import { type GenerateRequest, Query, type ResponseFormat } from '../../src/engine/types.js';

const [path, rounds = '3'] = process.argv.slice(2);
if (path === undefined) throw new Error('expected a GGUF file');

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 24 },
    age: { type: 'integer', minimum: 0, maximum: 150 },
    colours: { type: 'array', items: { enum: ['red', 'green', 'blue', 'ultramarine'] }, minItems: 2, maxItems: 4 },
    address: { type: 'object', properties: { street: { type: 'string', maxLength: 30 } }, required: ['street'] },
    born: { type: 'string', format: 'date' },
  },
  required: ['name', 'age', 'colours', 'address', 'born'],
};
const story = {
  type: 'object',
  properties: {
    title: { type: 'string', minLength: 8, maxLength: 60 },
    text: { type: 'string', minLength: 150, maxLength: 400 },
  },
  required: ['title', 'text'],
};
const codes = {
  type: 'array',
  items: {
    type: 'object',
    properties: { id: { type: 'string', format: 'uuid' }, ok: { type: 'boolean' } },
    required: ['id', 'ok'],
  },
  minItems: 2,
  maxItems: 3,
};
const CASES = { person, story, codes };
const PROMPT = 'Ann is 31 and lives in Elm Street. Describe her as JSON, with all that was said:\n';
const MOST = 160;

const engine = await openLlamaCppEngine({ model: path, name: 'bench', gpu: false, sequences: 1, contextTokens: 1024 });

async function timed(asked: Partial<GenerateRequest>) {
  const request: GenerateRequest = {
    ...{
      query: new Query({ kind: 'text', text: PROMPT }),
      maxTokens: MOST,
      temperature: 0,
      topP: 1,
      seed: 1,
      stop: [],
    },
    ...{ topLogprobs: null, signal: new AbortController().signal, ...asked },
  };
  const processorMs = () => Object.values(process.cpuUsage()).reduce((sum, us) => sum + us / 1000, 0);
  const used: number[] = [];
  let text = '';
  let started = 0;
  let before = 0;
  for await (const event of engine.generate(request)) {
    if (event.type === 'start') started = performance.now();
    if (event.type === 'token') {
      used.push(processorMs() - before);
      text += event.text;
    }
    before = processorMs();
  }
  const ms = performance.now() - started;
  const tokens = used.length;
  const perToken = used.reduce((sum, one) => sum + one, 0) / tokens;
  return { tokens, rate: (1000 * tokens) / ms, perToken, most: Math.max(...used), text };
}

type Timed = Awaited<ReturnType<typeof timed>>;
const median = (list: readonly number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!;
console.log(
  `${basename(path)}, ${engine.threads} threads\ncase      at  schema   free  ratio  by processor  most ms (free)  tokens  digest`,
);
for (const [name, schema] of Object.entries(CASES)) {
  const format: ResponseFormat = { type: 'json_schema', json_schema: { name, schema } };
  for (const temperature of [0, 0.8]) {
    const all = { held: [] as Timed[], free: [] as Timed[] };
    const digest = createHash('sha256');
    for (let seed = 0; seed < Number(rounds); seed++) {
      const held = await timed({ format, temperature, seed });
      all.held.push(held);
      all.free.push(await timed({ temperature, seed, maxTokens: held.tokens }));
      digest.update(held.text);
    }
    const of = (kind: 'held' | 'free', what: 'rate' | 'perToken') => median(all[kind].map((one) => one[what]));
    const most = (kind: 'held' | 'free') => Math.max(...all[kind].map((one) => one.most)).toFixed(0);
    const cells = [
      ...[name.padEnd(8), temperature.toFixed(1), of('held', 'rate').toFixed(1).padStart(6)],
      ...[of('free', 'rate').toFixed(1).padStart(5), (of('held', 'rate') / of('free', 'rate')).toFixed(2).padStart(5)],
      (of('free', 'perToken') / of('held', 'perToken')).toFixed(2).padStart(12),
      `${most('held')} (${most('free')})`.padStart(14),
      String(all.held.reduce((sum, { tokens }) => sum + tokens, 0)).padStart(6),
      digest.digest('hex').slice(0, 12),
    ];
    console.log(cells.join('  '));
  }
}
await engine.close();
