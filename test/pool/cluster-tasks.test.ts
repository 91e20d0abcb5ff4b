/** What a cluster says of its examples: their data sets are named by people, after files. */

import { expect, it } from 'vitest';
import { describeClusters } from '../../src/pool/cluster.js';

it('counts the examples of a data set whose name every object has, most first', async () => {
  const examples = ['toString', 'constructor', 'constructor'].map((dataset, i) => ({
    ...{ dataset, id: `${dataset}:${i}`, prompt: 'a', completion: 'b' },
    tokens: { ids: [1, 2], promptLength: 1 },
  }));
  const { clusters } = await describeClusters({
    examples: examples as never,
    clustering: { k: 1, centroids: Float32Array.of(1), assignment: new Int32Array(3), silhouette: 0 },
    similarities: Float32Array.of(0.5, 0.6, 0.7),
    ...{ count: 0, seed: 1, lossOf: async () => 0, onProgress: () => {} },
  });
  expect(Object.entries(clusters[0]!.tasks)).toEqual([
    ['constructor', 2],
    ['toString', 1],
  ]);
});
