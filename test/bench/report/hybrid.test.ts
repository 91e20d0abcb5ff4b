/** The report's hybrid part, on made-up runs whose every number can be worked out in the head. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { reportHtml } from '../../../src/bench/report/html/page.js';
import { readRun } from '../../../src/bench/report/read.js';
import { buildReport, type Report } from '../../../src/bench/report/report.js';
import { reportTables, terminalTables } from '../../../src/bench/report/tables.js';
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
    expect(table.rows.at(-1)!.cells).toEqual(['oracle: gap recovered', '40 %', '80 %', '100 %', '100 %', '100 %']);
  });

  it('has the metrics of each way of routing, the straight line and the ceiling around them', () => {
    const report = reportOf(smallRun());
    const table = reportTables(report).find(({ id }) => id === 'metrics-crayon-loglikelihood')!;
    expect(table.head).toEqual(['routed by', 'APGR', 'CPT(50)', 'CPT(80)', 'QNC', 'PerfGain', 'CostSave']);
    const [random, confidence, oracle] = table.rows.map(({ cells }) => cells.map((text) => text.replace(/ \[.*/, '')));
    expect(random).toEqual(['random', '0.50', '50 %', '80 %', '100 %', '0.0 %', '0 %']);
    // gains 0 1 1 1 1 1 2 2 2 of 2: one after 1 of 8 queries, 1.6 after 5.6, both after 6
    expect(confidence).toEqual(['confidence', '0.63', '13 %', '70 %', '75 %', '0.0 %', '25 %']);
    // 0 1 2 2 2 ...: 1.6 after 1.6 queries
    expect(oracle).toEqual(['oracle', '0.88', '13 %', '20 %', '25 %', '0.0 %', '75 %']);
    expect(table.notes.join(' ')).toContain('arXiv 2502.08773');
  });

  it('says where the gap lies, for all and for each user', () => {
    const table = reportTables(reportOf(smallRun())).find(({ id }) => id === 'split-crayon-loglikelihood')!;
    const cells = table.rows.map((row) => row.cells.map((text) => text.replace(/ \[.*/, '')));
    expect(cells).toEqual([
      ['all users', '8', '62.5', '25.0', '12.5', '0.0', '87.5'],
      ['one', '4', '75.0', '25.0', '0.0', '0.0', '100.0'],
      ['two', '4', '50.0', '25.0', '25.0', '0.0', '75.0'],
    ]);
    expect(table.rows.map(({ strong }) => strong)).toEqual([true, false, false]);
  });

  it('draws seeds too where a run has several: what a seed does to all users widens the intervals', () => {
    // the device is right on all of one seed's examples and on none of the other's
    const cells = [0, 1].flatMap((runSeed) =>
      ['one', 'two'].flatMap((name) => {
        const at = { runSeed, seed: runSeed };
        const right = runSeed === 0 ? '1111' : '0000';
        return [
          cell(user(name), 'crayon', bits(name, right, { confidence: 1 }), { ...at, key: `${name}-${runSeed}-crayon` }),
          cell(user(name), 'server', bits(name, '1111'), { ...at, key: `${name}-${runSeed}-server` }),
        ];
      }),
    );
    const { intervals } = reportOf(run(cells)).hybrid!.rows[0]!;
    expect(intervals.edge).toEqual({ estimate: 0.5, low: 0, high: 1 });
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
    // of two strategies, each once in the picture and once in the legend
    expect(['confidence', 'scope', 'calibrated', 'calibrated-user'].map(curves)).toEqual([4, 2, 4, 4]);
    expect(page).not.toContain('curve user-alone');
    expect(page).not.toContain('curve other-users');
  });

  it('is the same every time', () => {
    expect(reportOf(run(cells)).hybrid).toEqual(report.hybrid);
  });
});

describe('a server that is no better everywhere', () => {
  /** Two clusters, the device right half of the time in both and equally sure; the server is right in one of them, and never in the other. */
  const answersOf = (correct: (i: number) => boolean, told = true) =>
    Array.from({ length: 200 }, (_, i) => {
      const clusters = i % 2 === 0 ? [0.95, 0.05] : [0.05, 0.95];
      return answer('u', i, correct(i) ? 1 : 0, told ? { confidence: -1 - (i % 7) / 100, clusters } : {});
    });
  const device = (name: string) =>
    cell(
      user(name),
      'crayon',
      answersOf((i) => i % 4 < 2),
    );
  const server = (name: string) =>
    cell(
      user(name),
      'server',
      answersOf((i) => i % 2 === 0, false),
    );
  const report = reportOf(run(['u', 'v'].flatMap((name) => [device(name), server(name)])));
  const recovered = (signal: string) => {
    const { shares } = report.hybrid!.rows.find((row) => row.signal === signal)!.intervals;
    return shares.find(({ share }) => share === 0.4)!.overRandom.estimate;
  };

  it('is asked where it is better, by the rules that weigh both parties and by no other', () => {
    // of 40 in 100, all from the right half, every second is one that the device has wrong: 20 more are right, and at random none
    for (const signal of ['advantage', 'gain', 'other-gain']) expect(recovered(signal)).toBeGreaterThan(0.15);
    for (const signal of ['confidence', 'rates', 'calibrated', 'calibrated-rates']) {
      expect(Math.abs(recovered(signal))).toBeLessThan(0.1);
    }
  });

  it('has their rows in the tables, a curve each, and no diagram of their differences as probabilities', () => {
    const tables = reportTables(report);
    const [{ rows, notes }] = tables.filter(({ id }) => id === 'metrics-crayon-loglikelihood') as [(typeof tables)[0]];
    const named = rows.map(({ cells }) => cells[0]);
    expect(named).toEqual(
      expect.arrayContaining(['cluster rates of both parties', "calibrated, less the server's rate"]),
    );
    expect(notes.join()).toContain('QNC');
    expect(reportHtml(report)).toContain('<path class="curve gain" d="M');
    const titles = report.hybrid!.reliability[0]!.rows.map(({ title }) => title);
    expect(titles.some((title) => title.includes('both parties') || title.includes("server's"))).toBe(false);
  });
});

describe('decisions about changed prompts', () => {
  // ten answers in the order of their confidence; two that are sent come above the cut when mistyped, one below
  const typed = [-9, -1, -1, -7, -6, -5, -4, -3, -8.5, -2];
  const answers = typed.map((confidence, i) =>
    answer('u', i, i % 2 === 0 ? 1 : 0, { confidence: i - 10, perturbed: { typos: { confidence, correct: 1 } } }),
  );
  const server = cell(user('u'), 'server', bits('u', '1111111111'));

  it('are counted at the cut that sends a fifth of the prompts as they are', () => {
    const report = reportOf(run([cell(user('u'), 'crayon', answers), server]));
    const table = reportTables(report).find(({ id }) => id === 'robustness-crayon-loglikelihood')!;
    // as they are 0 and 1 are sent, below -8.5; mistyped 0 alone
    const [confidence] = table.rows.map(({ cells }) => cells.map((text) => text.replace(/ \[.*/, '')));
    expect(confidence).toEqual(['confidence', '90 %', '10 %', '-', '-']);
    expect(table.notes).toContain('With typos the device alone has 100.0 [100.0, 100.0].');
    expect(report.hybrid!.rows.find(({ signal }) => signal === 'calibrated')!.robustness.typos).toBeDefined();
  });

  it('have no table where some answer lacks them, as in runs of earlier versions', () => {
    const { perturbed: _, ...plain } = answers[9]!;
    const report = reportOf(run([cell(user('u'), 'crayon', [...answers.slice(0, 9), plain]), server]));
    expect(reportTables(report).filter(({ id }) => id.startsWith('robustness'))).toEqual([]);
    expect(report.hybrid!.rows[0]!.robustness).toEqual({});
  });
});
