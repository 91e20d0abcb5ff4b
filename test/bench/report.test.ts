/** The report's numbers, on made-up runs whose every number can be worked out in the head. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { reportHtml } from '../../src/bench/html-report.js';
import { buildReport, type Report } from '../../src/bench/report.js';
import { reportTables, terminalTables } from '../../src/bench/report-all-tables.js';
import { ranks, routingScores } from '../../src/bench/report-hybrid.js';
import { readRun } from '../../src/bench/report-read.js';
import type { RunManifest } from '../../src/bench/types.js';
import { answer, cell, type RunContents, run, smallRun, user, writeRun } from '../helpers/bench-run.js';
import { temporaryRoot } from '../helpers/files.js';

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

describe('the hybrid of a run', () => {
  it('pairs edge and server by user and example, and sends the least confident first', () => {
    const { hybrid } = reportOf(smallRun());
    const [row] = hybrid!.rows;
    expect(hybrid!.rows).toHaveLength(1); // crayon by confidence; base has no signal
    expect(row).toMatchObject({ edgeStrategy: 'crayon', signal: 'confidence', users: 2 });
    expect(row!.curve).toMatchObject({ examples: 8, edge: 0.625, server: 0.875 });
    // in the order of confidence 1 to 8, answers that the server changes: 1 0 0 0 | 0 1 0 0
    const at = (share: number) => row!.curve.points.find((p) => p.share === share)!.routed;
    expect([at(0), at(0.125), at(0.5), at(0.75), at(1)]).toEqual([0.625, 0.75, 0.75, 0.875, 0.875]);
    // gains 0 1 1 1 1 1 2 2 2: trapezoids 0.5 + 4 + 1.5 + 2 + 2 = 10, of 8 queries times a gap of 2
    expect(row!.curve.apgr).toBeCloseTo(10 / 16, 12);
    expect(hybrid!.remarks.join()).toContain('Base model: not every answer has a confidence');
  });

  it('says what no router could exceed', () => {
    const report = reportOf(smallRun());
    const table = reportTables(report).find(({ id }) => id === 'recovered-crayon-loglikelihood')!;
    // two answers of eight can be gained, all of the gap: 10 % are 0.8 queries, and from 25 % on it is recovered
    expect(table.rows.at(-1)!.cells).toEqual(['oracle: gap recovered', '40 %', '80 %', '100 %', '100 %']);
  });

  it('begins with the method that has the most cells', () => {
    const [a, b, c] = [user('a'), user('b'), user('c')];
    const both = (who: typeof a, method: 'generation' | 'loglikelihood') => [
      cell(who, 'crayon', bits(who.name, '10', { confidence: 1 }), { method }),
      cell(who, 'server', bits(who.name, '11'), { method }),
    ];
    const { hybrid } = reportOf(
      run([...both(a, 'generation'), ...both(b, 'loglikelihood'), ...both(c, 'loglikelihood')]),
    );
    expect(hybrid!.rows.map((r) => [r.method, r.users])).toEqual([
      ['loglikelihood', 2],
      ['generation', 1],
    ]);
  });

  it('leaves out what has no counterpart, and says so', () => {
    const who = user('u');
    const { hybrid } = reportOf(
      run([
        cell(who, 'crayon', bits('u', '1010', { confidence: 1 })),
        cell(who, 'server', bits('u', '111', { source: 'in_cloud' })),
      ]),
    );
    expect(hybrid!.rows[0]!.curve.examples).toBe(3);
    expect(hybrid!.remarks).toContain('Crayon: 1 answers have no counterpart on the other side and are left out.');
  });

  it('is absent without a server, or where the methods differ', () => {
    const who = user('u');
    const edge = cell(who, 'crayon', bits('u', '1010', { confidence: 1 }));
    expect(reportOf(run([edge])).hybrid).toBeNull();
    const server = cell(who, 'server', bits('u', '1111'), { method: 'generation' });
    expect(reportOf(run([edge, server])).hybrid).toBeNull();
  });
});

describe('the hybrid at 20 % server share', () => {
  /**
   * Two users of 40 examples, a server that is always right. The fixed blend is right where confidence exceeds scope, which
   * its rule finds exactly; the gate is right on 64 of 80, and its confidence knows which.
   */
  const grid = Array.from({ length: 121 }, (_, i) => ({ p: 0.1 + 0.08 * (i % 11), s: 0.1 + 0.08 * Math.floor(i / 11) }))
    .filter(({ p, s }) => Math.abs(p - s) > 0.1)
    .filter((_, i) => i % 2 === 0)
    .slice(0, 40);
  const share = grid.filter(({ p, s }) => p > s).length / grid.length;
  const cells = ['one', 'two'].flatMap((name) => [
    cell(
      user(name),
      'crayon',
      grid.map(({ p, s }, i) => answer(name, i, p > s ? 1 : 0, { confidence: Math.log(p), scope: 100 * s })),
    ),
    cell(
      user(name),
      'per-query',
      grid.map((_, i) => answer(name, i, i < 8 ? 0 : 1, { confidence: -1 + i / 50 })),
    ),
    cell(
      user(name),
      'server',
      grid.map((_, i) => answer(name, i, 1, { source: 'in_cloud' })),
    ),
  ]);
  const report = reportOf(run(cells));
  const table = reportTables(report).find(({ id }) => id === 'at-share-loglikelihood')!;
  const at = (row: string) => table.rows.find(({ cells: [name] }) => name === row)!.cells;

  it('has a row for each way of routing, Crayon and its gate side by side', () => {
    expect(table.head).toEqual([
      'routed by',
      'Crayon: gap recovered',
      'over random',
      'Crayon, per query: gap recovered',
      'over random',
    ]);
    expect(table.rows.map(({ cells: [name] }) => name)).toEqual([
      'confidence',
      'scope',
      'scope or confidence',
      'calibrated',
      'calibrated per user',
      'control: user alone',
      'control: other users',
      'oracle',
    ]);
    expect(terminalTables(report)).toContainEqual(table);
  });

  it('says what the calibrated rule recovers: here all that any router could', () => {
    const oracle = `${((100 * 0.2) / (1 - share)).toFixed(0)} %`;
    expect(at('oracle')).toEqual(['oracle', oracle, '', '100 %', '']);
    expect(at('calibrated')[1]).toMatch(new RegExp(`^${oracle} \\[`));
    expect(at('calibrated')[3]).toMatch(/^100 % \[/);
    // 16 of 80 queries, each of them a gain: 20 points, less a fifth of a gap of 20 points
    expect(at('calibrated')[4]).toMatch(/^\+16\.0 \[/);
    expect(at('confidence')[3]).toMatch(/^100 % \[/);
    expect(Number.parseInt(at('confidence')[1]!, 10)).toBeLessThan(Number.parseInt(oracle, 10));
    expect(at('scope').slice(3)).toEqual(['-', '-']);
  });

  it('says that rules need held-out examples of the users, and what the controls are', () => {
    const notes = table.notes.join(' ');
    expect(notes).toContain('the other 9 of 10 folds');
    expect(notes).toContain('it needs labelled, held-out examples of that user');
    expect(notes).toContain('“user alone” has only these intercepts');
  });

  it('stands among the tiles of the page, by the calibrated rule, beside confidence alone', () => {
    const tiles = reportHtml(report).match(/<div class="tile">.*?(?=<div class="tile">|<main>)/gs)!;
    const own = tiles.filter((tile) => tile.includes('gap to the server'));
    expect(own).toHaveLength(2);
    expect(own[0]).toContain('Crayon, calibrated: gap to the server recovered at 20 % server share');
    expect(own[1]).toContain('Crayon, per query, calibrated: gap to the server');
    expect(own[1]).toContain('<div class="figure">100 <small>%');
    expect(own[1]).toContain('confidence alone 100, random 20, oracle 100');
    expect(own[1]).toMatch(/\+16\.0 \[[^\]]*\] points over random/);
  });

  it('draws a curve for each signal and none for the controls', () => {
    const page = reportHtml(report);
    const curves = (signal: string) => page.split(`<path class="curve ${signal}" d="M`).length - 1;
    // of two strategies, wide and narrow, each once in the legend
    expect(['confidence', 'scope', 'calibrated', 'calibrated-user'].map(curves)).toEqual([8, 4, 8, 8]);
    expect(page).not.toContain('curve user-alone');
    expect(page).not.toContain('curve other-users');
  });

  it('is the same every time', () => {
    expect(reportOf(run(cells)).hybrid).toEqual(report.hybrid);
  });
});

describe('routing scores', () => {
  const answers = [3, 1, 2].map((x, i) => answer('u', i, 0, { confidence: x, scope: [10, 30, 20][i]! }));

  it('of both signals are the smaller of the two ranks', () => {
    expect([...routingScores(answers, 'both')!]).toEqual([1, 1, 2]);
  });

  it('do not depend on the units of the signals', () => {
    const other = answers.map((a) => ({ ...a, confidence: 1e6 * a.confidence!, scope: Math.log(a.scope!) }));
    expect(routingScores(other, 'both')).toEqual(routingScores(answers, 'both'));
  });

  it('are absent when one answer lacks the signal', () => {
    expect(routingScores([...answers, answer('u', 9, 0)], 'confidence')).toBeNull();
    expect(routingScores([...answers, answer('u', 9, 0, { confidence: 1 })], 'both')).toBeNull();
  });

  it('rank equal values by their mean', () => {
    expect([...ranks(Float64Array.of(5, 1, 5, 7))]).toEqual([2.5, 1, 2.5, 4]);
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

describe('the tasks of the clusters', () => {
  it('are the most frequent of each', () => {
    const points = ['a', 'a', 'b', 'b', 'b'].map((task, i) => ({ x: i, y: 0, cluster: i < 3 ? 0 : 2, task }));
    const centroids = [0, 1, 2].map((x) => ({ x, y: 0 }));
    expect(reportOf(run([], { clusters: { points, centroids } })).clusterTasks).toEqual(['a', '', 'b']);
  });
});
