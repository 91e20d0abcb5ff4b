/**
 * How fast is training? crayon's joint training of 16 stacked rank-4 adapters beside PyTorch with PEFT at the same work.
 *
 *     npx tsx benchmarks/train.ts --python <python with torch, transformers and peft> [--backend node|wasm] [--steps 20]
 *
 * The model is a random Llama of 5.8M parameters (hidden 256, 6 layers, 8 heads, intermediate 688, vocabulary 4096, tied), a
 * step is 8 sequences of 128 tokens with the loss on the second half, LoRA on all seven projections, float32. Two peers:
 *
 * - `peft rank 64`: one LoRA of rank 64, the same number of trainable numbers and of products as 16 stacked rank-4 ones;
 * - `peft 16 x rank 4`: 16 LoRAs of rank 4, one after the other, over the same tokens: how a pool is built with PEFT. It is
 *   less work, since each example passes through one adapter and not through a mixture of 16.
 *
 * Every one runs in processes of its own, in turns, --rounds times; the median over all timed steps is reported, and the
 * fastest step and the processor time of a step, which other load on the machine disturbs less (`taskset -c 0` in front
 * compares one core with one core, free of both libraries' waiting for one another's threads). PEFT computes logits at all positions, crayon where they
 * are needed. Without --python the peers are left out. Prints one table and, as the last line, one JSON document.
 */

import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { createRandom } from '../src/core/random.js';
import { projectionsOf } from '../src/hf/families.js';
import type { ModelConfig } from '../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../src/model/backend.js';
import { LlamaModel, type WeightSource } from '../src/model/llama.js';
import { createLoraLayout } from '../src/model/lora-layout.js';
import type { BackendName } from '../src/model/names.js';
import { TRAIN_DEFAULTS } from '../src/train/settings.js';
import { Trainer } from '../src/train/trainer.js';

const { values: options } = parseArgs({
  options: {
    python: { type: 'string' },
    backend: { type: 'string', default: 'node' },
    steps: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '3' },
    // used by the benchmark itself, to time crayon in a process of its own
    worker: { type: 'boolean', default: false },
  },
});

const STEPS = Number(options.steps);
const WARM_UP = 3;
const ADAPTERS = 16;
const RANK = 4;
const BATCH = 8;
const TOKENS = 128;
const [C, I, V] = [256, 688, 4096];

interface Timing {
  stepMs: { median: number; min: number };
  /** processor time of all threads, median over the steps */
  cpuMs: number;
  lastLoss: number;
}

const CONFIG: ModelConfig = {
  modelType: 'llama',
  hiddenSize: C,
  intermediateSize: I,
  numLayers: 6,
  numHeads: 8,
  numKvHeads: 8,
  headDim: 32,
  vocabSize: V,
  rmsNormEps: 1e-6,
  ropeTheta: 10_000,
  ropeScaling: null,
  rotaryDim: 32,
  slidingRope: null,
  rotaryLayers: null,
  maxPositionEmbeddings: 512,
  slidingWindow: null,
  slidingLayers: null,
  tieWordEmbeddings: true,
  attentionBias: false,
  attentionOutBias: false,
  mlpBias: false,
  embeddingScale: 1,
  attentionScale: null,
  residualScale: 1,
  logitScale: 1,
  bosTokenId: 1,
  eosTokenIds: [2],
};

/** (out, in) of a weight, or (C) of a norm. */
function shapeOf(name: string): number[] {
  if (name.includes('norm')) return [C];
  if (name.includes('embed_tokens')) return [V, C];
  if (/gate_proj|up_proj/.test(name)) return [I, C];
  return name.includes('down_proj') ? [C, I] : [C, C];
}

/** Weights of an untrained model: norms 1, the rest normal with deviation 0.02, as transformers initialises. */
function randomWeights(): WeightSource {
  const random = createRandom(0, 'bench-train');
  return {
    config: CONFIG,
    info: (name) => ({ dtype: 'F32', shape: shapeOf(name), dataOffsets: [0, 0] }),
    readF32: (name) => {
      const length = shapeOf(name).reduce((a, b) => a * b);
      if (name.includes('norm')) return new Float32Array(length).fill(1);
      return Float32Array.from({ length }, () => 0.02 * random.normal());
    },
  };
}

/** Child process: times crayon's steps and prints a Timing. */
async function work(): Promise<void> {
  await chooseBackend(options.backend as BackendName);
  const model = new LlamaModel(randomWeights());
  const modules = Array.from({ length: CONFIG.numLayers }, (_, layer) =>
    projectionsOf(CONFIG.modelType).map((projection) => {
      const [out, inSize] = shapeOf(projection) as [number, number];
      return { name: `model.layers.${layer}.${projection}`, in: inSize, out };
    }),
  ).flat();
  const random = createRandom(0, 'bench-train/data');
  const examples = Array.from({ length: BATCH * (WARM_UP + STEPS) }, () => ({
    ids: Int32Array.from({ length: TOKENS + 1 }, () => random.int(V)),
    promptLength: TOKENS / 2 + 1,
  }));
  const gates = examples.map(() => {
    const weights = Float64Array.from({ length: ADAPTERS }, () => random.uniform());
    const total = weights.reduce((a, b) => a + b);
    return weights.map((w) => w / total);
  });
  const layout = createLoraLayout(modules, ADAPTERS, RANK);
  const trainer = new Trainer({ model, layout, examples, gates }, { ...TRAIN_DEFAULTS, batchSize: BATCH });
  const times: number[] = [];
  const cpuTimes: number[] = [];
  let lastLoss = Number.NaN;
  while (!trainer.done) {
    const started = performance.now();
    const before = process.cpuUsage();
    lastLoss = (await trainer.step()).loss;
    const { user, system } = process.cpuUsage(before);
    times.push(performance.now() - started);
    cpuTimes.push((user + system) / 1000);
  }
  const timed = times.slice(WARM_UP);
  const timing: Timing = {
    stepMs: { median: median(timed), min: Math.min(...timed) },
    cpuMs: median(cpuTimes.slice(WARM_UP)),
    lastLoss,
  };
  console.log(JSON.stringify(timing));
  trainer.dispose();
  model.dispose();
  releaseBackend();
}

const median = (values: number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** The last line that a child prints, as JSON. */
function runChild(file: string, args: string[]): Timing {
  const output = execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return JSON.parse(output.trim().split('\n').at(-1)!) as Timing;
}

function runCrayon(): Timing {
  const self = fileURLToPath(import.meta.url);
  const args = ['--worker', '--backend', options.backend, '--steps', options.steps];
  return runChild(process.execPath, [...process.execArgv, self, ...args]);
}

function runPeft(adapters: number, rank: number): Timing {
  const script = fileURLToPath(new URL('train_peft.py', import.meta.url));
  const steps = Math.ceil(STEPS / adapters) * adapters; // every adapter takes the same number of steps
  const shape = ['--adapters', String(adapters), '--rank', String(rank)];
  return runChild(options.python!, [script, ...shape, '--steps', String(steps), '--warmup', String(WARM_UP)]);
}

function main(): void {
  const peers: Array<{ who: string; run: () => Timing }> = [{ who: `crayon 16 x rank 4, joint`, run: runCrayon }];
  if (options.python !== undefined) {
    peers.push({ who: 'peft rank 64', run: () => runPeft(1, ADAPTERS * RANK) });
    peers.push({ who: 'peft 16 x rank 4', run: () => runPeft(ADAPTERS, RANK) });
  }
  const runs = peers.map(() => [] as Timing[]);
  for (let round = 0; round < Number(options.rounds); round++) {
    peers.forEach(({ who, run }, i) => {
      const timing = run();
      runs[i]!.push(timing);
      const figures = [timing.stepMs.median, timing.stepMs.min, timing.cpuMs].map((ms) => ms.toFixed(0));
      console.error(
        `round ${round + 1}, ${who}: ms a step ${figures[0]}, fastest ${figures[1]}, processor ${figures[2]}`,
      );
    });
  }
  const rows = peers.map(({ who }, i) => {
    const medians = runs[i]!.map((r) => r.stepMs.median);
    const stepMs = median(medians);
    const fastestMs = Math.min(...runs[i]!.map((r) => r.stepMs.min));
    const cpuMs = median(runs[i]!.map((r) => r.cpuMs));
    return { who, stepMs, fastestMs, cpuMs, tokensPerSecond: (BATCH * TOKENS * 1000) / stepMs, medians };
  });
  const table = new Table({
    head: ['who', 'ms a step', 'x crayon', 'fastest', 'x crayon', 'processor ms', 'x crayon', 'tokens/s'],
  });
  const [crayon] = rows as [(typeof rows)[number]];
  for (const row of rows) {
    const pair = (key: 'stepMs' | 'fastestMs' | 'cpuMs') => [row[key].toFixed(0), (row[key] / crayon[key]).toFixed(2)];
    table.push([row.who, ...pair('stepMs'), ...pair('fastestMs'), ...pair('cpuMs'), row.tokensPerSecond.toFixed(0)]);
  }
  console.log(table.toString());
  console.log(`${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}, back end ${options.backend}`);
  console.log(JSON.stringify({ what: 'train', backend: options.backend, steps: STEPS, rows }));
}

if (options.worker) await work();
else main();
