/**
 * How fast are training, embedding and scoring? crayon beside PyTorch with PEFT at the same work.
 *
 *     npx tsx benchmarks/train.ts --python <python with torch, transformers and peft>
 *       [--smollm2 <gguf or directory> --smollm2-hf <directory>] [--rows edge-joint-8,...] [--backend onnx] [--rounds 3]
 *
 * Two bases: the embedded model on examples of its tasks, 16 at a time; and SmolLM2-135M on random ids, 64 to 104 tokens (84 on
 * average) of which the last 8 are the completion. The product's defaults: LoRA of rank 8 on all projections, AdamW, float32.
 *
 * - `joint-<N>`: N adapters trained as a mixture; beside PEFT with all N active, and with one adapter of rank N*r (the same products);
 * - `independent`: every example trains its own of 8 adapters, all in one batch; beside PEFT, a step for one adapter after the other;
 * - `tokens-<batch>`: one LoRA, and 8 jointly; beside one LoRA of PEFT in float32 and in bfloat16 (weights; PEFT's adapters stay float32);
 * - `embed`, `score`: the forward pass, without adapters: means of the last hidden states; log-probabilities of completions.
 *
 * All contestants of a row get the same ids in the same batches, are loaded in processes of their own, and take turns (turns.ts).
 * Padding counts for nobody. The peers' logits are computed where a completion is, as ours are; `--peer-logits all` has them
 * computed everywhere, as PEFT's users do. Given are the median of the rounds, the fastest, and the processor time.
 * Without --python the peers are left out, without --smollm2 its rows. Prints tables and, as the last line, one JSON document.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { percentile } from '../src/bench/latency.js';
import type { BackendName } from '../src/model/names.js';
import { BUILD_DEFAULTS } from '../src/pool/inputs.js';
import { machine, machineLine } from './machine.js';
import { batched, gatesOf, type Job, type PeerSettings, suiteExamples, syntheticExamples } from './train-jobs.js';
import { Contestant } from './turns.js';

const { values: options } = parseArgs({
  options: {
    python: { type: 'string' },
    smollm2: { type: 'string' },
    'smollm2-hf': { type: 'string' },
    rows: { type: 'string' },
    backend: { type: 'string', default: 'onnx' },
    rounds: { type: 'string', default: '3' },
    'peer-logits': { type: 'string', default: 'completion' },
  },
});
const ROUNDS = Number(options.rounds);
const EDGE = 'models/crayon-edge';
const VOCABULARY = 49_152;

type Base = 'edge' | 'smollm2';
/** Who takes part in a row: ours with N adapters, or a peer. */
type Part = { who: string } & (
  | { ours: 'joint' | 'independent'; N: number }
  | Pick<PeerSettings, 'dtype' | 'adapters' | 'count' | 'r'>
);
interface Row {
  name: string;
  base: Base;
  work: Job['work'];
  batchSize: number;
  batches: number;
  parts: Part[];
  /** how many times as fast as the fastest of some parts one of ours should be; parts by their place */
  goals: Array<{ part: number; peers: number[]; times: number }>;
}

const { r: RANK } = BUILD_DEFAULTS;
const peft = (who: string, settings: Partial<PeerSettings>): Part => {
  return { who, dtype: 'float32', adapters: 'together', count: 1, r: RANK, ...settings };
};
const ours = (N: number, mode: 'joint' | 'independent' = 'joint'): Part => {
  return { who: N === 1 ? 'crayon, one LoRA' : `crayon, ${N} LoRAs, ${mode}`, ours: mode, N };
};

function joint(base: Base, N: number): Row {
  const active = peft(`PEFT, ${N} LoRAs active`, { count: N });
  const parts = [ours(N), active, peft(`PEFT, one of rank ${N * RANK}`, { r: N * RANK })];
  const goals = [
    { part: 0, peers: [2], times: 1.2 },
    { part: 0, peers: [1], times: N >= 16 ? 4 : 1.2 },
  ];
  return { name: `${base}-joint-${N}`, base, work: 'train', ...sizes(base), parts, goals };
}

function independent(base: Base): Row {
  const parts = [ours(8, 'independent'), peft('PEFT, 8 LoRAs in turn', { adapters: 'turns', count: 8 })];
  const goals = [{ part: 0, peers: [1], times: 1.2 }];
  return { name: `${base}-independent`, base, work: 'train', ...sizes(base), parts, goals };
}

function tokens(batchSize: number): Row {
  const parts = [ours(1), ours(8), peft('PEFT, one LoRA', {}), peft('PEFT, one LoRA, bfloat16', { dtype: 'bfloat16' })];
  const goals = [0, 1].map((part) => ({ part, peers: [2, 3], times: 1.3 }));
  return { name: `smollm2-tokens-${batchSize}`, base: 'smollm2', work: 'train', batchSize, batches: 1, parts, goals };
}

function forward(base: Base, work: 'embed' | 'score'): Row {
  const parts = [{ ...ours(1), who: 'crayon' }, peft('PyTorch', {})];
  const goals = [{ part: 0, peers: [1], times: 1 }];
  return { name: `${base}-${work}`, base, work, ...sizes(base, 16), parts, goals };
}

function sizes(base: Base, batchSize = base === 'edge' ? 16 : 4) {
  return { batchSize, batches: base === 'edge' ? 8 : 1 };
}

const ROWS: Row[] = [
  ...(['edge', 'smollm2'] as const).flatMap((base) => [
    joint(base, 8),
    joint(base, 16),
    independent(base),
    forward(base, 'embed'),
    forward(base, 'score'),
  ]),
  tokens(4),
  tokens(16),
];

const scratch = mkdtempSync(join(tmpdir(), 'crayon-train-'));
const beside = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** The command of one contestant, its job written. */
function commandOf(row: Row, part: Part, place: number): [string, ...string[]] {
  const count = row.batchSize * row.batches;
  const isOurs = 'ours' in part;
  const peerBase = row.base === 'edge' ? EDGE : (options['smollm2-hf'] ?? options.smollm2!);
  const examples = row.base === 'edge' ? suiteExamples(count, EDGE) : syntheticExamples(count, VOCABULARY);
  const r = isOurs ? RANK : part.r;
  const settings = { dtype: 'float32', adapters: 'together', count: 1, ...part } as const;
  const job: Job = {
    base: isOurs && row.base === 'smollm2' ? options.smollm2! : peerBase,
    work: row.work,
    batchSize: row.batchSize,
    batches: batched(examples, row.batchSize),
    gates: isOurs ? gatesOf(part.ours, count, part.N) : [],
    rounds: ROUNDS,
    backend: options.backend as BackendName,
    peer: { ...settings, r, loraAlpha: 2 * r, logits: options['peer-logits'] as PeerSettings['logits'] },
  };
  const path = join(scratch, `${row.name}-${place}.json`);
  writeFileSync(path, JSON.stringify(job));
  if (!isOurs) return [options.python!, beside('train_peft.py'), path];
  return [process.execPath, ...process.execArgv, beside('train-worker.ts'), path];
}

/** What a contestant did, a step: median and fastest of the rounds, processor time of the median round. */
interface Figures {
  who: string;
  stepMs: number;
  fastestMs: number;
  cpuMs: number;
  tokensPerSecond: number;
  rounds: number[];
  check: number;
}

async function run(row: Row): Promise<Figures[]> {
  const parts = options.python === undefined ? row.parts.filter((part) => 'ours' in part) : row.parts;
  const contestants: Contestant[] = [];
  try {
    // One after the other, so that nobody warms up beside another.
    for (const [i, part] of parts.entries()) {
      contestants.push(await Contestant.start(part.who, commandOf(row, part, i)));
    }
    for (let round = 1; round <= ROUNDS; round++) {
      for (const contestant of contestants) {
        const { ms, cpuMs } = await contestant.takeTurn();
        console.error(
          `${row.name}, round ${round}, ${contestant.who}: ${ms.toFixed(0)} ms, processor ${cpuMs.toFixed(0)}`,
        );
      }
    }
  } finally {
    for (const contestant of contestants) await contestant.end();
  }
  return contestants.map(({ who, ready, rounds }) => {
    const each = rounds.map(({ ms }) => ms / row.batches);
    const stepMs = percentile(each, 50);
    return {
      who,
      stepMs,
      fastestMs: Math.min(...each),
      cpuMs: percentile(
        rounds.map(({ cpuMs }) => cpuMs / row.batches),
        50,
      ),
      tokensPerSecond: (ready.tokens / row.batches / stepMs) * 1000,
      rounds: each,
      check: ready.check,
    };
  });
}

/** Peers that compute in float32 must find the same loss, embedding or log-probability. */
function compareChecks(row: Row, figures: Figures[]): void {
  const [first] = figures as [Figures];
  for (const { who, check } of figures) {
    const tolerance = (who.includes('bfloat16') ? 0.1 : 1e-3) * Math.max(1, Math.abs(first.check));
    if (!(Math.abs(check - first.check) <= tolerance)) {
      console.error(`NOT THE SAME WORK: ${row.name}, ${who} finds ${check}, ${first.who} ${first.check}`);
    }
  }
}

/** How many times as fast as its fastest peer each of ours is, by each measure. */
function ratiosOf(row: Row, figures: Figures[]) {
  if (options.python === undefined) return [];
  return row.goals.map(({ part, peers, times }) => {
    const mine = figures[part]!;
    const best = peers.map((i) => figures[i]!).reduce((a, b) => (b.stepMs < a.stepMs ? b : a));
    const ratio = (key: 'stepMs' | 'fastestMs' | 'cpuMs') =>
      Math.min(...peers.map((i) => figures[i]![key])) / mine[key];
    return {
      who: mine.who,
      peer: best.who,
      goal: times,
      median: ratio('stepMs'),
      fastest: ratio('fastestMs'),
      processor: ratio('cpuMs'),
    };
  });
}

const wanted = options.rows?.split(',');
const unknown = wanted?.filter((name) => !ROWS.some((row) => row.name === name)) ?? [];
if (unknown.length > 0) throw new Error(`no row ${unknown}; there are ${ROWS.map(({ name }) => name).join(', ')}`);
const chosen = ROWS.filter(
  ({ name, base }) => (wanted?.includes(name) ?? true) && (base === 'edge' || options.smollm2 !== undefined),
);
const results = [];
try {
  for (const row of chosen) {
    const figures = await run(row);
    compareChecks(row, figures);
    const { name, batchSize } = row;
    results.push({ row: name, batchSize, figures, ratios: ratiosOf(row, figures) });
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

const PLAIN = { head: [], border: [], compact: true };
const all = new Table({
  head: ['row', 'batch', 'who', 'ms a step', 'fastest', 'processor ms', 'tokens/s'],
  style: PLAIN,
});
for (const { row, batchSize, figures } of results) {
  for (const { who, stepMs, fastestMs, cpuMs, tokensPerSecond } of figures) {
    all.push([row, batchSize, who, ...[stepMs, fastestMs, cpuMs, tokensPerSecond].map((x) => x.toFixed(0))]);
  }
}
const compared = new Table({
  head: ['row', 'who', 'fastest peer', 'goal', "peer's time / ours", 'fastest', 'processor'],
  style: PLAIN,
});
for (const { row, ratios } of results) {
  for (const { who, peer, goal, median, fastest, processor } of ratios) {
    compared.push([row, who, peer, goal, ...[median, fastest, processor].map((x) => x.toFixed(2))]);
  }
}
console.log(all.toString());
console.log(compared.toString());
const on = machine();
console.log(`${machineLine(on)}; back end ${options.backend}, peers' logits: ${options['peer-logits']}`);
console.log(
  JSON.stringify({
    what: 'train',
    machine: on,
    backend: options.backend,
    peerLogits: options['peer-logits'],
    rounds: ROUNDS,
    results,
  }),
);
