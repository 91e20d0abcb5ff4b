/** The two formats of tensors, as files of their own, against readers that others wrote. */

import { join } from 'node:path';
import { GgufFile, isGguf } from '../../../src/gguf/read.js';
import { SafetensorsFile } from '../../../src/safetensors/read.js';
import { fixture } from '../../helpers/fixtures.js';
import { readWithPeer } from '../../helpers/gguf-peer.js';
import { Finding, type Target } from '../target.js';
import { safetensorsDifference } from './safetensors-peer.js';
import { filesOf, ggufAdapters, ggufModels } from './seeds.js';

export const safetensors: Target = {
  name: 'safetensors',
  reads: 'one safetensors file: header, every tensor',
  seeds: () =>
    ['dtypes', 'newer-dtypes', 'no-tensors', 'shapes'].map(
      (name) =>
        new Map([
          ['x.safetensors', [...filesOf(fixture('safetensors'), (f) => f === `${name}.safetensors`).values()][0]!],
        ]),
    ),
  run(dir, files) {
    const file = SafetensorsFile.open(join(dir, 'x.safetensors'));
    try {
      const tensors = new Map(
        [...file.tensors].map(([name, info]) => [name, { ...info, bytes: file.readBytes(name) }]),
      );
      for (const [name, { dtype }] of tensors) if (/^(F|BF)(16|32|64)$/.test(dtype)) file.readF32(name);
      file.sample(4, 16, 64);
      const difference = safetensorsDifference(files.get('x.safetensors')!, tensors, file.metadata);
      if (difference !== null) throw new Finding('different', `the safetensors package: ${difference}`);
      return tensors.size;
    } finally {
      file.close();
    }
  },
};

export const gguf: Target = {
  name: 'gguf',
  reads: 'one GGUF file: header, metadata, every tensor dequantised',
  seeds: (scratch) =>
    [...ggufModels(scratch, ['llama', 'qwen2'], ['F32', 'F16', 'Q8_0']), ...ggufAdapters(scratch, ['llama'])].map(
      (seed) => new Map([['x.gguf', [...seed.values()][0]!]]),
    ),
  async run(dir) {
    const path = join(dir, 'x.gguf');
    isGguf(path);
    const file = GgufFile.open(path);
    try {
      for (const [name, { bytes }] of file.tensors) {
        if (file.readBytes(name).length !== bytes) throw new Finding('different', `"${name}" has another length`);
        if (file.isReadable(name)) file.readF32(name);
      }
      for (const _ of file.sample(4, 16, 64));
      await refuseUnlikePeer(path, file);
      return file.tensors.size;
    } finally {
      file.close();
    }
  },
};

/** What @huggingface/gguf refuses says nothing: it knows fewer types. */
async function refuseUnlikePeer(path: string, file: GgufFile): Promise<void> {
  const peer = await readWithPeer(path).catch(() => null);
  if (peer === null) return;
  const ours = [...file.tensors.values()].map(({ name, shape }) => ({ name, shape }));
  const theirs = peer.tensors.map(({ name, shape }) => ({ name, shape }));
  if (text(ours) !== text(theirs))
    throw new Finding(
      'different',
      `@huggingface/gguf has other tensors: ${JSON.stringify(theirs).slice(0, 300)}, not ${JSON.stringify(ours).slice(0, 300)}`,
    );
  for (const [key, { value }] of file.metadata) {
    if (!Object.hasOwn(peer.metadata, key)) continue; // a key named __proto__ is none of its plain objects
    const found = peer.metadata[key];
    if (text(found) !== text(value))
      throw new Finding(
        'different',
        `@huggingface/gguf reads ${key} as ${text(found).slice(0, 200)}, not ${text(value).slice(0, 200)}`,
      );
  }
}

/** Numbers of all kinds as texts; without byte order marks, which the package drops and which are tokens of real vocabularies. */
const text = (value: unknown) =>
  JSON.stringify(value, (_, x) => {
    if (typeof x === 'string') return x.replace(/^\ufeff/, '');
    return typeof x === 'bigint' || typeof x === 'number' ? String(x) : x;
  });
