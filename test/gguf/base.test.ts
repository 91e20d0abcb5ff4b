/** A GGUF file as a base model beside the Hugging Face directory it was made from: the same names, numbers, tokens, settings. */

import { copyFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { GgufModel, openBase } from '../../src/gguf/base.js';
import { dequantise, encodeGgufTensor } from '../../src/gguf/encodings.js';
import type { GgufFileType } from '../../src/gguf/file-types.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import type { GgufWriteType } from '../../src/gguf/types.js';
import type { BaseModel } from '../../src/hf/base-model.js';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { LlamaModel } from '../../src/model/llama.js';
import { temporaryDir } from '../helpers/files.js';
import { fixture, MODELS, ROOT, relativeDifference } from '../helpers/fixtures.js';

const EDGE = join(ROOT, 'models', 'crayon-edge');

function exported(model: string, type: GgufFileType = 'F32'): string {
  const out = join(temporaryDir(), 'model.gguf');
  exportModelGguf({ model, out, type });
  return out;
}

/** Opens both, and closes them. */
function compare<T>(dir: string, path: string, work: (hf: HfModel, gguf: BaseModel) => T): T {
  const [hf, gguf] = [HfModel.open(dir), openBase(path)];
  try {
    return work(hf, gguf);
  } finally {
    hf.close();
    gguf.close();
  }
}

describe.each(MODELS)('%s as a GGUF in F32', (name) => {
  const dir = fixture('models', name);

  it('has the tensors of its directory bit for bit, whole and by rows', () => {
    compare(dir, exported(dir), (hf, gguf) => {
      expect(gguf).toMatchObject({ format: 'gguf' });
      expect(gguf.tensorNames().sort()).toEqual(hf.tensorNames().sort());
      for (const tensor of hf.tensorNames()) {
        const expected = hf.readF32(tensor);
        expect(gguf.readF32(tensor), tensor).toEqual(expected);
        expect(gguf.info(tensor)).toEqual({ shape: hf.info(tensor).shape, dtype: 'F32' });
        if (gguf.info(tensor).shape.length === 2) {
          expect(gguf.readRowsF32(tensor, [5, 0, 3]), tensor).toEqual(hf.readRowsF32(tensor, [5, 0, 3]));
        }
      }
    });
  });

  it('has the settings of its config.json', () => {
    compare(dir, exported(dir), (hf, gguf) => {
      const { ropeScaling, ...config } = gguf.config;
      const { ropeScaling: expectedScaling, ...expected } = hf.config;
      if (name === 'mistral' || name === 'phi3') {
        // llama.cpp knows no window here: the file promises the context in which there is none.
        Object.assign(expected, {
          modelType: name === 'mistral' ? 'llama' : name,
          slidingWindow: null,
          maxPositionEmbeddings: expected.slidingWindow,
        });
      }
      expect(config).toEqual({ ...expected, eosTokenIds: expected.eosTokenIds.slice(0, 1) });
      if (expectedScaling?.type === 'llama3') expect(ropeScaling?.type).toBe('factors');
      else expect(ropeScaling).toEqual(expectedScaling);
    });
  });

  it('has its tokenizer', () => {
    compare(dir, exported(dir), (hf, gguf) => {
      const [theirs, ours] = [hf.tokenizer(), gguf.tokenizer()];
      for (const text of ['Once upon a time', '  two  spaces\n\nand lines', 'naïve 漢字 😀 1234567']) {
        const ids = theirs.encode(text);
        expect(ours.encode(text)).toEqual(ids);
        expect(ours.decode(ids)).toBe(theirs.decode(ids));
      }
    });
  });
});

it('ends answers where its directory does, as far as the file holds the tokens', () => {
  const dir = join(temporaryDir(), 'model');
  cpSync(fixture('end-tokens', 'model'), dir, { recursive: true });
  for (const [ids, held] of [
    [[7], [1, 7]],
    [
      [1, 265, 9],
      [1, 265, 9],
    ],
    [
      [1, 265, 9, 8],
      [1, 265, 9],
    ],
  ] as const) {
    writeFileSync(join(dir, 'generation_config.json'), JSON.stringify({ eos_token_id: ids }));
    compare(dir, exported(dir), (hf, gguf) => {
      expect(hf.endTokenIds).toEqual([...new Set([1, ...ids])]);
      expect(gguf.endTokenIds).toEqual([...held].sort((a, b) => a - b));
    });
  }
});

describe('narrower types', () => {
  it.each<GgufFileType & GgufWriteType>(['F16', 'Q8_0'])(
    '%s gives the numbers that are stored, in the order of the directory',
    (type) => {
      const dir = fixture('models', 'llama');
      compare(dir, exported(dir, type), (hf, gguf) => {
        const stored = new Set<string>();
        for (const tensor of hf.tensorNames()) {
          const data = hf.readF32(tensor);
          const dtype = gguf.info(tensor).dtype as GgufWriteType;
          stored.add(dtype);
          // Blocks lie within a row, so that what a row becomes does not depend on where it stands.
          const expected = new Float32Array(data.length);
          dequantise(dtype, encodeGgufTensor(dtype, data, tensor), expected);
          expect(gguf.readF32(tensor), tensor).toEqual(expected);
          if (dtype !== 'F32') expect(expected, tensor).not.toEqual(data);
        }
        expect(stored).toContain(type);
      });
    },
  );
});

describe('the rotary embedding of a GGUF', () => {
  const lastState = (base: BaseModel): Float32Array =>
    tf.tidy(() => {
      const model = new LlamaModel(base);
      const state = model.forward(tf.tensor2d([Array.from({ length: 48 }, (_, i) => 5 + 3 * i)], undefined, 'int32'));
      const data = state.dataSync().slice() as Float32Array;
      model.dispose();
      return data;
    });

  it.each([
    ['llama-rope3', 'factors'],
    ['llama-linear', 'linear'],
  ])('of %s turns as its directory says, and not without it', async (name, type) => {
    await chooseBackend('cpu');
    const dir = fixture('models', name);
    compare(dir, exported(dir), (hf, gguf) => {
      expect(gguf.config.ropeScaling?.type).toBe(type);
      const expected = lastState(hf);
      expect(relativeDifference(lastState(gguf), expected)).toBeLessThan(1e-5);
      gguf.config.ropeScaling = null;
      expect(relativeDifference(lastState(gguf), expected)).toBeGreaterThan(1e-3);
    });
    releaseBackend();
  });
});

describe('digests', () => {
  it('are the same for a copy, and others for another model, vocabulary or weight', () => {
    const path = exported(EDGE);
    const digests = (file: string) => {
      const base = GgufModel.open(file);
      const both = [base.digest(), base.tokenizerDigest()];
      base.close();
      return both;
    };
    const [weights, tokenizer] = digests(path);
    const copy = join(temporaryDir(), 'copy.gguf');
    copyFileSync(path, copy);
    expect(digests(copy)).toEqual([weights, tokenizer]);
    const bytes = readFileSync(path);
    bytes[bytes.length - 5]! ^= 1;
    writeFileSync(copy, bytes);
    expect(digests(copy)).toEqual([expect.not.stringMatching(weights!), tokenizer]);
    const [other, otherTokenizer] = digests(exported(fixture('models', 'qwen2')));
    expect(other).not.toBe(weights);
    expect(otherTokenizer).not.toBe(tokenizer);
    expect(digests(exported(EDGE, 'F16'))).toEqual([expect.not.stringMatching(weights!), tokenizer]);
  });
});
