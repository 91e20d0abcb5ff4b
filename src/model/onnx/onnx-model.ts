/** Llama and its kin on ONNX Runtime, a block at a time, as scoring, answering and embedding ask for it. */

import type { ModelConfig } from '../../hf/config.js';
import type { NumberArray, OnnxRuntime, OnnxSession } from '../../onnx/runtime.js';
import {
  type AttachedAdapters,
  gateRows,
  type Learner,
  type LearnerInput,
  type LoraUse,
  type Network,
  type PredictedTokens,
  type SequenceBatch,
  type StackedAdapters,
  type TargetBatch,
  type TargetRows,
} from '../network.js';
import type { WeightSource } from '../weights.js';
import { NAMES } from './block-programs.js';
import { Blocks, factorRanges, gateOf, ordered, takeRows } from './blocks.js';
import { predictProgram } from './head-programs.js';
import { OnnxLearner } from './onnx-learner.js';

export class OnnxModel implements Network {
  readonly config: ModelConfig;
  readonly #blocks: Blocks;

  constructor(source: WeightSource, runtime: OnnxRuntime) {
    this.config = source.config;
    this.#blocks = new Blocks(source, runtime);
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

  async targetLogits(batch: TargetRows, lora?: LoraUse): Promise<Float32Array> {
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
      if (layer === numLayers) for (let c = 0; c < C; c++) sum[c]! *= this.#blocks.finalNorm.data[c]!;
      const length = Math.max(Math.sqrt(sum.reduce((total, value) => total + value * value, 0)), 1e-12);
      for (let c = 0; c < C; c++) out[b * C + c] = sum[c]! / length;
    }
    return out;
  }

  async blockInputs(batch: SequenceBatch, heard: (layer: number, x: Float32Array) => void): Promise<void> {
    await this.#forward(batch, undefined, this.config.numLayers - 1, heard);
  }

  learner(input: LearnerInput): Learner {
    return new OnnxLearner(this.#blocks, input);
  }

  dispose(): void {
    this.#blocks.dispose();
  }

  /** Hidden states after some blocks, not normalised: (M, C). */
  async #forward(
    batch: SequenceBatch,
    lora: LoraUse | undefined,
    blocks: number,
    heard?: (layer: number, x: Float32Array) => void,
  ): Promise<Float32Array> {
    const adapters = lora && (lora.adapters as HostAdapters).stacked;
    const gate = adapters && gateOf(adapters, lora.gates, batch);
    let x = this.#blocks.embedTokens(batch);
    let y: Float32Array = new Float32Array(x.length);
    heard?.(0, x);
    for (let layer = 0; layer < blocks; layer++) {
      const { forward } = this.#blocks.compiledBlock(layer, batch, adapters?.layout, false);
      const inputs = this.#blocks.layerInputs(layer, batch, adapters).set(NAMES.x, x);
      if (gate !== undefined) inputs.set(NAMES.gate, gate);
      await forward.run(ordered(forward, inputs), [y]);
      [x, y] = [y, x];
      heard?.(layer + 1, x);
    }
    return x;
  }

  /** Runs the head on the rows whose next token is wanted, a slice at a time. */
  async #onRows(
    batch: TargetRows,
    lora: LoraUse | undefined,
    wants: 'logits' | 'predictions',
    use: (s: OnnxSession, inputs: NumberArray[], from: number, count: number, size: number) => Promise<void>,
  ): Promise<void> {
    const { hiddenSize: C, numLayers } = this.config;
    const hidden = await this.#forward(batch, lora, numLayers);
    const adapters = lora && (lora.adapters as HostAdapters).stacked;
    const module = adapters?.layout.modules.find(({ name }) => name === 'lm_head');
    const R = module === undefined ? 0 : adapters!.layout.adapters * adapters!.layout.r;
    for (const { from, count, size } of this.#blocks.headSlices(batch.rows.length)) {
      const session = this.#blocks.headProgram(`${wants},${size},${R}`, () =>
        predictProgram(this.config, size, R, wants),
      );
      const rows = takeRows(hidden, C, batch.rows.subarray(from, from + count), size);
      const inputs: NumberArray[] = [rows, this.#blocks.finalNorm.data, this.#blocks.head.data];
      if (module !== undefined) {
        const { parameters, layout, loraAlpha } = adapters!;
        const { a, b } = factorRanges(module, R);
        const gate = new Float32Array(size * R);
        const ofSequences = gateRows(lora!.gates, { T: 1 }, layout.r, loraAlpha / layout.r);
        for (let i = 0; i < count; i++) {
          const row = batch.rows[from + i]!;
          const owner = batch.packed?.question[row] ?? Math.floor(row / batch.T);
          gate.set(ofSequences.subarray(owner * R, (owner + 1) * R), i * R);
        }
        inputs.push(parameters.subarray(...a), parameters.subarray(...b), gate);
      }
      await use(session, inputs, from, count, size);
    }
  }
}

/** Adapters in plain arrays need no place of their own. */
class HostAdapters implements AttachedAdapters {
  constructor(readonly stacked: StackedAdapters) {}

  dispose(): void {}
}

function meanSquare(x: Float32Array): number {
  let sum = 0;
  for (const value of x) sum += value * value;
  return sum / x.length;
}
