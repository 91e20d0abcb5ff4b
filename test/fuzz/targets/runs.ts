/** What crayon itself left behind: bench runs and their reports, logs of records, checkpoints, the day's spending. */

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { reportHtml } from '../../../src/bench/report/html/page.js';
import { reportMarkdown } from '../../../src/bench/report/markdown.js';
import { readRun } from '../../../src/bench/report/read.js';
import { buildReport } from '../../../src/bench/report/report.js';
import { reportTables } from '../../../src/bench/report/tables.js';
import { budgetJournal } from '../../../src/engine/server/budget-journal.js';
import { NOTHING } from '../../../src/engine/server/budget-sums.js';
import { RecordLog } from '../../../src/files/resume.js';
import { WorkDirectory } from '../../../src/pool/work-directory.js';
import { smallRun, writeRun } from '../../helpers/bench-run.js';
import { fixture } from '../../helpers/fixtures.js';
import { Finding, type Target } from '../target.js';
import { files, filesOf } from './seeds.js';

export const benchRun: Target = {
  name: 'bench-run',
  reads: "a bench run's directory, to its report in Markdown and HTML",
  seeds(scratch) {
    const dir = mkdtempSync(join(scratch, 'run-'));
    const seed = filesOf(writeRun(dir, smallRun()));
    rmSync(dir, { recursive: true });
    return [seed];
  },
  run(dir, given) {
    const run = readRun(dir);
    const report = buildReport(run, { resamples: 20 });
    const markdown = reportMarkdown(report);
    const html = reportHtml(report);
    reportTables(report);
    const isOdd = [...given.values()].some((content) => /NaN|undefined|\[object/.test(content.toString()));
    if (!isOdd && /\bNaN\b|undefined|\[object/.test(markdown))
      throw new Finding('different', `the report says ${/.{0,60}(NaN|undefined|\[object).{0,40}/.exec(markdown)?.[0]}`);
    if (html.includes('<script>alert')) throw new Finding('different', 'a script in the report');
    return run.complete;
  },
};

const FINGERPRINT = { seed: 1, training: { epochs: 2, data: ['a', 'b'] }, base: 'x'.repeat(64) };
const SPENT = { day: '2030-01-15', inputTokens: 5, outputTokens: 7, money: 0.5 };

export const resumable: Target = {
  name: 'resumable',
  reads: 'logs of records, a build’s checkpoints, the day’s spending',
  writes: true,
  seeds: () => [
    files({
      'log.jsonl': [FINGERPRINT, { id: 'a', edgeCorrect: 1 }, { id: 'b' }]
        .map((line) => `${JSON.stringify(line)}\n`)
        .join(''),
    }),
    new Map([
      ...files({ 'work/run.json': JSON.stringify(FINGERPRINT) }),
      ['work/embed.safetensors', [...filesOf(fixture('safetensors'), (f) => f === 'dtypes.safetensors').values()][0]!],
    ]),
    files({ 'budget-0.json': JSON.stringify(SPENT) }),
    files({
      'budget-0.json': JSON.stringify(SPENT),
      'budget-0.2030-01-15.log': '{"id":"before","inputTokens":5}\n{"id":"a.1","heldTokens":30,"heldMoney":0.5}\n',
    }),
  ],
  run(dir, given) {
    if (given.has('log.jsonl')) {
      const log = new RecordLog(join(dir, 'log.jsonl'), FINGERPRINT);
      log.append({ id: 'c' });
      const again = new RecordLog(join(dir, 'log.jsonl'), FINGERPRINT);
      if (JSON.stringify(again.earlier) !== JSON.stringify([...log.earlier, { id: 'c' }]))
        throw new Finding('different', 'the log is read otherwise a second time');
      return 'log';
    }
    if ([...given.keys()].some((name) => name.startsWith('budget'))) {
      const store = budgetJournal(join(dir, 'budget-0.json'));
      const day = store.dayFrom('2030-01-15');
      for (const sums of [store.sums(day), store.add(day, { ...NOTHING, inputTokens: 1 })]) {
        if (!Object.values(sums).every((n) => Number.isFinite(n) && n >= 0)) {
          throw new Finding('different', `spent ${JSON.stringify(sums)}`);
        }
      }
      return `budget ${day === '2030-01-15'}`;
    }
    const work = new WorkDirectory(join(dir, 'work'), FINGERPRINT, false);
    try {
      work.load('embed', { f32: 'F32', i32: 'I32' });
      return `work ${work.resumed}`;
    } finally {
      work.release(); // it has a thread that touches its lock
    }
  },
};
