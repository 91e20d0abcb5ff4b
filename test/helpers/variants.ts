/** The models of scripts/fixtures/variants.py: fixtures under another config.json, with transformers' logits. */

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HfModel } from '../../src/hf/model.js';
import { type TensorToWrite, writeSafetensors } from '../../src/safetensors/write.js';
import { temporaryDir } from './files.js';
import { fixture, fixtureJson, fixtureTensors } from './fixtures.js';

interface Variants {
  ids: number[];
  stride: number;
  variants: Record<string, { model: string; changes: Record<string, unknown> }>;
}

const { ids, stride, variants } = fixtureJson<Variants>('variants.json');

export const VARIANT_IDS = ids;
export const VARIANTS = Object.keys(variants);

/** A directory of the variant, and transformers' logits (T, V/stride): of every stride-th token. */
export function variant(name: string) {
  const { model, changes } = variants[name]!;
  const base = fixture(model);
  const dir = join(temporaryDir(), name.replace('/', '-'));
  cpSync(base, dir, { recursive: true });
  const tensors = fixtureTensors('variants.safetensors');
  const config = JSON.parse(readFileSync(join(base, 'config.json'), 'utf8'));
  const kept = Object.entries(changes).filter(([key, value]) => value !== null || key === 'sliding_window');
  for (const key of Object.keys(changes)) delete config[key];
  writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...config, ...Object.fromEntries(kept) }));
  const prefix = `${name}/added/`;
  const added = [...tensors.keys()].filter((key) => key.startsWith(prefix));
  const isTied = changes.tie_word_embeddings === true;
  if (added.length > 0 || isTied) {
    const source = HfModel.open(base);
    const names = source.tensorNames().filter((key) => !(isTied && key === 'lm_head.weight'));
    const all = names.map((key): TensorToWrite => {
      return { name: key, dtype: 'F32', shape: source.info(key).shape, data: source.readF32(key) };
    });
    source.close();
    for (const key of added) {
      const data = tensors.get(key)!;
      const { hiddenSize } = source.config;
      const shape = key.endsWith('.bias') ? [data.length] : [data.length / hiddenSize, hiddenSize];
      all.push({ name: key.slice(prefix.length), dtype: 'F32', shape, data });
    }
    writeSafetensors(join(dir, 'model.safetensors'), all, { format: 'pt' });
  }
  return { dir, logits: tensors.get(`${name}/logits`)!, stride };
}
