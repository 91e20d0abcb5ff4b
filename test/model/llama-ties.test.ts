/** Whether output matrix and embeddings are one, as transformers 5 finds it in the file, and what follows for logits and gradients. */

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hearingWarnings } from '../../src/core/warning.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { GgufFile } from '../../src/gguf/read.js';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { LlamaModel } from '../../src/model/llama.js';
import { type TensorToWrite, writeSafetensors } from '../../src/safetensors/write.js';
import { temporaryDir } from '../helpers/files.js';
import { fixture, fixtureJson, fixtureTensors, relativeDifference } from '../helpers/fixtures.js';

interface Ties {
  ids: number[];
  stride: number;
  cases: Record<string, { model: string; change: string | null; tied: boolean; logits: number[] }>;
}

const { ids, stride, cases } = fixtureJson<Ties>('identity', 'ties.json');
const EMBEDDINGS = 'model.embed_tokens.weight';

beforeAll(async () => {
  await chooseBackend('cpu');
});
afterAll(releaseBackend);

/** The directory that scripts/fixtures/identity.py made. */
function directoryOf(name: string): string {
  const { model, change } = cases[name]!;
  const dir = join(temporaryDir(), 'model');
  cpSync(fixture('models', model), dir, { recursive: true });
  const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8'));
  writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...config, tie_word_embeddings: true }));
  const source = HfModel.open(fixture('models', model));
  const shapeOf = new Map(source.tensorNames().map((key) => [key, source.info(key).shape]));
  source.close();
  const stored = fixtureTensors('models', model, 'model.safetensors');
  if (change !== null) stored.set('lm_head.weight', stored.get(EMBEDDINGS)!.slice());
  const { hiddenSize } = source.config;
  if (change === 'row') {
    const row = stored.get('lm_head.weight')!.subarray(77 * hiddenSize, 78 * hiddenSize);
    row.set(row.map((x) => x + 1));
  }
  if (change === 'alone') stored.delete(EMBEDDINGS);
  const tensors = [...stored].map(([key, data]): TensorToWrite => {
    return { name: key, dtype: 'F32', shape: shapeOf.get(key) ?? shapeOf.get(EMBEDDINGS)!, data };
  });
  writeSafetensors(join(dir, 'model.safetensors'), tensors, { format: 'pt' });
  return dir;
}

function opened(dir: string) {
  const warnings: string[] = [];
  const source = hearingWarnings(
    (text) => warnings.push(text),
    () => HfModel.open(dir),
  );
  return { source, warnings };
}

describe('a config.json that ties the embeddings', () => {
  it.each(Object.keys(cases))('over %s', (name) => {
    const { tied, logits: expected } = cases[name]!;
    const dir = directoryOf(name);
    const { source, warnings } = opened(dir);
    expect(source.config.tieWordEmbeddings).toBe(tied);
    expect(warnings).toHaveLength(tied ? 0 : 1);
    if (!tied) expect(warnings[0]).toMatch(/tie_word_embeddings true, but lm_head\.weight is another matrix/);
    const model = new LlamaModel(source);
    source.close();
    const logits = tf.tidy(() => model.logits(model.forward(tf.tensor2d([ids], undefined, 'int32'))).dataSync());
    const last = logits.slice((ids.length - 1) * model.config.vocabSize).filter((_, i) => i % stride === 0);
    expect(relativeDifference(last, expected)).toBeLessThan(1e-4);
    model.dispose();
    const out = join(temporaryDir(), 'model.gguf');
    exportModelGguf({ model: dir, out, type: 'F32' });
    const file = GgufFile.open(out);
    expect(file.tensors.has('output.weight')).toBe(!tied);
    file.close();
  });

  it('is believed where no output matrix is read', () => {
    const dir = directoryOf('a copy with one row changed');
    const source = HfModel.open(dir, { someWeights: true });
    expect(source.config.tieWordEmbeddings).toBe(true);
    source.close();
  });
});
