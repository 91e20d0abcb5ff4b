import { describe, expect, it } from 'vitest';
import { meanRows } from '../../../src/core/vector.js';
import { HfModel } from '../../../src/hf/model.js';
import { firstAttentionEmbedder } from '../../../src/pool/embed/kinds/first-attention.js';
import { inverseDocumentFrequencies, tfidfRows } from '../../../src/pool/embed/kinds/tfidf.js';
import { hiddenLayerOf, parseEmbeddingKind } from '../../../src/pool/embed/kinds.js';
import { centreRows } from '../../../src/pool/embed/space.js';
import { denseRows } from '../../../src/pool/sparse-rows.js';
import { fixture, fixtureJson, fixtureTensors, MODELS, relativeDifference } from '../../helpers/fixtures.js';

describe('firstAttentionEmbedder', () => {
  it.each(MODELS)('%s: equals PyTorch', (name) => {
    const golden = fixtureJson<{ ids: number[][]; promptLengths: number[] }>('golden', `${name}.json`);
    const expected = fixtureTensors('golden', `${name}.safetensors`);
    const model = HfModel.open(fixture('models', name));
    const prompts = golden.ids.map((row, b) => Int32Array.from(row.slice(0, golden.promptLengths[b]!)));
    const ours = firstAttentionEmbedder(model).embed(prompts);
    model.close();
    expect(relativeDifference(ours, expected.get('embedding.first-attention')!)).toBeLessThan(1e-5);
  });

  it('gives each row the same numbers whatever stands beside it', () => {
    const model = HfModel.open(fixture('models', 'llama'));
    const embedder = firstAttentionEmbedder(model);
    const [x, y] = [Int32Array.of(5, 6, 7), Int32Array.of(9, 5)];
    const both = embedder.embed([x, y]);
    expect(both.subarray(embedder.d)).toEqual(firstAttentionEmbedder(model).embed([y]));
    model.close();
  });
});

describe('tfidf', () => {
  const documents = [Int32Array.of(1, 1, 2), Int32Array.of(2, 3), Int32Array.of(2)];

  it('equals scikit-learn with sublinear_tf and smooth_idf', () => {
    const idf = inverseDocumentFrequencies(documents, 5);
    expect(idf[1]).toBeCloseTo(Math.log(4 / 2) + 1, 6);
    expect(idf[2]).toBeCloseTo(Math.log(4 / 4) + 1, 6);
    expect(idf[4]).toBeCloseTo(Math.log(4 / 1) + 1, 6); // a token never met
    const first = denseRows(tfidfRows(documents, idf)).slice(0, 5);
    const raw = [0, (1 + Math.log(2)) * idf[1]!, idf[2]!];
    const norm = Math.hypot(...raw);
    [0, raw[1]! / norm, raw[2]! / norm, 0, 0].forEach((value, i) => {
      expect(first[i]).toBeCloseTo(value, 6);
    });
  });

  it('keeps only what is not zero', () => {
    const { offsets, columns } = tfidfRows(documents, new Float32Array(5).fill(1));
    expect([...offsets]).toEqual([0, 2, 4, 5]);
    expect([...columns]).toEqual([1, 2, 2, 3, 2]);
  });
});

describe('centring', () => {
  it('leaves unit rows whose common direction is gone', () => {
    const rows = Float32Array.of(0.8, 0.6, 0.6, 0.8);
    const mean = Float32Array.from(meanRows(rows, 2, 2));
    expect([...mean].map((x) => x.toFixed(3))).toEqual(['0.700', '0.700']);
    centreRows(rows, mean);
    [Math.SQRT1_2, -Math.SQRT1_2, -Math.SQRT1_2, Math.SQRT1_2].forEach((value, i) => {
      expect(rows[i]).toBeCloseTo(value, 5);
    });
  });
});

describe('parseEmbeddingKind', () => {
  it('knows the kinds and the layers of the model', () => {
    expect(parseEmbeddingKind('hidden:02', 5)).toMatchObject({ name: 'hidden:2', given: 2 });
    expect(hiddenLayerOf(parseEmbeddingKind('hidden:2', 5), 5)).toBe(2);
    expect(hiddenLayerOf(parseEmbeddingKind('last-hidden', 5), 5)).toBe(5);
    expect(hiddenLayerOf(parseEmbeddingKind('tfidf', 5), 5)).toBeUndefined();
  });

  it.each(['hidden:6', 'hidden:', 'hidden:-1', 'bert', ''])('refuses "%s"', (text) => {
    expect(() => parseEmbeddingKind(text, 5)).toThrow(expect.objectContaining({ code: 'bad-option' }));
  });
});
