// npx vitest run test/pool/life/carry.test.ts
import { describe, expect, it } from 'vitest';
import { carryCoefficients, lostWords } from '../../../src/pool/life/carry.js';
import type { EarlierPool, LivingMember, PoolLife } from '../../../src/pool/life/record.js';
import { idsOf, lifeOf, lifeProblem } from '../../../src/pool/life/record.js';
import type { Pool } from '../../../src/pool/pool.js';

const digest = (of: string) => of.repeat(64).slice(0, 64);
const member = (id: number, since: number, changed = since): LivingMember => ({ id, since, changed, gate: 'data' });
const earlier = (version: number, ids?: number[]): EarlierPool => ({
  version,
  manifest: digest(String(version)),
  served: digest(String.fromCharCode(96 + version)),
  ...(ids && { ids }),
});

/** Built of 0, 1, 2; version 2 added 3; version 3 removed 1; version 4 trained 2 anew; version 5 merged in two as 4 and 5. */
const LIFE: PoolLife = {
  version: 5,
  nextId: 6,
  members: [member(0, 1), member(2, 1, 4), member(3, 2), member(4, 5), member(5, 5)],
  removed: [{ id: 1, since: 1, changed: 1, until: 3 }],
  earlier: [
    ...[1, 2, 3, 4].map((version) => earlier(version)),
    { ...earlier(5, [4, 5]), manifest: digest('e'), served: digest('f') },
  ],
};
const pool = {
  manifest: { N: 5, life: LIFE, adapters: [], base: {}, embedding: {} },
  centroids: new Float32Array(5),
} as unknown as Pool;
const carry = (of: string, coefficients: number[]) => carryCoefficients(pool, of, coefficients);

describe('carryCoefficients', () => {
  it('keeps each number with its adapter, and gives zero to what came later', () => {
    const found = carry(digest('3'), [0.5, 0, 0.5])!;
    expect([...found.coefficients]).toEqual([0.5, 0, 0.5, 0, 0]);
    expect(found).toMatchObject({ from: 3, lost: [], added: [4, 5] });
  });

  it('says which are gone and which were trained anew, by the digest of the manifest or of what is served', () => {
    for (const of of [digest('1'), digest('a')]) {
      const found = carry(of, [0.2, 0.3, 0.5])!;
      expect([...found.coefficients]).toEqual([0.2, 0, 0, 0, 0]);
      expect(lostWords(found.lost)).toBe('1 (0.300, removed), 2 (0.500, changed)');
    }
    expect([...carry(digest('4'), [0.2, 0.3, 0.5])!.coefficients]).toEqual([0.2, 0.3, 0.5, 0, 0]); // after the training
    expect(carry(digest('1'), [1, 0, 0])!.lost).toEqual([]); // nothing of what is gone
  });

  it('gives those of a pool that was merged in their places here', () => {
    const found = carry(digest('e'), [0.25, 0.75])!;
    expect(found).toMatchObject({ from: null, lost: [], added: [0, 2, 3] });
    expect([...found.coefficients]).toEqual([0, 0, 0, 0.25, 0.75]);
  });

  it('knows no other pool, and no other number of coefficients', () => {
    expect(carry(digest('9'), [1, 0, 0])).toBeNull();
    expect(carry(digest('1'), [1, 0])).toBeNull();
  });
});

describe('lifeOf', () => {
  it('gives a pool that never changed the ids 0 to N - 1', () => {
    expect(idsOf({ N: 3 })).toEqual([0, 1, 2]);
    expect(lifeOf({ N: 3 })).toMatchObject({ version: 1, nextId: 3, earlier: [] });
  });
});

describe('lifeProblem', () => {
  const broken: Array<[string, Partial<PoolLife>]> = [
    ['has 2 members', { members: [member(0, 1), member(2, 1)] }],
    ['do not ascend', { members: [0, 3, 2, 4, 5].map((id) => member(id, 1)) }],
    ['given again', { removed: [{ id: 3, since: 1, changed: 1, until: 2 }] }],
    ['nextId', { nextId: 5 }],
    ['newer than', { version: 4 }],
  ];
  it.each(broken)('%s', (words, change) => {
    expect(lifeProblem({ ...LIFE, ...change }, 5)).toContain(words);
  });
  it('is null where there is none', () => expect(lifeProblem(LIFE, 5)).toBeNull());
});
