/** What is served of a customisation, over a pool that is made up. */

import { describe, expect, it } from 'vitest';
import type { Pool, PoolManifest } from '../../../src/pool/pool.js';
import { type BlendOrder, createBlendMaker, type MakerParts } from '../../../src/serve/customizations/maker.js';
import type { Blend } from '../../../src/serve/customizations/record.js';
import { closing, textEmbedder, textQuery } from '../helpers.js';

const N = 3;
const never = new AbortController().signal;
const member = (n: number) => ({ dir: `adapters/${n}`, r: 1, loraAlpha: 1, sha256: String(n).repeat(64) });
const cluster = { size: 20, similarity: { mean: 0.9, quantiles: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 1] } };
const manifestOf = (general: boolean): PoolManifest =>
  ({
    ...{ N, tau: 0.1, base: { digest: 'b', tokenizerDigest: 't' }, clusters: [cluster, cluster, cluster] },
    embedding: { kind: 'tfidf', centred: false, dim: 2 },
    adapters: [0, 1, 2].map(member),
    ...(general && { general: member(3) }),
  }) as unknown as PoolManifest;
const pool = (general = false): Pool =>
  ({ dir: 'nowhere', manifest: manifestOf(general), centroids: Float32Array.of(1, 0, 0.9, 0.1, 0, 1) }) as Pool;
const embedder = textEmbedder((text) => ({ vector: Float32Array.from(text === 'y' ? [0, 1] : [1, 0.02]), tokens: 1 }));

function makerOver({ general = false, ...more }: Partial<MakerParts> & { general?: boolean } = {}) {
  const members = Array.from({ length: N + Number(general) }, (_, n) => ({
    id: `m${n}`,
    path: `/x/${n}`,
    name: `n${n}`,
  }));
  const device = {} as MakerParts['device'];
  const parts = {
    pool: pool(general),
    members,
    embedder,
    base: 'nowhere',
    device,
    form: 'scales',
    dropBelow: 0.1,
    gateTopK: null,
  } as const;
  return closing(createBlendMaker({ ...parts, ...more }), (maker) => maker.close());
}

const order: BlendOrder = {
  ...{ topK: null, temperature: null, estimator: 'similarity', coefficients: null },
  examples: ['a', 'b', 'c'].map((prompt) => ({ prompt })),
};
const scales = ({ adapters }: { adapters: { choose(query: ReturnType<typeof textQuery>): unknown } }, text = 'x') =>
  (adapters.choose(textQuery(text)) as Array<{ id: string; scale: number }>).map(({ id, scale }) => [id, scale]);

describe('createBlendMaker', () => {
  it('serves the pool’s adapters at the coefficients, without those that are small beside the largest', async () => {
    const all = await makerOver({ dropBelow: 0 }).make(order, never);
    expect(all.coefficients[2]! / all.coefficients[0]!).toBeLessThan(0.1);
    expect(scales(all)).toEqual(all.coefficients.map((a, n) => [`m${n}`, a]));
    const few = await makerOver().make(order, never);
    expect(few.coefficients[2]).toBe(0);
    expect(few.coefficients[0]! / few.coefficients[1]!).toBeCloseTo(all.coefficients[0]! / all.coefficients[1]!, 9);
    expect(few.coefficients.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
    expect(scales(few).map(([id]) => id)).toEqual(['m0', 'm1']);
    expect([few.form, few.profile!.d, few.shown]).toEqual(['scales', 2, undefined]);
  });

  it('leaves what a request decides as it is', async () => {
    const coefficients = [1, 0.01, -0.02];
    const given = await makerOver().make({ ...order, examples: null, coefficients }, never);
    expect([given.coefficients, given.profile, given.scope]).toEqual([coefficients, null, null]);
    const topped = await makerOver({ dropBelow: 1 }).make({ ...order, topK: 2 }, never);
    expect(topped.coefficients.filter((a) => a !== 0)).toHaveLength(2);
  });

  it('has a pool’s general adapter in every mixture, once', async () => {
    const given = { ...order, examples: null, coefficients: [0, 0.5, 0] };
    expect(scales(await makerOver({ general: true }).make(given, never))).toEqual([
      ['m1', 0.5],
      ['m3', 1],
    ]);
    const zero = { ...given, coefficients: [0, 0, 0] };
    const made = await makerOver({ general: true }).make(zero, never);
    expect([scales(made), made.notices]).toEqual([[['m3', 1]], []]);
    expect((await makerOver().make(zero, never)).notices).toEqual([
      expect.stringContaining('All coefficients are zero'),
    ]);
  });

  it('serves from the numbers alone what it has made, and what examples chose', async () => {
    const maker = makerOver({ general: true });
    const { adapters: _, scope, hold: __, remove: ___, ...blend } = await maker.make({ ...order, shown: ['a'] }, never);
    expect(blend.shown).toEqual(['a']);
    const again = await maker.restore(JSON.parse(JSON.stringify(blend)), never);
    expect(scales(again)).toEqual(
      blend.coefficients.flatMap((a, n) => (a === 0 ? [] : [[`m${n}`, a]])).concat([['m3', 1]]),
    );
    expect(again.scope!(textQuery('x'))).toEqual(scope!(textQuery('x')));
    const chose = (chosen: string): Blend => ({
      ...blend,
      choice: { chosen, chosenFixed: 'nearest', evidence: 'choices', seconds: 1, candidates: [] },
    });
    const perQuery = await maker.restore(chose('per-query'), never);
    expect([perQuery.adapters.isGated, scales(perQuery, 'x').length]).toEqual([true, 3]);
    expect(scales(perQuery, 'y')).toEqual([
      ['m2', 1],
      ['m3', 1],
    ]);
    expect(scales(await maker.restore(chose('base'), never))).toEqual([]);
    const few = makerOver({ general: true, gateTopK: 1, dropBelow: 0 });
    expect(scales(await few.restore(chose('per-query'), never))).toEqual([
      ['m0', 1],
      ['m3', 1],
    ]);
    const blended = await few.restore({ ...blend, coefficients: [0.5, 0.3, 0.2] }, never);
    expect(scales(blended).map(([, scale]) => scale)).toEqual([0.5, 0.3, 0.2, 1]);
  });

  it.each<[string, Partial<Blend>]>([
    ['another number of coefficients', { coefficients: [1] }],
    ['coefficients beyond reason', { coefficients: [1e9, 0, 0] }],
    ['a profile of another size', { profile: { d: 3, at: null, values: 'AAAAAAAAAAAAAAAA', reference: [0, 1] } }],
    [
      'a candidate that is none',
      { choice: { chosen: 'x', chosenFixed: 'x', evidence: 'both', seconds: 1, candidates: [] } },
    ],
  ])('refuses %s', async (_, change) => {
    const blend = await makerOver().make(order, never);
    await expect(makerOver().restore({ ...blend, ...change }, never)).rejects.toMatchObject({
      code: 'coefficients-invalid',
    });
  });

  it('knows its pool by what coefficients are of', () => {
    const of = (change: (pool: Pool) => Pool) => makerOver({ pool: change(pool()) }).pool;
    const same = of((one) => one);
    expect(
      of(({ manifest, ...one }) => ({ ...one, manifest: { ...manifest, standards: {}, createdBy: 'x' } }) as Pool),
    ).toBe(same);
    const others = [
      of((one) => ({ ...one, centroids: Float32Array.of(1, 0, 0.9, 0.2, 0, 1) })),
      of(({ manifest, ...one }) => ({ ...one, manifest: { ...manifest, tau: 0.2 } })),
      of(({ manifest, ...one }) => ({ ...one, manifest: { ...manifest, adapters: [2, 1, 0].map(member) } })),
    ];
    expect(new Set([same, ...others]).size).toBe(4);
  });
});

describe('carry', () => {
  const blendOf = (change: Partial<Blend> = {}): Blend => ({
    ...{ form: 'scales', coefficients: [0.5, 0.3, 0.2], similarities: null, coverage: null, examples: 3 },
    ...{ notices: [], ms: 1, choice: null, profile: null },
    ...change,
  });
  const lived = (life: object): Pool => {
    const before = pool();
    return { ...before, manifest: { ...before.manifest, version: 3, life } as unknown as PoolManifest };
  };
  const member = (id: number, since = 1) => ({ id, since, changed: since, gate: 'data' });
  const earlier = [{ version: 1, manifest: 'm'.repeat(64), served: 's'.repeat(64) }];
  /** Of 0, 1, 2 the second was removed, and a fourth has come. */
  const changed = lived({
    ...{ version: 3, nextId: 4, members: [member(0), member(2), member(3, 2)], earlier },
    removed: [{ id: 1, since: 1, changed: 1, until: 3 }],
  });
  const carry = (blend: Blend, of = 's'.repeat(64)) => makerOver({ pool: changed, dropBelow: 0 }).carry(of, blend);

  it('keeps coefficients with their clusters, where all that count are there', () => {
    const found = carry(blendOf({ coefficients: [0.6, 0, 0.4] })) as Blend;
    expect(found.coefficients).toEqual([0.6, 0.4, 0]);
    expect(found.notices).toEqual(['Clusters 3 came later and have no share in it.']);
  });

  it('remakes those that similarities made, when a cluster is removed', () => {
    const similarities = [0.5, 0.45, 0.46];
    const weights = similarities.map((x) => Math.exp(x / 0.1));
    const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
    const coefficients = weights.map((w) => w / sum(weights));
    const found = carry(blendOf({ similarities, coefficients })) as Blend;
    const left = [weights[0]!, weights[2]!];
    for (const [i, w] of left.entries()) expect(found.coefficients[i]).toBeCloseTo(w / sum(left), 9);
    expect(found.notices.join()).toMatch(/Remade .*1 \(0\.\d+, removed\)/);
  });

  it('says why not: numbers that no similarity made, another pool, a choice that was of other clusters', () => {
    expect(carry(blendOf())).toEqual({ why: 'clusters of it are no longer in the pool: 1 (0.300, removed)' });
    expect(carry(blendOf(), 'x'.repeat(64))).toEqual({ why: expect.stringContaining('another pool') });
    const choice = {
      ...{ chosen: 'per-query', chosenFixed: 'nearest', evidence: 'both', seconds: 1 },
      candidates: [],
    } as Blend['choice'];
    expect(carry(blendOf({ choice }))).toHaveProperty('why');
  });
});
