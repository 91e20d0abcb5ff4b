/** Adapters for tests: written to disk, or made up in memory. */
import { join } from 'node:path';
import { createRandom } from '../../src/core/random.js';
import type { LoraFactors } from '../../src/lora/combine.js';
import { parsePeftConfig } from '../../src/peft/config.js';
import type { LoraModule, PeftAdapter } from '../../src/peft/read.js';
import { writePeftAdapter } from '../../src/peft/write.js';

export interface ModuleSpec {
  name: string;
  in: number;
  out: number;
}

export const MODULES: ModuleSpec[] = [
  { name: 'model.layers.0.self_attn.q_proj', in: 24, out: 32 },
  { name: 'model.layers.0.mlp.down_proj', in: 48, out: 24 },
  { name: 'model.layers.1.self_attn.q_proj', in: 24, out: 32 },
];

/** Writes a random adapter and returns its directory. `poison` puts that value into lora_B of the last module. */
export function writeRandomAdapter(
  dir: string,
  name: string,
  options: { seed: number; r?: number; loraAlpha?: number; modules?: ModuleSpec[]; poison?: number },
): string {
  const { seed, r = 2, loraAlpha = 4, modules = MODULES, poison } = options;
  const path = join(dir, name);
  const values = (label: string, count: number): Float32Array => {
    const random = createRandom(seed, label);
    return Float32Array.from({ length: count }, () => random.normal());
  };
  writePeftAdapter(path, {
    baseModel: 'tiny',
    r,
    loraAlpha,
    targetModules: [...new Set(modules.map((module) => module.name.split('.').at(-1)!))],
    modules: modules.map((module, i) => ({
      ...module,
      r,
      a: () => values(`${module.name}.A`, r * module.in),
      b: () => {
        const b = values(`${module.name}.B`, module.out * r);
        if (poison !== undefined && i === modules.length - 1) b[3] = poison;
        return b;
      },
    })),
  });
  return path;
}

/** An adapter that exists only as arithmetic: any size, no file. */
export function virtualAdapter(seed: number, modules: ModuleSpec[], r: number): PeftAdapter {
  const config = parsePeftConfig(
    { peft_type: 'LORA', r, lora_alpha: r, target_modules: modules.map(({ name }) => name) },
    'virtual',
  );
  const fill = (target: Float32Array, label: string): void => {
    const random = createRandom(seed, label);
    for (let i = 0; i < target.length; i++) target[i] = random.uniform() - 0.5;
  };
  const adapter: PeftAdapter = {
    dir: `virtual-${seed}`,
    config,
    modules: modules.map((module) => ({ ...module, r, scale: 1 })),
    copies: [],
    compareCopies: () => {},
    sizeBytes: 0,
    readA: (module) => {
      const a = new Float32Array(module.r * module.in);
      adapter.readAInto(module, a);
      return a;
    },
    readB: (module) => {
      const b = new Float32Array(module.out * module.r);
      adapter.readBInto(module, b);
      return b;
    },
    readAInto: (module, target) => fill(target, `${module.name}.A`),
    readBInto: (module, target) => fill(target, `${module.name}.B`),
    validate: () => {},
    close: () => {},
  };
  return adapter;
}

/** One module's factors, or undefined when the adapter lacks it. */
export function factorsOf(adapter: PeftAdapter, name: string): LoraFactors | undefined {
  const module: LoraModule | undefined = adapter.modules.find((candidate) => candidate.name === name);
  if (module === undefined) return undefined;
  return { r: module.r, scale: module.scale, a: adapter.readA(module), b: adapter.readB(module) };
}

/** sum_n alpha_n s_n B_n A_n of one module, dense (out, in), in float64. */
export function denseDelta(adapters: PeftAdapter[], coefficients: number[], { name, in: inputs, out }: ModuleSpec) {
  const delta = new Float64Array(out * inputs);
  for (const [n, adapter] of adapters.entries()) {
    const factors = factorsOf(adapter, name);
    if (factors === undefined) continue;
    const { a, b, r, scale } = factors;
    for (let o = 0; o < out; o++)
      for (let j = 0; j < r; j++)
        for (let i = 0; i < inputs; i++)
          delta[o * inputs + i]! += coefficients[n]! * scale * b[o * r + j]! * a[j * inputs + i]!;
  }
  return delta;
}

/** |x - y| / |y| */
export function relativeDistance(x: Float64Array, y: Float64Array): number {
  const square = (values: Float64Array): number => values.reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt(square(x.map((value, i) => value - y[i]!)) / square(y));
}
