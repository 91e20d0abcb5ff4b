/** The report's numbers, on made-up runs whose every number can be worked out in the head. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readRun } from '../../../src/bench/report/read.js';
import { buildReport, type Report } from '../../../src/bench/report/report.js';
import { facts, reportTables, terminalTables } from '../../../src/bench/report/tables.js';
import type { RunManifest } from '../../../src/bench/types.js';
import { answer, cell, type RunContents, run, smallRun, user, writeRun } from '../../helpers/bench-run.js';
import { temporaryRoot } from '../../helpers/files.js';

const folder = temporaryRoot();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let runs = 0;

function reportOf(contents: RunContents, resamples = 200): Report {
  runs++;
  return buildReport(readRun(writeRun(join(folder, `run-${runs}`), contents)), { resamples });
}

const bits = (task: string, text: string, rest = {}) =>
  [...text].map((bit, i) => answer(task, i, bit === '1' ? 1 : 0, rest));

describe('the strategies of a run', () => {
  const report = reportOf(smallRun());
  const row = (strategy: string) => report.strategies.find((r) => r.strategy === strategy)!;

  it('stand in the order of their mean over users', () => {
    expect(report.strategies.map((r) => [r.strategy, r.accuracy.estimate])).toEqual([
      ['server', 0.875],
      ['crayon', 0.625],
      ['lorahub', 0.5],
      ['one-lora', 0.375],
      ['base', 0.125],
    ]);
    expect(row('crayon').accuracy).toMatchObject({ users: 2, examples: 8 });
  });

  it('have a mean for each kind of user, and for each user', () => {
    expect(row('crayon').byKind.seen!.estimate).toBe(0.75);
    expect(row('crayon').byKind['unseen-kind']!.estimate).toBe(0.5);
    expect(row('crayon').byKind.mixture).toBeUndefined();
    expect(row('one-lora').byUser.map((u) => [u.user, u.accuracy.estimate])).toEqual([
      ['one', 0.5],
      ['two', 0.25],
    ]);
  });

  it('are compared with one LoRA and with LoraHub, not with themselves', () => {
    const differences = Object.fromEntries(row('crayon').differences.map((d) => [d.reference, d.difference.estimate]));
    expect(differences).toEqual({ 'one-lora': 0.25, lorahub: 0.125 });
    expect(row('lorahub').differences.map((d) => d.reference)).toEqual(['one-lora']);
  });

  it('differ by example: intervals hold the estimate, and are the same every time', () => {
    const { difference } = row('crayon').differences[0]!;
    expect(difference.low).toBeLessThanOrEqual(difference.estimate);
    expect(difference.high).toBeGreaterThanOrEqual(difference.estimate);
    expect(reportOf(smallRun()).strategies).toEqual(report.strategies);
  });

  it('count every user alike, whatever the size of its test', () => {
    const [small, large] = [user('small'), user('large')];
    const { strategies } = reportOf(
      run([cell(small, 'base', bits('small', '11')), cell(large, 'base', bits('large', '00000000'))]),
    );
    expect(strategies[0]!.accuracy.estimate).toBe(0.5);
  });

  it('of several seeds have one score for each example, their mean', () => {
    const who = user('u');
    const { strategies } = reportOf(
      run([
        cell(who, 'random', bits('u', '1100'), { seed: 0 }),
        cell(who, 'random', bits('u', '1000'), { seed: 1 }),
        cell(who, 'one-lora', bits('u', '0100')),
      ]),
    );
    const random = strategies.find((r) => r.strategy === 'random')!;
    expect(random.accuracy).toMatchObject({ estimate: 0.375, examples: 4, users: 1 });
    expect(random.differences[0]!.difference.estimate).toBe(0.125);
  });

  it('are compared on shared examples only', () => {
    const who = user('u');
    const { strategies } = reportOf(
      run([
        cell(who, 'crayon', bits('u', '1111')),
        cell(who, 'one-lora', [answer('u', 2, 0), answer('u', 3, 1), answer('u', 9, 0)]),
      ]),
    );
    const { difference } = strategies.find((r) => r.strategy === 'crayon')!.differences[0]!;
    expect(difference).toMatchObject({ estimate: 0.5, examples: 2 });
  });

  it('are not compared on an example whose prompt has changed', () => {
    const who = user('u');
    const { strategies } = reportOf(
      run([
        cell(who, 'crayon', bits('u', '11')),
        cell(who, 'one-lora', bits('u', '00', { promptHash: 'f'.repeat(64) })),
      ]),
    );
    expect(strategies.find((r) => r.strategy === 'crayon')!.differences).toEqual([]);
  });

  it('keep users apart that differ in k alone', () => {
    const { users, strategies } = reportOf(
      run([
        cell(user('u', 'seen', ['u'], 3), 'base', bits('u', '10')),
        cell(user('u', 'seen', ['u'], 10), 'base', bits('u', '11')),
      ]),
    );
    expect(users.map((u) => u.title)).toEqual(['u (k = 3)', 'u (k = 10)']);
    expect(strategies[0]!.accuracy).toMatchObject({ estimate: 0.75, users: 2 });
  });
});

describe('a run at several seeds', () => {
  const [one, two] = [user('one'), user('two', 'mixture', ['a', 'b'], 10)];
  const at = (who: typeof one, strategy: string, runSeed: number, text: string, draw = 0) =>
    cell(who, strategy, bits(`${who.name} at ${runSeed}`, text), {
      key: `${who.name}-${strategy}-${runSeed}-${draw}`,
      seed: 1000 * runSeed + draw,
      runSeed,
    });
  const report = reportOf(
    run([
      at(one, 'crayon', 0, '1111'),
      at(one, 'crayon', 0, '1100', 1),
      at(one, 'crayon', 2, '0000'),
      at(two, 'crayon', 0, '10'),
      at(two, 'crayon', 2, '11'),
      at(one, 'one-lora', 0, '1000'),
      at(one, 'one-lora', 2, '1100'),
      at(two, 'one-lora', 0, '00'),
      at(two, 'one-lora', 2, '01'),
    ]),
  );
  const [crayon] = report.strategies;

  it('has the mean over users of the mean over seeds of the mean over draws, and says how many there are', () => {
    // one: (0.75 + 0) / 2; two: (0.5 + 1) / 2
    expect(crayon!.accuracy).toMatchObject({ estimate: 0.5625, users: 2, seeds: 2, draws: 2, examples: 12 });
    expect(crayon!.bySeed).toEqual([
      { seed: 0, accuracy: 0.625 },
      { seed: 2, accuracy: 0.5 },
    ]);
    expect(crayon!.byK.map(({ k, accuracy }) => [k, accuracy.estimate])).toEqual([
      [5, 0.375],
      [10, 0.75],
    ]);
    expect(report.seeds).toEqual([0, 2]);
  });

  it('is compared at the same seed, a draw that the other lacks with the one that it has', () => {
    // one: (0.75 - 0.25 + 0 - 0.5) / 2; two: (0.5 - 0 + 1 - 0.5) / 2
    const [margin] = crayon!.margins;
    expect(margin).toMatchObject({ over: 'one-lora', difference: { estimate: 0.25, seeds: 2 } });
    expect(margin!.byKind.seen!.estimate).toBe(0);
    expect(margin!.byKind.mixture!.estimate).toBe(0.5);
    expect(crayon!.differences[0]!.difference).toEqual(margin!.difference);
  });

  it('has tables by kind, by examples shown and by seed, each of which says what it rests on', () => {
    const tables = reportTables(report);
    const ids = tables.map(({ id }) => id);
    const parts = ['accuracy', 'differences', 'kinds', 'shown', 'seeds', 'margins'];
    expect(ids.slice(0, 6)).toEqual(parts.map((part) => `${part}-loglikelihood`));
    expect(ids).toEqual(expect.arrayContaining(['users-seen', 'users-mixture', 'costs']));
    for (const { notes } of tables) expect(notes.join(' ')).toMatch(/users?, 2 seeds, \d+ test examples/);
    const seeds = tables.find(({ id }) => id === 'seeds-loglikelihood')!;
    expect(seeds.rows[0]!.cells.slice(0, 3)).toEqual(['Crayon', '62.5', '50.0']);
    const shown = terminalTables(report).map(({ id }) => id);
    expect(shown.filter((id) => /^(kinds|margins|users)/.test(id))).toEqual([]);
    expect(facts(report)).toContainEqual(['Seeds', '0, 2']);
  });

  it('of one seed is called an anecdote, and has no table of seeds', () => {
    const tables = reportTables(reportOf(run([at(one, 'crayon', 1, '10'), at(one, 'base', 1, '00')])));
    expect(tables.map(({ id }) => id)).not.toContain('seeds-loglikelihood');
    expect(tables[0]!.notes.join(' ')).toContain('1 seed, 2 test examples');
    expect(tables[0]!.notes.join(' ')).toContain('anecdote');
  });

  it('has the hybrid of all seeds', () => {
    const sides = [0, 2].flatMap((seed) => {
      const edge = at(one, 'crayon', seed, '1000');
      const answers = edge.answers.map((record, i) => ({ ...record, confidence: i }));
      return [{ ...edge, answers }, at(one, 'server', seed, '1111')];
    });
    const { rows } = reportOf(run(sides)).hybrid!;
    expect(rows[0]!.curve).toMatchObject({ examples: 8, edge: 0.25, server: 1 });
    expect(rows[0]!.users).toBe(1);
  });

  it('says how the loss of its pools fell', () => {
    const points = (last: number): Array<[number, number]> => [
      [1, 3],
      [40, last],
    ];
    const curves = [
      { seed: 0, pool: 'pool', points: points(1) },
      { seed: 2, pool: 'pool', points: points(2) },
      { seed: 0, pool: 'one-lora', points: [] },
    ];
    const table = reportTables(reportOf(run([], { curves }))).find(({ id }) => id === 'curves')!;
    expect(table.rows.map(({ cells }) => cells)).toEqual([['pool', '2', '40', '3.000', '1.500 (1.000 to 2.000)']]);
  });
});

describe('answers that were judged by several methods', () => {
  const who = [user('choice'), user('written')];
  const report = reportOf(
    run(
      ['crayon', 'one-lora'].flatMap((strategy, s) => [
        cell(who[0]!, strategy, bits('choice', s === 0 ? '1111' : '1100')),
        cell(who[1]!, strategy, bits('written', s === 0 ? '0000' : '1000'), { method: 'generation' }),
      ]),
    ),
  );

  it('have rows of their own and are never averaged together', () => {
    expect(report.methods).toEqual(['loglikelihood', 'generation']);
    expect(report.strategies.map((r) => [r.method, r.strategy, r.accuracy.estimate, r.accuracy.users])).toEqual([
      ['loglikelihood', 'crayon', 1, 1],
      ['loglikelihood', 'one-lora', 0.5, 1],
      ['generation', 'one-lora', 0.25, 1],
      ['generation', 'crayon', 0, 1],
    ]);
    const differences = report.strategies
      .filter((r) => r.strategy === 'crayon')
      .map((r) => [r.method, r.differences[0]!.difference.estimate]);
    expect(Object.fromEntries(differences)).toEqual({ loglikelihood: 0.5, generation: -0.25 });
  });

  it('are announced, and have tables of their own', () => {
    expect(report.remarks.join()).toMatch(/several methods \(.*generation.*\)/);
    const ids = terminalTables(report).map(({ id }) => id);
    expect(ids).toEqual(expect.arrayContaining(['accuracy-generation', 'accuracy-loglikelihood']));
    expect(ids).not.toContain('accuracy');
  });
});

describe('the ablation', () => {
  const who = user('u');
  const report = reportOf(
    run([
      cell(who, 'crayon', bits('u', '1100')),
      cell(who, 'crayon', bits('u', '1110'), { table: 'ablation', options: { tau: 0.5 } }),
      cell(who, 'crayon', bits('u', '0100'), { table: 'ablation', options: { tau: 0.05 } }),
      cell(who, 'crayon', bits('u', '1111'), { table: 'ablation', options: { embedding: 'tfidf' } }),
      cell(who, 'per-query', bits('u', '1111'), { table: 'ablation', options: { tau: 0.05 } }),
    ]),
  );

  it('has settings of one option together, in the order of numbers, each beside its defaults', () => {
    expect(report.ablation.map((r) => [r.strategy, r.option, r.setting, r.difference?.estimate])).toEqual([
      ['crayon', 'embedding', 'tfidf', 0.5],
      ['crayon', 'tau', '0.05', -0.25],
      ['crayon', 'tau', '0.5', 0.25],
      ['per-query', 'tau', '0.05', undefined],
    ]);
  });

  it('does not count among the strategies', () => {
    expect(report.strategies.map((r) => [r.strategy, r.accuracy.estimate])).toEqual([['crayon', 0.5]]);
  });
});

describe('latency', () => {
  it('comes from the answers where each was timed, from the summaries where they share a time', () => {
    const who = user('u');
    const alone = { mean: 50, p50: 40, p90: 60, p95: 70, p99: 80 };
    const { latency, strategies } = reportOf(
      run([
        cell(who, 'base', bits('u', '1010')),
        cell(who, 'crayon', bits('u', '1010', { latencyMs: 3 }), { latencyMs: alone }),
      ]),
    );
    const box = Object.fromEntries(latency.map((row) => [row.title, row.box]));
    expect(box['Base model']).toMatchObject({ count: 4, p50: 11.5 });
    expect(box.Crayon).toEqual({ count: null, lower: null, p50: 40, p95: 70, p99: 80 });
    expect(strategies.find((r) => r.strategy === 'crayon')!.latencyP50).toBe(40);
  });
});

describe('a run', () => {
  it('that is complete has no remarks', () => {
    expect(reportOf(smallRun())).toMatchObject({ complete: true, remarks: [] });
  });

  it.each([
    ['still going on', { finished: null, plannedCells: 40 }, /has not finished: 10 of 40 cells/],
    ['ended early', { plannedCells: 11 }, /ended with cells missing: 10 of 11 cells/],
  ] as Array<[string, Partial<RunManifest>, RegExp]>)('%s says so and is reported', (_, rest, words) => {
    const contents = smallRun();
    const report = reportOf({ ...contents, manifest: { ...contents.manifest, ...rest } });
    expect(report.complete).toBe(false);
    expect(report.remarks.join()).toMatch(words);
    expect(report.strategies).toHaveLength(5);
  });

  it('that has only begun is reported as empty', () => {
    const report = reportOf(run([], { finished: null, plannedCells: 12 }));
    expect(report).toMatchObject({ complete: false, strategies: [], hybrid: null, users: [] });
    expect(terminalTables(report)).toEqual([]);
  });
});

it('says which learning rate one LoRA was given, and what the others lost', () => {
  const tried = [
    { learningRate: 0.01, loss: 1.5 },
    { learningRate: 0.001, loss: 0.25 },
  ];
  const rates = [{ strategy: 'one-lora', seed: 3, examples: 40, tried, learningRate: 0.001 }];
  expect(Object.fromEntries(facts(reportOf(run([], { rates }))))).toMatchObject({
    'One LoRA, same rank':
      'learning rate 0.001 at seed 3, by the loss on 40 held-out examples: 1.500 with 0.01, 0.250 with 0.001',
  });
});

describe('the tasks of the clusters', () => {
  it('are the most frequent of each', () => {
    const points = ['a', 'a', 'b', 'b', 'b'].map((task, i) => ({ x: i, y: 0, cluster: i < 3 ? 0 : 2, task }));
    const centroids = [0, 1, 2].map((x) => ({ x, y: 0 }));
    expect(reportOf(run([], { clusters: { points, centroids } })).clusterTasks).toEqual(['a', '', 'b']);
  });
});
