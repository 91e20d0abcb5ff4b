/**
 * Llama and its kin on ONNX Runtime, a block at a time: the same two programs for all layers of a kind, weights and activations
 * in plain arrays that no step copies.
 *
 * Letters: B sequences, T tokens each, M = B*T rows, C hidden size, P predicted tokens, R = N*r stacked rank.
 */

import type { ModelConfig } from '../../hf/config.js';
import type { NumberArray, OnnxRuntime, OnnxSession } from '../../onnx/runtime.js';
import type { LayoutModule, LoraLayout } from '../lora-layout.js';
import {
  type AttachedAdapters,
  type Gates,
  gateRows,
  type Learner,
  type LearnerInput,
  type LoraUse,
  type Network,
  type PredictedTokens,
  type SequenceBatch,
  type StackedAdapters,
  type TargetBatch,
} from '../network.js';
import { causalMask, layerKind, rotaryTables, rotateHalfMatrix } from '../positions.js';
import { type BlockWeights, readWeights, type WeightSource } from '../weights.js';
import { blockPrograms, NAMES } from './block-programs.js';
import { predictProgram } from './head-programs.js';
import { OnnxLearner } from './onnx-learner.js';
import type { Programs } from './programs.js';

/** An array with its shape: a weight. */
export class HostArray<S extends number[] = number[]> {
  constructor(
    readonly data: Float32Array,
    readonly shape: S,
  ) {}
}

/** A block's programs, ready to run. */
export interface CompiledBlock extends Pick<Programs, 'crossing'> {
  forward: OnnxSession;
  backward: OnnxSession | undefined;
}

/** Rows of the head that are computed at a time are a multiple of this, so that few sizes are compiled. */
const HEAD_STEP = 16;
/** Numbers of one slice of logits at most: (P, V) of it. */
const HEAD_NUMBERS = 2 ** 24;
/** Compiled programs kept; a training set has a few dozen shapes of batches. */
const KEPT_PROGRAMS = 256;

export class OnnxModel implements Network {
  readonly config: ModelConfig;
  readonly runtime: OnnxRuntime;
  readonly embedding: HostArray;
  readonly head: HostArray;
  readonly finalNorm: HostArray;
  readonly blocks: ReadonlyArray<ReadonlyMap<string, HostArray>>;
  readonly #rotateHalf: Float32Array;
  readonly #tables = new Map<string, Record<'cos' | 'sin' | 'mask', Float32Array>>();
  readonly #compiled = new Map<string, CompiledBlock>();
  readonly #heads = new Map<string, OnnxSession>();

  constructor(source: WeightSource, runtime: OnnxRuntime) {
    this.config = source.config;
    this.runtime = runtime;
    const weights = readWeights(source, (data, shape) => new HostArray(data, shape));
    this.embedding = weights.embedding as unknown as HostArray;
    this.head = weights.head as unknown as HostArray;
    this.finalNorm = weights.finalNorm as unknown as HostArray;
    this.blocks = weights.blocks as unknown as ReadonlyArray<ReadonlyMap<string, HostArray>>;
    this.#rotateHalf = rotateHalfMatrix(source.config);
  }

  attach(adapters: StackedAdapters): AttachedAdapters {
    return new HostAdapters(adapters);
  }

  async predict(batch: TargetBatch, lora?: LoraUse): Promise<PredictedTokens> {
    const P = batch.rows.length;
    const found = { targets: new Float32Array(P), largest: new Float32Array(P), best: new Int32Array(P) };
    await this.#onRows(batch, lora, 'predictions', async (session, inputs, from, count, size) => {
      const targets = new Int32Array(size);
      targets.set(batch.targets.subarray(from, from + count));
      const results = [new Float32Array(size), new Float32Array(size), new Int32Array(size)] as const;
      await session.run([...inputs, targets], results);
      found.targets.set(results[0].subarray(0, count), from);
      found.largest.set(results[1].subarray(0, count), from);
      found.best.set(results[2].subarray(0, count), from);
    });
    return found;
  }

  async targetLogits(batch: Pick<TargetBatch, 'ids' | 'B' | 'T' | 'rows'>, lora?: LoraUse): Promise<Float32Array> {
    const V = this.config.vocabSize;
    const logits = new Float32Array(batch.rows.length * V);
    await this.#onRows(batch, lora, 'logits', async (session, inputs, from, count, size) => {
      const result = new Float32Array(size * V);
      await session.run(inputs, [result]);
      logits.set(result.subarray(0, count * V), from * V);
    });
    return logits;
  }

  async embed(batch: SequenceBatch, layer: number, share: Float32Array): Promise<Float32Array> {
    const { hiddenSize: C, numLayers, rmsNormEps } = this.config;
    const x = await this.#forward(batch, undefined, layer);
    const out = new Float32Array(batch.B * C);
    for (let b = 0; b < batch.B; b++) {
      const sum = new Float64Array(C);
      for (let t = 0; t < batch.T; t++) {
        const row = b * batch.T + t;
        const weight = share[row]!;
        if (weight === 0) continue;
        const hidden = x.subarray(row * C, (row + 1) * C);
        const scale = layer < numLayers ? weight : weight / Math.sqrt(meanSquare(hidden) + rmsNormEps);
        for (let c = 0; c < C; c++) sum[c]! += scale * hidden[c]!;
      }
      if (layer === numLayers) for (let c = 0; c < C; c++) sum[c]! *= this.finalNorm.data[c]!;
      const length = Math.max(Math.sqrt(sum.reduce((total, value) => total + value * value, 0)), 1e-12);
      for (let c = 0; c < C; c++) out[b * C + c] = sum[c]! / length;
    }
    return out;
  }

  learner(input: LearnerInput): Learner {
    return new OnnxLearner(this, input);
  }

  dispose(): void {
    for (const { forward, backward } of this.#compiled.values()) {
      forward.dispose();
      backward?.dispose();
    }
    for (const session of this.#heads.values()) session.dispose();
    this.#compiled.clear();
    this.#heads.clear();
  }

  /** Rows of the embedding table: (M, C). */
  embedTokens({ ids }: SequenceBatch): Float32Array {
    const { hiddenSize: C, embeddingScale } = this.config;
    const x = new Float32Array(ids.length * C);
    ids.forEach((id, row) => {
      x.set(this.embedding.data.subarray(id * C, (id + 1) * C), row * C);
    });
    if (embeddingScale !== 1) for (let i = 0; i < x.length; i++) x[i]! *= embeddingScale;
    return x;
  }

  /** A block's programs for batches of one shape, compiled when first asked for. */
  compiledBlock(
    layer: number,
    { B, T }: Pick<SequenceBatch, 'B' | 'T'>,
    layout: LoraLayout | undefined,
    trains: boolean,
    needsInputGradient = true,
  ): CompiledBlock {
    const adapted = new Map(modulesOf(layout, layer).map(([name, module]) => [name, module]));
    const R = layout === undefined ? 0 : layout.adapters * layout.r;
    const key = [B, T, R, layerKind(this.config, layer).name, ...adapted.keys(), trains, needsInputGradient].join();
    return kept(this.#compiled, key, () => {
      const weights = this.blocks[layer]! as BlockWeights;
      const form = { config: this.config, weights, B, T, adapted, R, trains, needsInputGradient };
      const { forward, backward, crossing } = blockPrograms(form);
      return {
        forward: this.runtime.session(forward),
        backward: backward && this.runtime.session(backward),
        crossing,
      };
    });
  }

  headProgram(key: string, make: () => ReturnType<typeof predictProgram>): OnnxSession {
    return kept(this.#heads, key, () => this.runtime.session(make()));
  }

  /** What a block's programs read of the layer: its weights, its positions' tables and its factors. */
  layerInputs(layer: number, T: number, adapters: StackedAdapters | undefined): Map<string, NumberArray> {
    const inputs = new Map<string, NumberArray>();
    for (const [name, { data }] of this.blocks[layer]!) inputs.set(name, data);
    const { cos, sin, mask } = this.#tablesOf(layer, T);
    inputs.set(NAMES.cos, cos).set(NAMES.sin, sin).set(NAMES.mask, mask).set(NAMES.rotateHalf, this.#rotateHalf);
    if (adapters === undefined) return inputs;
    const { layout, parameters } = adapters;
    const R = layout.adapters * layout.r;
    for (const [name, module] of modulesOf(layout, layer)) {
      const { a, b } = factorRanges(module, R);
      inputs.set(NAMES.a(name), parameters.subarray(...a)).set(NAMES.b(name), parameters.subarray(...b));
    }
    return inputs;
  }

  /** Rows of the head that are computed at a time, and slices of `count` rows padded to a size that is compiled. */
  *headSlices(P: number): Generator<{ from: number; count: number; size: number }> {
    const most = Math.max(HEAD_STEP, Math.floor(HEAD_NUMBERS / this.config.vocabSize / HEAD_STEP) * HEAD_STEP);
    for (let from = 0; from < P; from += most) {
      const count = Math.min(most, P - from);
      yield { from, count, size: Math.ceil(count / HEAD_STEP) * HEAD_STEP };
    }
  }

  /** Hidden states after some blocks, not normalised: (M, C). */
  async #forward(batch: SequenceBatch, lora: LoraUse | undefined, blocks: number): Promise<Float32Array> {
    const adapters = lora && (lora.adapters as HostAdapters).stacked;
    const gate = adapters && gateOf(adapters, lora.gates, batch.T);
    let x = this.embedTokens(batch);
    let y: Float32Array = new Float32Array(x.length);
    for (let layer = 0; layer < blocks; layer++) {
      const { forward } = this.compiledBlock(layer, batch, adapters?.layout, false);
      const inputs = this.layerInputs(layer, batch.T, adapters).set(NAMES.x, x);
      if (gate !== undefined) inputs.set(NAMES.gate, gate);
      await forward.run(ordered(forward, inputs), [y]);
      [x, y] = [y, x];
    }
    return x;
  }

  /** Runs the head on the rows whose next token is wanted, a slice at a time. */
  async #onRows(
    batch: Pick<TargetBatch, 'ids' | 'B' | 'T' | 'rows'>,
    lora: LoraUse | undefined,
    wants: 'logits' | 'predictions',
    use: (s: OnnxSession, inputs: NumberArray[], from: number, count: number, size: number) => Promise<void>,
  ): Promise<void> {
    const { hiddenSize: C, numLayers } = this.config;
    const hidden = await this.#forward(batch, lora, numLayers);
    const adapters = lora && (lora.adapters as HostAdapters).stacked;
    const module = adapters?.layout.modules.find(({ name }) => name === 'lm_head');
    const R = module === undefined ? 0 : adapters!.layout.adapters * adapters!.layout.r;
    for (const { from, count, size } of this.headSlices(batch.rows.length)) {
      const session = this.headProgram(`${wants},${size},${R}`, () => predictProgram(this.config, size, R, wants));
      const rows = takeRows(hidden, C, batch.rows.subarray(from, from + count), size);
      const inputs: NumberArray[] = [rows, this.finalNorm.data, this.head.data];
      if (module !== undefined) {
        const { parameters, layout, loraAlpha } = adapters!;
        const { a, b } = factorRanges(module, R);
        const gate = new Float32Array(size * R);
        const ofSequences = gateRows(lora!.gates, 1, layout.r, loraAlpha / layout.r);
        for (let i = 0; i < count; i++) {
          const owner = Math.floor(batch.rows[from + i]! / batch.T);
          gate.set(ofSequences.subarray(owner * R, (owner + 1) * R), i * R);
        }
        inputs.push(parameters.subarray(...a), parameters.subarray(...b), gate);
      }
      await use(session, inputs, from, count, size);
    }
  }

  #tablesOf(layer: number, T: number) {
    const kind = layerKind(this.config, layer);
    return kept(this.#tables, `${T}/${kind.name}`, () => ({
      ...rotaryTables(kind.rope, this.config, T),
      mask: causalMask(T, kind.window),
    }));
  }
}

/** Adapters in plain arrays need no place of their own. */
class HostAdapters implements AttachedAdapters {
  constructor(readonly stacked: StackedAdapters) {}

  dispose(): void {}
}

/** See gateRows. */
export function gateOf({ layout, loraAlpha }: StackedAdapters, gates: Gates, T: number): Float32Array {
  return gateRows(gates, T, layout.r, loraAlpha / layout.r);
}

/** The modules of a layer, by their names within the block. */
export function modulesOf(layout: LoraLayout | undefined, layer: number): Array<[string, LayoutModule]> {
  const prefix = `model.layers.${layer}.`;
  return (layout?.modules ?? [])
    .filter(({ name }) => name.startsWith(prefix))
    .map((module) => [module.name.slice(prefix.length), module]);
}

/** Where a module's factors lie in the flat vector: from, to. */
export function factorRanges(module: LayoutModule, R: number): Record<'a' | 'b', [number, number]> {
  const { aOffset, bOffset, in: inSize, out } = module;
  return { a: [aOffset, aOffset + R * inSize], b: [bOffset, bOffset + out * R] };
}

/** The arrays that a program reads, in its order. */
export function ordered(session: OnnxSession, arrays: ReadonlyMap<string, NumberArray>): NumberArray[] {
  return session.graph.inputs.map(({ name }) => arrays.get(name)!);
}

/** Rows of x (M, C) at the indices, and zeros up to `size` rows. */
export function takeRows(x: Float32Array, C: number, indices: Int32Array, size: number): Float32Array {
  const rows = new Float32Array(size * C);
  indices.forEach((row, i) => {
    rows.set(x.subarray(row * C, (row + 1) * C), i * C);
  });
  return rows;
}

/** A value by its key, made when first asked for; the longest unused ones go. */
function kept<V extends object>(map: Map<string, V>, key: string, make: () => V): V {
  const known = map.get(key) ?? make();
  map.delete(key);
  map.set(key, known);
  if (map.size > KEPT_PROGRAMS) {
    const [oldest, value] = map.entries().next().value!;
    map.delete(oldest);
    for (const part of 'forward' in value ? Object.values(value) : [value]) {
      (part as { dispose?: () => void } | undefined)?.dispose?.();
    }
  }
  return known;
}

function meanSquare(x: Float32Array): number {
  let sum = 0;
  for (const value of x) sum += value * value;
  return sum / x.length;
}
