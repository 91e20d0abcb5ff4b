/** Models under every setting of config.json, exported: llama.cpp computes what we do, or the export is refused by name. */

import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBase } from '../../src/gguf/base.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { ggufArchitecture } from '../../src/hf/families.js';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { LlamaModel, type WeightSource } from '../../src/model/llama.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { endLlamaCpp, nextProbabilities } from '../helpers/llama-cpp.js';
import { measured } from '../helpers/measured.js';
import { VARIANT_IDS, VARIANTS, variant } from '../helpers/variants.js';

/** What llama.cpp would compute otherwise. */
const REFUSED: Record<string, RegExp> = {
  'llama/yarn-mscale': /beta_fast and beta_slow/,
  'llama/yarn-attention-factor': /truncate false/,
  'llama/dynamic': /rope type dynamic/,
  'mistral/dynamic': /rope type dynamic/,
  'qwen3/biases': /a bias on the o projection/,
  'gemma3/transformers-4': /query_pre_attn_scalar 20, where it takes 8, and layer_types .*theta of 500/,
  'gemma3/layer-types': /layer_types .*rope type yarn on some layers only and rope scaling on layers with a window/,
  'gemma3/biases': /a bias on the o projection/,
  'olmo2/biases': /a bias on the o projection/,
  'olmo2/tied': /tied embeddings/,
  'smollm3/no-rope-layers': /no_rope_layers other than every fourth/,
  'smollm3/interval': /no_rope_layers other than every fourth/,
  'smollm3/biases': /a bias on the o projection/,
};
const RUN = VARIANTS.filter((name) => !Object.hasOwn(REFUSED, name));

beforeAll(async () => {
  await chooseBackend('cpu');
});
afterAll(releaseBackend);
endLlamaCpp();

/** (T, V) of our forward pass. */
function probabilitiesOf(source: WeightSource, ids: readonly number[]): Float32Array {
  const model = new LlamaModel(source);
  const p = tf.tidy(() => {
    return tf
      .softmax(model.logits(model.forward(tf.tensor2d([[...ids]], undefined, 'int32'))))
      .dataSync() as Float32Array;
  });
  model.dispose();
  return p;
}

const logDifference = (p: Float32Array, q: Float32Array) =>
  p.reduce((most, x, i) => Math.max(most, Math.abs(Math.log(x / q[i]!))), 0);

describe.each(RUN)('%s', (name) => {
  it('is computed alike by llama.cpp, and from the file', async () => {
    const { dir } = variant(name);
    const out = join(temporaryDir(), 'model.gguf');
    exportModelGguf({ model: dir, out, type: 'F32' });
    const [hf, gguf] = [HfModel.open(dir), openBase(out)];
    // Where llama.cpp has no window, the file promises the context in which there is none.
    const { modelType, slidingWindow } = hf.config;
    const isCut = slidingWindow !== null && !ggufArchitecture(modelType).hasWindow;
    const ids = isCut ? VARIANT_IDS.slice(0, slidingWindow) : VARIANT_IDS;
    const ours = probabilitiesOf(hf, ids);
    expect(logDifference(probabilitiesOf(gguf, ids), ours)).toBeLessThan(1e-5);
    // llama.cpp looks GELU up in a table of float16
    const difference = logDifference(await nextProbabilities(out, ids), ours);
    expect(measured('llama.cpp', name, difference)).toBeLessThan(name.startsWith('gemma3') ? 0.01 : 1e-4);
    hf.close();
    gguf.close();
  });
});

it.each(Object.entries(REFUSED))('%s is refused', (name, message) => {
  const error = errorOf(() =>
    exportModelGguf({ model: variant(name).dir, out: join(temporaryDir(), 'x'), type: 'F32' }),
  );
  expect(error.code).toBe('model-unsupported');
  expect(error.message).toMatch(message);
});
