/** Retrieved examples are the most similar of the training set, the most similar first, before each prompt. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scopeSpace, trainingExamples } from '../../../src/bench/pool-space.js';
import { EXAMPLE_DELIMITER } from '../../../src/bench/strategies/plain.js';
import { largest, retrieved } from '../../../src/bench/strategies/retrieved.js';
import { cosine, row } from '../../../src/core/vector.js';
import { openPool } from '../../../src/pool/pool.js';
import { type OpenContext, openBenchContext } from '../../helpers/bench-context.js';

it('finds the largest, of equal ones the first', () => {
  expect(largest(Float32Array.of(0.5, 2, -1, 2, 0.5), 4)).toEqual([1, 3, 0, 4]);
  expect(largest(Float32Array.of(1), 3)).toEqual([0]);
});

describe.each(['tfidf', 'first-attention'])('in the space of %s', (embedding) => {
  let open: OpenContext;
  beforeAll(async () => {
    open = await openBenchContext({ strategies: ['retrieved'], pool: { embedding, limit: 6 } });
  });
  afterAll(() => open.close());

  it('are the k most similar of those that the pool was trained on, as many as fit', async () => {
    const { context, cellOf, userOf, pool } = open;
    const user = userOf('weather');
    const cell = cellOf('weather', 'retrieved')!;
    const { answerer, parameters, bytesToServer } = await retrieved.customise(cell, user, context);
    expect({ parameters, bytesToServer }).toEqual({ parameters: 0, bytesToServer: 0 });
    const asked = await answerer.withContext!(user.test);

    const training = trainingExamples(context.config.pool, undefined);
    expect(training).toHaveLength(18);
    const space = scopeSpace(openPool(pool), context.base);
    const [rows, queries] = [await space.embed(training), await space.embed(user.test)];
    const d = rows.length / training.length;
    for (const [i, example] of user.test.entries()) {
      const before = asked[i]!.prompt.split(EXAMPLE_DELIMITER);
      expect(before.pop()).toBe(example.prompt);
      expect(asked[i]).toMatchObject({ id: example.id, choices: example.choices, completion: example.completion });
      const scored = training.map(({ prompt, completion }, n) => ({
        text: prompt + completion,
        // the products are float32: equal ones may differ by their rounding
        score: cosine(row(rows, n, d), row(queries, i, d)).toFixed(5),
      }));
      const expected = scored.map(({ score }) => score).sort((a, b) => Number(b) - Number(a));
      const found = before.map((text) => scored.find((one) => one.text === text)!.score);
      expect(found.length).toBeGreaterThan(0);
      expect(found).toEqual(expected.slice(0, found.length));
    }
  });
});
