/** A stack of LoRAs and its mixtures, beside the sum of their dense updates. */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import type { GgufValue } from '../../src/gguf/format.js';
import {
  planLoraStack,
  type StackType,
  stackBytes,
  weighLoraStack,
  writeLoraStack,
} from '../../src/gguf/lora-stack.js';
import { GgufFile } from '../../src/gguf/read.js';
import { writeGguf } from '../../src/gguf/write.js';
import { temporaryDir } from '../helpers/files.js';

interface Made {
  path: string;
  alpha: number;
  /** by weight: (r, in) and (out, r) */
  factors: Map<string, { r: number; a: Float32Array; b: Float32Array }>;
}

const SHAPES = { 'blk.0.attn_q.weight': [64, 48], 'blk.0.ffn_down.weight': [96, 40] } as const;

function member(
  dir: string,
  n: number,
  ranks: Partial<Record<keyof typeof SHAPES, number>>,
  alpha: number,
  loudness = 1,
): Made {
  const random = createRandom(n, 'lora-stack');
  const numbers = (length: number) => Float32Array.from({ length }, () => random.normal());
  const factors: Made['factors'] = new Map();
  for (const [name, r] of Object.entries(ranks)) {
    const [width, height] = SHAPES[name as keyof typeof SHAPES];
    factors.set(name, { r, a: numbers(r * width), b: numbers(height * r).map((x) => loudness * x) });
  }
  const path = join(dir, `${n}.gguf`);
  write(path, alpha, factors);
  return { path, alpha, factors };
}

function write(path: string, alpha: number, factors: Made['factors'], architecture = 'llama'): void {
  const text = (value: string): GgufValue => ({ type: 'string', value });
  writeGguf(
    path,
    new Map([
      ['general.architecture', text(architecture)],
      ['general.type', text('adapter')],
      ['adapter.type', text('lora')],
      ['adapter.lora.alpha', { type: 'float32', value: alpha }],
    ]),
    [...factors].flatMap(([name, { r, a, b }]) => [
      { name: `${name}.lora_a`, shape: [r, a.length / r], type: 'F32' as const, data: () => a },
      { name: `${name}.lora_b`, shape: [b.length / r, r], type: 'F32' as const, data: () => b },
    ]),
    { force: true },
  );
}

/** B A, (out, in). */
function product(a: Float32Array, b: Float32Array, r: number): Float64Array {
  const [width, height] = [a.length / r, b.length / r];
  const dense = new Float64Array(height * width);
  for (let i = 0; i < height; i++) {
    for (let k = 0; k < r; k++) {
      for (let j = 0; j < width; j++) dense[i * width + j]! += b[i * r + k]! * a[k * width + j]!;
    }
  }
  return dense;
}

function mixed(members: readonly Made[], weights: readonly number[], name: string): Float64Array {
  const [width, height] = SHAPES[name as keyof typeof SHAPES];
  const sum = new Float64Array(width * height);
  for (const [n, { alpha, factors }] of members.entries()) {
    const own = factors.get(name);
    if (own === undefined) continue;
    for (const [i, x] of product(own.a, own.b, own.r).entries()) sum[i]! += (weights[n]! * alpha * x) / own.r;
  }
  return sum;
}

function written(path: string, name: string): Float64Array {
  const file = GgufFile.open(path);
  try {
    expect(file.metadata.get('adapter.lora.alpha')?.value).toBe(0); // llama.cpp: no alpha, no division by the rank
    const [r] = file.info(`${name}.lora_a`).shape;
    expect(r! % 32).toBe(0);
    return product(file.readF32(`${name}.lora_a`), file.readF32(`${name}.lora_b`), r!);
  } finally {
    file.close();
  }
}

const length = (values: Float64Array) => Math.hypot(...values);
const apart = (found: Float64Array, wanted: Float64Array) =>
  length(found.map((x, i) => x - wanted[i]!)) / length(wanted);

const made = (dir: string): Made[] => [
  member(dir, 0, { 'blk.0.attn_q.weight': 4, 'blk.0.ffn_down.weight': 4 }, 8),
  member(dir, 1, { 'blk.0.attn_q.weight': 8 }, 16), // does not adapt the other
  member(dir, 2, { 'blk.0.ffn_down.weight': 3, 'blk.0.attn_q.weight': 16 }, 5, 0.01), // a quiet one
  member(dir, 3, { 'blk.0.attn_q.weight': 8, 'blk.0.ffn_down.weight': 30 }, 4),
];

describe('a mixture of stacked LoRAs', () => {
  it.each([
    ['F32', 1e-6],
    ['Q8_0', 0.012], // two factors, each rounded by some 0.6 % of its size
  ] as Array<[StackType, number]>)(
    'in %s is the sum of its members by their weights, of any ranks and scales',
    (type, close) => {
      const dir = temporaryDir();
      const members = made(dir);
      const plan = planLoraStack(members.map(({ path }) => path));
      expect(plan.fitsBlocks).toBe(true);
      const stack = join(dir, 'all.gguf');
      writeLoraStack(plan, type, stack);
      const out = join(dir, 'mixture.gguf');
      for (const weights of [
        [1, 1, 1, 1],
        [0.1, -0.5, 1, 0.003],
        [0, 0, 1, 0],
      ]) {
        weighLoraStack(plan, type, stack, weights, out);
        for (const name of Object.keys(SHAPES)) {
          const wanted = mixed(members, weights, name);
          expect(apart(written(out, name), wanted), `${name} at ${weights}`).toBeLessThan(close);
        }
      }
      const file = GgufFile.open(out);
      file.close();
      const tensorBytes = [...file.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
      expect(tensorBytes).toBe(stackBytes(plan, type));
    },
  );

  it('whose rows are no whole blocks is known by its headers', () => {
    const dir = temporaryDir();
    const factors = new Map([['blk.0.attn_q.weight', { r: 2, a: new Float32Array(2 * 50), b: new Float32Array(96) }]]);
    write(join(dir, 'odd.gguf'), 2, factors);
    expect(planLoraStack([join(dir, 'odd.gguf')]).fitsBlocks).toBe(false);
  });

  it('of other models is refused', () => {
    const dir = temporaryDir();
    const [first, second] = made(dir);
    const other = join(dir, 'other.gguf');
    write(other, 8, second!.factors, 'qwen2');
    expect(() => planLoraStack([first!.path, other])).toThrow(/other\.gguf: another architecture than in .*0\.gguf/);
    const { r } = second!.factors.get('blk.0.attn_q.weight')!;
    const wide = { r, a: new Float32Array(r * 32), b: new Float32Array(48 * r) };
    write(other, 8, new Map([['blk.0.attn_q.weight', wide]]));
    expect(() => planLoraStack([first!.path, other])).toThrow(/another shape/);
  });

  it('leaves nothing behind where its stack is damaged', () => {
    const dir = temporaryDir();
    const plan = planLoraStack(made(dir).map(({ path }) => path));
    const out = join(dir, 'mixture.gguf');
    expect(() => weighLoraStack(plan, 'F32', join(dir, '0.gguf'), [1, 1, 1, 1], out)).toThrow(
      /0\.gguf: no stack of these adapters/,
    );
    expect(() => weighLoraStack(plan, 'F32', join(dir, 'none.gguf'), [1, 1, 1, 1], out)).toThrow(/none\.gguf/);
    expect(readdirSync(dir)).not.toContain('mixture.gguf');
  });
});
