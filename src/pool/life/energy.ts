/**
 * How strongly an adapter answers to a prompt, from its weights alone: ||B A x|| where x is what attention reads, in the base model, at
 * each token of the prompt. With B = Q R that is ||R A x||, so a thin factor R A (r, in) is all that is needed of an adapter.
 *
 * Sources: SEQR (arXiv 2509.18093) routes by the norm, through QR, standardised for each adapter; LoGo (arXiv 2511.07129) reads it at
 * the prompt's last token; Arrow (arXiv 2405.11157) takes the largest right singular vector of B A in place of the whole. Measured here
 * (docs/pool-life.md): the mean over the prompt's tokens tells tasks apart better than the last token, and query and key projections,
 * which decide where attention looks, better than all.
 */

import { CrayonError } from '../../core/errors.js';
import { thinQr } from '../../core/linalg/qr.js';
import { eventLoopTurn } from '../../core/long-work.js';
import type { BaseModel } from '../../hf/base-model.js';
import { familyOf } from '../../hf/families.js';
import type { Network } from '../../model/network.js';
import type { LoraModule, PeftAdapter } from '../../peft/read.js';
import type { Sequences } from '../embed/kind.js';

/** One projection's thin factor, times its scale. */
interface ThinFactor {
  /** (p, in) row-major */
  ra: Float32Array;
  p: number;
}

/** Thin factors of one adapter, by the layer whose attention reads its input. */
export type AdapterFactors = ReadonlyMap<number, readonly ThinFactor[]>;

/** R of B = Q R, times scale, times A. */
function thinFactor(adapter: PeftAdapter, module: LoraModule): ThinFactor {
  const { r, in: inSize, out, scale } = module;
  const b = adapter.readB(module);
  const columns = new Float64Array(r * out);
  for (let o = 0; o < out; o++) for (let j = 0; j < r; j++) columns[j * out + o] = b[o * r + j]!;
  const { p, r: triangle } = thinQr(columns, r, out);
  const a = adapter.readA(module);
  const ra = new Float64Array(p * inSize);
  for (let i = 0; i < p; i++) {
    for (let j = 0; j < r; j++) {
      const weight = scale * triangle[i * r + j]!;
      if (weight !== 0) for (let t = 0; t < inSize; t++) ra[i * inSize + t]! += weight * a[j * inSize + t]!;
    }
  }
  return { ra: Float32Array.from(ra), p };
}

/** The projections of a block that are read: query and key where the adapter has one of them, else whatever reads attention's input. */
function readProjections(modelType: string, modules: readonly LoraModule[]): string[] {
  const { attentionIn } = familyOf(modelType).block.projections;
  const has = (name: string) => modules.some((module) => module.name.endsWith(`.${name}`));
  const [query, key] = attentionIn;
  const wanted = attentionIn.length === 3 ? [query!, key!].filter(has) : [];
  return wanted.length > 0 ? wanted : attentionIn.filter(has);
}

/** @throws CrayonError `adapter-unsupported` for an adapter without LoRA on what attention reads: its gate cannot be had from it alone */
export function adapterFactors(adapter: PeftAdapter, { config }: Pick<BaseModel, 'config'>): AdapterFactors {
  const { numLayers, modelType } = config;
  const projections = readProjections(modelType, adapter.modules);
  const byName = new Map(adapter.modules.map((module) => [module.name, module]));
  const factors = new Map<number, ThinFactor[]>();
  for (let layer = 0; layer < numLayers; layer++) {
    const modules = projections
      .map((name) => byName.get(`model.layers.${layer}.${name}`))
      .filter((m) => m !== undefined);
    // an untrained B is zero everywhere, and says nothing
    const thin = modules.map((module) => thinFactor(adapter, module)).filter(({ ra }) => ra.some((x) => x !== 0));
    if (thin.length > 0) factors.set(layer, thin);
  }
  if (factors.size > 0) return factors;
  const names = familyOf(modelType).block.projections.attentionIn.map((name) => name.split('.').at(-1));
  throw new CrayonError(
    'adapter-unsupported',
    `${adapter.dir}: changes nothing of ${names.join(', ')}, by which an adapter without examples is found`,
    { hint: 'Give examples of what it is for: crayon pool add POOL DIRECTORY --examples FILE.' },
  );
}

const BATCH = 8;

/**
 * Mean over an adapter's projections of the logarithm of its mean energy over a prompt's tokens, so that no layer outweighs the others.
 *
 * @param sequences prompts with what a forward pass starts with
 * @param skip leading tokens that are left out: BOS, which is alike in all
 * @returns (n, N) row-major
 */
export async function energies(
  model: Network,
  base: Pick<BaseModel, 'readF32' | 'config'>,
  adapters: readonly AdapterFactors[],
  sequences: Sequences,
  { skip = 0, onProgress }: { skip?: number; onProgress?: ((done: number, total: number) => void) | undefined } = {},
): Promise<Float64Array> {
  const { hiddenSize: C, numLayers, rmsNormEps } = base.config;
  const N = adapters.length;
  const { norms, normOffset } = familyOf(base.config.modelType).block;
  const normWeights = Array.from({ length: numLayers }, (_, layer) =>
    norms.attentionIn === null
      ? null
      : base.readF32(`model.layers.${layer}.${norms.attentionIn}.weight`).map((w) => w + normOffset),
  );
  const projections = adapters.map((factors) => [...factors.values()].reduce((sum, { length }) => sum + length, 0));
  const sums = new Float64Array(sequences.length * N);
  const byLength = [...sequences.keys()].sort((i, j) => sequences[i]!.length - sequences[j]!.length || i - j);
  for (let at = 0; at < byLength.length; at += BATCH) {
    const members = byLength.slice(at, at + BATCH);
    const T = Math.ceil(Math.max(...members.map((i) => sequences[i]!.length)) / 16) * 16;
    const ids = new Int32Array(members.length * T);
    for (const [b, i] of members.entries()) ids.set(sequences[i]!, b * T);
    await model.blockInputs({ ids, B: members.length, T }, (layer, hidden) => {
      const readers = adapters.map((factors, n) => ({ n, thin: factors.get(layer) ?? [] }));
      for (const [b, i] of members.entries()) {
        const { length } = sequences[i]!;
        const from = Math.min(skip, length - 1);
        const totals = readers.map(({ thin }) => new Float64Array(thin.length));
        for (let t = from; t < length; t++) {
          const x = attentionInput(
            hidden.subarray((b * T + t) * C, (b * T + t + 1) * C),
            normWeights[layer]!,
            rmsNormEps,
          );
          for (const [at, { thin }] of readers.entries()) {
            for (const [j, factor] of thin.entries()) totals[at]![j]! += length2(factor, x);
          }
        }
        for (const [at, { n }] of readers.entries()) {
          for (const total of totals[at]!) sums[i * N + n]! += Math.log(Math.max(total / (length - from), 1e-30));
        }
      }
    });
    await eventLoopTurn();
    onProgress?.(Math.min(at + BATCH, byLength.length), byLength.length);
  }
  return sums.map((sum, at) => sum / projections[at % N]!);
}

/** What attention's projections multiply: the hidden state (C), normalised where the family does so before. */
function attentionInput(hidden: Float32Array, weight: Float32Array | null, eps: number): Float32Array {
  if (weight === null) return hidden;
  let square = 0;
  for (const value of hidden) square += value * value;
  const inverse = 1 / Math.sqrt(square / hidden.length + eps);
  return hidden.map((value, c) => value * inverse * weight[c]!);
}

/** ||R A x|| */
function length2({ ra, p }: ThinFactor, x: Float32Array): number {
  const C = x.length;
  let square = 0;
  for (let i = 0, at = 0; i < p; i++, at += C) {
    let sum = 0;
    for (let c = 0; c < C; c++) sum += ra[at + c]! * x[c]!;
    square += sum * sum;
  }
  return Math.sqrt(square);
}

/** At most so many prompts make a centroid: the ones that are answered to most. */
const MOST_PROMPTS = 40;
const FEWEST_PROMPTS = 10;

/**
 * The prompts by which an adapter is found: those to which it answers more than the others do, each in deviations from its own mean over
 * all prompts; of these the strongest. One that is hardly anywhere the first has the ten where it is strongest.
 *
 * @param found (n, N) energies
 * @returns for each adapter, indices of prompts
 */
export function strongestPrompts(found: Float64Array, N: number): number[][] {
  const n = found.length / N;
  const standard = new Float64Array(found.length);
  for (let a = 0; a < N; a++) {
    const column = Array.from({ length: n }, (_, i) => found[i * N + a]!);
    const centre = column.reduce((sum, x) => sum + x, 0) / n;
    const deviation = Math.sqrt(column.reduce((sum, x) => sum + (x - centre) ** 2, 0) / n) || 1;
    for (let i = 0; i < n; i++) standard[i * N + a] = (column[i]! - centre) / deviation;
  }
  return Array.from({ length: N }, (_, a) => {
    const z = (i: number) => standard[i * N + a]!;
    const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => z(j) - z(i) || i - j);
    const first = order.filter((i) => standard.subarray(i * N, (i + 1) * N).every((other) => other <= z(i)));
    return first.length >= FEWEST_PROMPTS ? first.slice(0, MOST_PROMPTS) : order.slice(0, FEWEST_PROMPTS);
  });
}
