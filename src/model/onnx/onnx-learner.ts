/**
 * Training on ONNX Runtime. Parameters, moments and gradient are plain arrays; a block's gradients are written straight to their
 * places in the flat vector.
 */

import type { NumberArray } from '../../onnx/runtime.js';
import type { AdamWState } from '../adamw-settings.js';
import { frozenRanges } from '../lora-layout.js';
import type { Gates, Learner, LearnerInput, StackedAdapters, TargetBatch } from '../network.js';
import { AdamWProgram, type MomentArrays } from './adamw-program.js';
import { NAMES } from './block-programs.js';
import { type Blocks, type CompiledBlock, factorRanges, gateOf, modulesOf, ordered, takeRows } from './blocks.js';
import { Buffers } from './buffers.js';
import { lossProgram } from './head-programs.js';

const ONE = Float32Array.of(1);

export class OnnxLearner implements Learner {
  readonly #blocks: Blocks;
  readonly #adapters: StackedAdapters;
  readonly #adamw: AdamWProgram;
  readonly #moments: MomentArrays;
  step: number;
  /** of the batch in work, and the sum over the batches of the step */
  readonly #gradient: Float32Array;
  #sum: Float32Array | undefined;
  #batches = 0;
  #loss = 0;
  readonly #buffers = new Buffers();
  readonly #recomputes: boolean;
  readonly #frozen: Array<[number, number]>;
  readonly #decay: number;
  readonly #anchor: Float32Array | undefined;

  constructor(blocks: Blocks, { layout, loraAlpha, start, adamw, anchor, recomputes = false }: LearnerInput) {
    this.#blocks = blocks;
    this.#recomputes = recomputes;
    this.#frozen = [...frozenRanges(layout)];
    this.#decay = adamw.weightDecay;
    this.#anchor = anchor;
    this.#adamw = new AdamWProgram(adamw, blocks.runtime);
    const state = start instanceof Float32Array ? undefined : start;
    this.step = state?.step ?? 0;
    const copy = (from: Float32Array | undefined) =>
      from === undefined ? new Float32Array(layout.size) : Float32Array.from(from);
    const parameters = copy(state?.parameters ?? (start as Float32Array));
    this.#adapters = { layout, loraAlpha, parameters };
    this.#moments = { parameters, m: copy(state?.m), v: copy(state?.v) };
    this.#gradient = new Float32Array(layout.size);
  }

  async add(batch: TargetBatch, gates: Gates, normaliser: number): Promise<void> {
    const { config } = this.#blocks;
    const { layout } = this.#adapters;
    const { numLayers, hiddenSize: C } = config;
    const first = this.#firstAdapted();
    const numbers = batch.B * batch.T * C;
    const gate = gateOf(this.#adapters, gates, batch);
    const state = (layer: number) => this.#buffers.take(`state ${layer}`, numbers);
    const inputsOf = (layer: number) =>
      this.#blocks.layerInputs(layer, batch, this.#adapters).set(NAMES.gate, gate).set(NAMES.x, state(layer));
    const compiled = (layer: number, trains: boolean) =>
      this.#blocks.compiledBlock(layer, batch, layout, trains, layer > first);

    // a single batch is its own sum
    if (this.#batches > 0) this.#sum ??= new Float32Array(layout.size);
    if (this.#batches === 1) this.#sum!.set(this.#gradient);

    // 1) forward, each block's input kept, and what its backward pass needs of the rest
    this.#blocks.embedTokens(batch, state(0));
    for (let layer = 0; layer < numLayers; layer++) {
      const block = compiled(layer, layer >= first && !this.#recomputes);
      const places = this.#places(layer, block);
      await block.forward.run(ordered(block.forward, inputsOf(layer)), [state(layer + 1), ...places]);
    }

    // 2) loss
    let dy = await this.#lossOf(batch, state(numLayers), normaliser);

    // 3) backward
    const R = layout.adapters * layout.r;
    for (let layer = numLayers - 1; layer >= first; layer--) {
      const block = compiled(layer, true);
      const inputs = inputsOf(layer).set(NAMES.dy, dy);
      const places = this.#places(layer, block);
      if (this.#recomputes) {
        await block.forward.run(ordered(block.forward, inputs), [state(layer + 1), ...places]);
      }
      for (const [i, { name }] of block.crossing.entries()) inputs.set(name, places[i]!);
      const dx = this.#buffers.take(`gradient ${layer % 2}`, numbers);
      const results = new Map<string, NumberArray>([[NAMES.dx, dx]]);
      for (const [name, module] of modulesOf(layout, layer)) {
        const { a, b } = factorRanges(module, R);
        results.set(NAMES.da(name), this.#gradient.subarray(...a)).set(NAMES.db(name), this.#gradient.subarray(...b));
      }
      const { backward } = block;
      const wanted = backward!.graph.outputs.map(({ name }) => results.get(name)!);
      await backward!.run(ordered(backward!, inputs), wanted);
      dy = dx;
    }
    if (this.#batches > 0) for (let i = 0; i < layout.size; i++) this.#sum![i]! += this.#gradient[i]!;
    this.#batches++;
  }

  async gradient(): Promise<Float32Array> {
    return Float32Array.from(this.#batches > 1 ? this.#sum! : this.#gradient);
  }

  async update(learningRate: number): Promise<{ loss: number; gradientNorm: number }> {
    const gradient = this.#batches > 1 ? this.#sum! : this.#gradient;
    this.step++;
    // without a gradient a number and its moments stay as they are, but for weight decay
    const { parameters } = this.#moments;
    for (const [from, to] of this.#frozen) gradient.fill(0, from, to);
    const kept = this.#decay !== 0 ? this.#frozen.map(([from, to]) => parameters.slice(from, to)) : [];
    const gradientNorm = await this.#adamw.update(this.#moments, gradient, learningRate, this.step);
    const pull = learningRate * this.#decay;
    if (pull > 0)
      this.#anchor?.forEach((x, i) => {
        parameters[i]! += pull * x;
      });
    for (const [i, values] of kept.entries()) parameters.set(values, this.#frozen[i]![0]);
    const loss = this.#loss;
    this.#loss = 0;
    this.#batches = 0;
    return { loss, gradientNorm };
  }

  async state(): Promise<AdamWState> {
    return { step: this.step, ...this.#moments };
  }

  dispose(): void {
    this.#adamw.dispose();
    this.#buffers.clear();
  }

  /** The first layer with factors: before it nothing is trainable. */
  #firstAdapted(): number {
    const { numLayers } = this.#blocks.config;
    for (let layer = 0; layer < numLayers; layer++) {
      if (modulesOf(this.#adapters.layout, layer).length > 0) return layer;
    }
    return numLayers;
  }

  /** Where a layer's forward pass leaves what its backward pass needs. */
  #places(layer: number, { crossing }: CompiledBlock): Float32Array[] {
    const length = crossing.reduce((sum, value) => sum + value.length, 0);
    const left = this.#buffers.take(this.#recomputes ? 'left' : `left ${layer}`, length);
    let from = 0;
    return crossing.map((value) => {
      from += value.length;
      return left.subarray(from - value.length, from);
    });
  }

  /** Adds the batch's loss and returns the gradient of the last hidden states: (M, C), zero where nothing is predicted. */
  async #lossOf(batch: TargetBatch, last: Float32Array, normaliser: number): Promise<Float32Array> {
    const blocks = this.#blocks;
    const { config, finalNorm, head } = blocks;
    const C = config.hiddenSize;
    const dy = this.#buffers.take(`gradient ${config.numLayers % 2}`, last.length).fill(0);
    for (const { from, count, size } of blocks.headSlices(batch.rows.length)) {
      const session = blocks.headProgram(`loss,${size}`, () => lossProgram(config, size).forward);
      const rows = batch.rows.subarray(from, from + count);
      const targets = new Int32Array(size);
      targets.set(batch.targets.subarray(from, from + count));
      const weights = new Float32Array(size).fill(1 / normaliser, 0, count); // rows that fill up weigh nothing
      const [loss, drows] = [new Float32Array(1), new Float32Array(size * C)];
      const inputs = [takeRows(last, C, rows, size), finalNorm.data, head.data, targets, weights, ONE];
      await session.run(inputs, [loss, drows]);
      this.#loss += loss[0]!;
      rows.forEach((row, i) => {
        dy.set(drows.subarray(i * C, (i + 1) * C), row * C);
      });
    }
    return dy;
  }
}
