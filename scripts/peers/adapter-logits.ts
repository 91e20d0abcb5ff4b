/**
 * Crayon's side of check_blend_in_peft.py: blends adapters into one, and writes the logits that crayon computes with it.
 *
 *     npx tsx scripts/peers/adapter-logits.ts --base MODEL_DIR --adapter DIR [--adapter DIR ...] \
 *         --ids ids.json --out OUT_DIR [--coefficients 0.5,0.3,0.2] [--combine cat|svd|linear] [--rank R] [--force]
 *
 * Writes OUT_DIR/adapter (skipped for a single adapter without coefficients, which is taken as it is) and
 * OUT_DIR/logits.safetensors with `logits` (B, T, V), zero at padding positions. ids.json as in check_blend_in_peft.py.
 */

import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { blendAdapters } from '../../src/blend/blend.js';
import { openBase } from '../../src/gguf/base.js';
import type { CombineKind } from '../../src/lora/combine.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { openNetwork } from '../../src/model/open-network.js';
import { openPeftAdapter } from '../../src/peft/read.js';
import { writeSafetensors } from '../../src/safetensors/write.js';
import { stackAdapters } from '../../src/train/adapter-lora.js';

const { values } = parseArgs({
  options: {
    base: { type: 'string' },
    adapter: { type: 'string', multiple: true },
    ids: { type: 'string' },
    out: { type: 'string' },
    coefficients: { type: 'string' },
    combine: { type: 'string', default: 'cat' },
    rank: { type: 'string' },
    force: { type: 'boolean', default: false },
  },
});

const base = required('base', values.base);
const out = required('out', values.out);
const dirs = required('adapter', values.adapter);
const rows = readRows(required('ids', values.ids));
mkdirSync(out, { recursive: true });

const adapterDir = dirs.length === 1 && values.coefficients === undefined ? dirs[0]! : blend();
const backend = await chooseBackend('auto');
const adapter = openPeftAdapter(adapterDir);
const source = openBase(base);
const model = openNetwork(source);
const { vocabSize: V } = model.config;
const T = Math.max(...rows.map((row) => row.length));
const logits = new Float32Array(rows.length * T * V);
for (const [b, row] of rows.entries()) logits.set(await forward(row), b * T * V);
const file = join(out, 'logits.safetensors');
writeSafetensors(file, [{ name: 'logits', dtype: 'F32', shape: [rows.length, T, V], data: logits }]);
console.log(`adapter ${adapterDir}, logits ${file}, back end ${backend.detail}`);
adapter.close();
source.close();
releaseBackend();

function blend(): string {
  const dir = join(out, 'adapter');
  const adapters = dirs.map((path) => openPeftAdapter(path));
  const result = blendAdapters({
    adapters,
    coefficients: required('coefficients', values.coefficients).split(',').map(Number),
    combine: values.combine as CombineKind,
    ...(values.rank === undefined ? {} : { rank: Number(values.rank) }),
    baseModel: base,
    out: dir,
    force: values.force,
  });
  for (const opened of adapters) opened.close();
  const worst = Math.max(...result.modules.map(({ relativeError }) => relativeError));
  console.log(`blend of rank ${result.rank}, largest relative error of a module ${worst.toPrecision(3)}`);
  for (const notice of result.notices) console.log(`  ${notice}`);
  return dir;
}

/** (T) -> T * V numbers; one row at a time, as the peer does it. */
async function forward(row: number[]): Promise<Float32Array> {
  const adapters = model.attach(stackAdapters([adapter], source));
  const rows = Int32Array.from(row, (_, t) => t);
  const batch = { ids: Int32Array.from(row), B: 1, T: row.length, rows };
  const logits = await model.targetLogits(batch, { adapters, gates: [[1]] });
  adapters.dispose();
  return logits;
}

function readRows(path: string): number[][] {
  const content = JSON.parse(readFileSync(path, 'utf8')) as number[][] | { ids: number[][]; lengths?: number[] };
  if (Array.isArray(content)) return content;
  return content.ids.map((row, b) => row.slice(0, content.lengths?.[b]));
}

function required<T>(name: string, value: T | undefined): T {
  if (value === undefined) throw new Error(`--${name} is required`);
  return value;
}
