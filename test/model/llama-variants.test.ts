/** Every setting of config.json that transformers writes for a family, with the logits that transformers computes under it. */

import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { LlamaModel } from '../../src/model/llama.js';
import { relativeDifference } from '../helpers/fixtures.js';
import { measured } from '../helpers/measured.js';
import { VARIANT_IDS, VARIANTS, variant } from '../helpers/variants.js';

beforeAll(async () => {
  await chooseBackend('cpu');
});
afterAll(releaseBackend);

it.each(VARIANTS)('%s', (name) => {
  const { dir, logits: expected, stride } = variant(name);
  const source = HfModel.open(dir);
  const model = new LlamaModel(source);
  source.close();
  const logits = tf.tidy(() => model.logits(model.forward(tf.tensor2d([VARIANT_IDS], undefined, 'int32'))).dataSync());
  const ours = logits.filter((_, i) => (i % model.config.vocabSize) % stride === 0);
  expect(measured('logits', name, relativeDifference(ours, expected))).toBeLessThan(1e-4);
  model.dispose();
});
