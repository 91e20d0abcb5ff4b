/**
 * What `svd` and `linear` blends need of a pool's adapters whatever the user: for each side of a module, R with R^T R the Gram matrix of
 * all adapters' components. Computing it is most of such a blend's time, so a large pool has it in a file beside the adapters:
 * `<module>.lora_A` and `.lora_B`, F64, the columns of R down to the diagonal, one after another. A pool without it blends all the same.
 */

import { join } from 'node:path';
import { thinQr } from '../core/linalg/qr.js';
import { exists } from '../files/io.js';
import type { LoraModule, LoraSide, PeftAdapter } from '../peft/read.js';
import { SafetensorsFile } from '../safetensors/read.js';
import { type TensorToWrite, writeSafetensors } from '../safetensors/write.js';
import { membersOf, type Pool } from './pool.js';

export const POOL_FACTORS = 'factors.safetensors';
const FORMAT = 'crayon-factors-1';

/** Below so many products a blend computes them in a few tenths of a second; the file is not worth its bytes. */
const WORTHWHILE_PRODUCTS = 5e8;

/** A side is kept where its vectors are this many times as long as there are components: R then takes a quarter of its bytes at most. */
const WORTHWHILE_LENGTH = 4;

export interface PoolFactors {
  /** Both sides of a module, null where a side is not kept; to be given away. */
  triangles(module: string): { a: Float64Array | null; b: Float64Array | null };
  close(): void;
}

/** A module's stack over all adapters that have it. */
interface Stacked {
  name: string;
  in: number;
  out: number;
  k: number;
  parts: Array<{ adapter: PeftAdapter; module: LoraModule }>;
}

/**
 * Writes the file into a pool's directory, or nothing where the pool is small or its adapters do not fit one another.
 *
 * @param digests of the adapters, as the manifest has them
 * @param fewest products that are worth the file
 */
export function writePoolFactors(
  dir: string,
  adapters: readonly PeftAdapter[],
  digests: readonly string[],
  fewest = WORTHWHILE_PRODUCTS,
): void {
  const modules = new Map<string, Stacked>();
  for (const adapter of adapters) {
    for (const module of adapter.modules) {
      const { name, r } = module;
      const stacked = modules.get(name) ?? { name, in: module.in, out: module.out, k: 0, parts: [] };
      if (stacked.in !== module.in || stacked.out !== module.out) return; // blending says so
      stacked.k += r;
      stacked.parts.push({ adapter, module });
      modules.set(name, stacked);
    }
  }
  const all = [...modules.values()];
  if (all.reduce((sum, { k, in: inputs, out }) => sum + (k * k * (inputs + out)) / 2, 0) < fewest) return;
  const tensors = all.flatMap((stacked): TensorToWrite[] => {
    const { name, k } = stacked;
    return (['A', 'B'] as const)
      .filter((side) => lengthOf(stacked, side) >= WORTHWHILE_LENGTH * k)
      .map((side) => ({
        name: tensorName(name, side),
        dtype: 'F64',
        shape: [(k * (k + 1)) / 2],
        data: () => triangle(stacked, side),
      }));
  });
  writeSafetensors(join(dir, POOL_FACTORS), tensors, { format: FORMAT, adapters: digests.join(' ') });
}

/** What the pool keeps of its adapters; null where it keeps nothing, or that of others. The caller closes it. */
export function openPoolFactors({ dir, manifest }: Pick<Pool, 'dir' | 'manifest'>): PoolFactors | null {
  const path = join(dir, POOL_FACTORS);
  if (!exists(path)) return null;
  const file = SafetensorsFile.open(path);
  const { format, adapters } = file.metadata;
  if (
    format !== FORMAT ||
    adapters !==
      membersOf(manifest)
        .map(({ sha256 }) => sha256)
        .join(' ')
  ) {
    file.close();
    return null;
  }
  const read = (name: string): Float64Array | null => {
    if (file.tensors.get(name)?.dtype !== 'F64') return null;
    return new Float64Array(file.readBytes(name).buffer);
  };
  return {
    triangles: (module) => ({ a: read(tensorName(module, 'A')), b: read(tensorName(module, 'B')) }),
    close: () => file.close(),
  };
}

const tensorName = (module: string, side: LoraSide): string => `${module}.lora_${side}`;

const lengthOf = ({ in: inputs, out }: Stacked, side: LoraSide): number => (side === 'A' ? inputs : out);

function triangle(stacked: Stacked, side: LoraSide): Float64Array {
  const { k, parts } = stacked;
  const n = lengthOf(stacked, side);
  const x = new Float64Array(k * n);
  let component = 0;
  for (const { adapter, module } of parts) {
    const data = side === 'A' ? adapter.readA(module) : adapter.readB(module);
    const [perComponent, perEntry] = side === 'A' ? [n, 1] : [1, module.r];
    for (let j = 0; j < module.r; j++, component++) {
      for (let t = 0; t < n; t++) x[component * n + t] = data[j * perComponent + t * perEntry]!;
    }
  }
  const { r } = thinQr(x, k, n);
  const packed = new Float64Array((k * (k + 1)) / 2);
  for (let j = 0, at = 0; j < k; j++) for (let i = 0; i <= j; i++, at++) packed[at] = r[i * k + j]!;
  return packed;
}
