/** A GGUF file as a base model beside the Hugging Face directory it was made from: the same names, numbers, tokens, settings. */

import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GgufModel, openBase } from '../../src/gguf/base.js';
import type { GgufFileType } from '../../src/gguf/file-types.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import type { BaseModel } from '../../src/hf/base-model.js';
import { HfModel } from '../../src/hf/model.js';
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
      if (name === 'mistral') {
        // llama.cpp knows no window here: the file promises the context in which there is none.
        Object.assign(expected, {
          modelType: 'llama',
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

describe('narrower types', () => {
  it.each<[GgufFileType, number]>([
    ['F16', 2 ** -11],
    ['Q8_0', 2 ** -7],
  ])('%s gives the numbers that are stored', (type, most) => {
    const dir = fixture('models', 'llama');
    compare(dir, exported(dir, type), (hf, gguf) => {
      for (const tensor of hf.tensorNames()) {
        expect(relativeDifference(gguf.readF32(tensor), hf.readF32(tensor)), tensor).toBeLessThan(most);
      }
    });
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
