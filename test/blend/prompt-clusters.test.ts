import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { clusterGate } from '../../src/blend/cluster-gate.js';
import { clusterPrompts, readPromptClusters, writePromptClusters } from '../../src/blend/prompt-clusters.js';
import { createRandom } from '../../src/core/random.js';
import { sparseRows } from '../../src/pool/sparse-rows.js';
import { writeSafetensors } from '../../src/safetensors/write.js';
import { temporaryDir } from '../helpers/files.js';

const D = 40;

/** Unit vectors around axis c, most of their numbers zero or none of them. */
function around(c: number, n: number, { seed, isDense = false }: { seed: number; isDense?: boolean }): Float32Array[] {
  const random = createRandom(seed, `around ${c}`);
  return Array.from({ length: n }, () => {
    const vector = new Float32Array(D);
    vector[c] = 1;
    for (let j = 0; j < D; j++) if (isDense || random.uniform() < 0.05) vector[j]! += 0.3 * (random.uniform() - 0.5);
    const length = Math.hypot(...vector);
    return vector.map((x) => x / length);
  });
}

const three = (isDense: boolean, seed = 0) => [0, 1, 2].flatMap((c) => around(c, 30, { seed, isDense }));

describe.each([false, true])('clusters of prompts, dense vectors %s', (isDense) => {
  const { clusters, gates } = clusterPrompts(sparseRows(three(isDense)), 'tfidf', { k: 3, seed: 0 });
  const gate = clusterGate(clusters);

  it('tell kinds apart, and put each prompt into one or none', () => {
    expect(clusters.manifest.N).toBe(3);
    for (const alpha of gates) expect(alpha.toSorted()).toEqual([0, 0, 0, 1]);
    const own = [0, 1, 2].map((c) => gates.slice(30 * c, 30 * c + 30).map((alpha) => alpha.indexOf(1)));
    const named = own.map((found) => found.find((n) => n < 3)!);
    expect(new Set(named).size).toBe(3);
    for (const [c, found] of own.entries()) expect(found.every((n) => n === named[c] || n === 3)).toBe(true);
  });

  it('call a twentieth of their own strays, and of new ones about as many', () => {
    const strays = gates.filter((alpha) => alpha[3] === 1).length;
    expect(strays).toBeGreaterThanOrEqual(3);
    expect(strays).toBeLessThanOrEqual(9);
    const fresh = three(isDense, 1).map((vector) => Array.from(gate(vector)));
    const share = fresh.filter((alpha) => alpha[3] === 1).length / fresh.length;
    expect(share).toBeLessThan(0.2); // 0 to 0.9 where a prompt's own share of the centroid is counted
    for (const alpha of fresh) expect(Math.max(...alpha)).toBeGreaterThan(0.999);
  });

  it('call what is unlike them a stray', () => {
    const other = new Float32Array(D);
    other[D - 1] = 1;
    expect(gate(other)[3]).toBe(1);
    expect(gate(new Float32Array(D))[3]).toBe(1);
  });
});

describe('a file of clusters', () => {
  const { clusters } = clusterPrompts(sparseRows(three(true)), 'first-attention', { k: 3, seed: 0 });
  let path: string;
  beforeEach(() => {
    path = join(temporaryDir(), 'edge.clusters.safetensors');
  });

  it('reads as it was written', () => {
    writePromptClusters(path, clusters);
    const read = readPromptClusters(path);
    expect(read.embedding).toEqual({ kind: 'first-attention', d: D });
    expect(read.centroids).toEqual(clusters.centroids);
    const [vector] = around(1, 1, { seed: 5, isDense: true });
    expect(Array.from(clusterGate(read)(vector!))).toEqual(Array.from(clusterGate(clusters)(vector!)));
  });

  const tensors = (change: Record<string, { shape: number[]; data: Float32Array }>) =>
    Object.entries({
      columns: { shape: [3], data: Float32Array.of(0, 2, 9) },
      centroids: { shape: [2, 3], data: new Float32Array(6).fill(0.5) },
      quantiles: { shape: [2, 7], data: new Float32Array(14) },
      means: { shape: [2], data: new Float32Array(2) },
      sizes: { shape: [2], data: new Float32Array(2) },
      ...change,
    }).map(([name, { shape, data }]) => ({ name, dtype: 'F32' as const, shape, data }));
  const META = { format: 'crayon-prompt-clusters 1', embedding: 'tfidf', d: '10' };

  it.each([
    ['its format is not said', {}, {}],
    ['its format is crayon-prompt-clusters 2', {}, { ...META, format: 'crayon-prompt-clusters 2' }],
    ['its embeddings have 1e9 numbers', {}, { ...META, d: '1e9' }],
    ['no ascending places below 9', {}, { ...META, d: '9' }],
    ['no ascending places', { columns: { shape: [3], data: Float32Array.of(0, 2, 2) } }, META],
    ['tensor columns is 2', { columns: { shape: [2], data: new Float32Array(2) } }, META],
    ['tensor columns is 3', { centroids: { shape: [6], data: new Float32Array(6) } }, META],
    ['tensor quantiles is 2 x 6', { quantiles: { shape: [2, 6], data: new Float32Array(12) } }, META],
    ['tensor sizes is 3', { sizes: { shape: [3], data: new Float32Array(3) } }, META],
    ['not a number', { centroids: { shape: [2, 3], data: new Float32Array(6).fill(Number.NaN) } }, META],
    [
      'the quantiles of cluster 1 do not rise',
      { quantiles: { shape: [2, 7], data: Float32Array.from({ length: 14 }, (_, i) => (i === 9 ? -1 : 0)) } },
      META,
    ],
  ])('is refused where %s', (message, change, metadata) => {
    writeSafetensors(path, tensors(change), metadata as Record<string, string>);
    expect(() => readPromptClusters(path)).toThrow(
      expect.objectContaining({ code: 'config-invalid', message: expect.stringContaining(message) }),
    );
  });

  it('is refused where it is none', () => {
    writeFileSync(path, 'clusters: 3');
    expect(() => readPromptClusters(path)).toThrow(expect.objectContaining({ code: 'safetensors-invalid' }));
  });
});
