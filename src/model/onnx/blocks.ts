/**
 * A model's blocks on ONNX Runtime: weights in plain arrays, and the programs that run them, compiled when first needed. The same
 * two programs serve all layers of a kind.
 *
 * Letters: B sequences, T tokens each, M = B*T rows, C hidden size, P predicted tokens, R = N*r stacked rank.
 */

import type { ModelConfig } from '../../hf/config.js';
import type { Graph } from '../../onnx/encode.js';
import type { NumberArray, OnnxRuntime, OnnxSession } from '../../onnx/runtime.js';
import type { LayoutModule, LoraLayout } from '../lora-layout.js';
import { type Gates, gateRows, type SequenceBatch, type StackedAdapters } from '../network.js';
import { layerKind, type PositionTables, packedTables, plainTables, rotateHalfMatrix } from '../positions.js';
import { type BlockWeights, readWeights, type WeightSource } from '../weights.js';
import { blockPrograms, NAMES } from './block-programs.js';
import { headRows } from './head-programs.js';
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

/** Compiled programs kept; a training set has a few dozen shapes of batches. */
const KEPT_PROGRAMS = 256;

export class Blocks {
  readonly config: ModelConfig;
  readonly runtime: OnnxRuntime;
  readonly embedding: HostArray;
  readonly head: HostArray;
  readonly finalNorm: HostArray;
  readonly blocks: ReadonlyArray<ReadonlyMap<string, HostArray>>;
  readonly #rotateHalf: Float32Array;
  readonly #tables = new Map<string, PositionTables>();
  /** of the packed batch that was run last, by kind of layer */
  #packed: { of: SequenceBatch['packed']; tables: Map<string, PositionTables> } = { of: undefined, tables: new Map() };
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
  embedTokens(
    { ids }: SequenceBatch,
    x: Float32Array = new Float32Array(ids.length * this.config.hiddenSize),
  ): Float32Array {
    const { hiddenSize: C, embeddingScale } = this.config;
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

  headProgram(key: string, make: () => Graph): OnnxSession {
    return kept(this.#heads, key, () => this.runtime.session(make()));
  }

  /** What a block's programs read of the layer: its weights, its positions' tables and its factors. */
  layerInputs(
    layer: number,
    batch: Pick<SequenceBatch, 'T' | 'packed'>,
    adapters: StackedAdapters | undefined,
  ): Map<string, NumberArray> {
    const inputs = new Map<string, NumberArray>();
    for (const [name, { data }] of this.blocks[layer]!) inputs.set(name, data);
    const { cos, sin, mask } = this.#tablesOf(layer, batch);
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
    for (let from = 0, size = 0; from < P; from += size) {
      size = headRows(this.config, P - from);
      yield { from, count: Math.min(size, P - from), size };
    }
  }

  #tablesOf(layer: number, { T, packed }: Pick<SequenceBatch, 'T' | 'packed'>): PositionTables {
    const kind = layerKind(this.config, layer);
    if (packed === undefined) return kept(this.#tables, `${T}/${kind.name}`, () => plainTables(kind, this.config, T));
    if (this.#packed.of !== packed) this.#packed = { of: packed, tables: new Map() };
    return kept(this.#packed.tables, kind.name, () => packedTables(kind, this.config, packed));
  }
}

/** See gateRows. */
export function gateOf(
  { layout, loraAlpha }: StackedAdapters,
  gates: Gates,
  batch: Pick<SequenceBatch, 'T' | 'packed'>,
): Float32Array {
  return gateRows(gates, batch, layout.r, loraAlpha / layout.r);
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
