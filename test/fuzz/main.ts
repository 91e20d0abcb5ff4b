/**
 * `npm run fuzz`: mutants of everything that crayon reads, for five minutes by default. docs/fuzzing.md has the options.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatBytes, formatCount, formatRate } from '../../src/core/format.js';
import { type Progress, runCampaign } from './campaign.js';
import { TARGETS } from './targets/index.js';
import { filesOf } from './targets/seeds.js';
import { TOY_TARGETS } from './targets/toys.js';
import { Bench } from './trial.js';

const { values: given } = parseArgs({
  options: {
    seconds: { type: 'string' },
    mutants: { type: 'string' },
    seed: { type: 'string', default: '1' },
    target: { type: 'string', multiple: true },
    lanes: { type: 'string', default: '2' },
    out: { type: 'string', default: join(tmpdir(), 'crayon-fuzz') },
    resume: { type: 'boolean', default: false },
    'no-coverage': { type: 'boolean', default: false },
    repeat: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
});

const print = (line: string) => process.stdout.write(`${line}\n`);

if (given.list) for (const { name, reads } of TARGETS) print(`${name.padEnd(16)} ${reads}`);
else if (given.repeat !== undefined) await repeat(given.repeat);
else await run();

async function run(): Promise<void> {
  const known = [...TARGETS, ...TOY_TARGETS];
  const names = given.target ?? TARGETS.map(({ name }) => name);
  const unknown = names.filter((name) => !known.some((target) => target.name === name));
  if (unknown.length > 0)
    throw new Error(`no target ${unknown.join(', ')}, expected ${TARGETS.map(({ name }) => name).join(', ')}`);
  const statePath = join(given.out, 'state.json');
  const state: Record<string, Progress> = given.resume ? JSON.parse(readFileSync(statePath, 'utf8')) : {};
  if (!given.resume) rmSync(given.out, { recursive: true, force: true });
  const seconds = Number(given.seconds ?? (given.mutants === undefined ? 300 : 86_400));
  const start = performance.now();
  await runCampaign(
    known.filter(({ name }) => names.includes(name)),
    {
      seed: Number(given.seed),
      ms: 1000 * seconds,
      mutants: Number(given.mutants ?? Number.MAX_SAFE_INTEGER),
      lanes: Number(given.lanes),
      coverage: !given['no-coverage'],
      out: given.out,
      state,
      log: print,
    },
  );
  const text = table(state);
  print(
    `\n${text}\n${Math.round((performance.now() - start) / 1000)} s, seed ${given.seed}; findings and state in ${given.out}`,
  );
  writeFileSync(join(given.out, 'table.md'), `${text}\n`);
  if (Object.values(state).some(({ found }) => found.length > 0)) process.exitCode = 1;
}

function table(state: Record<string, Progress>): string {
  const rows = Object.entries(state).map(([name, { tally, found }]) => {
    const { mutants, ms, outcomes, signatures, kept, slowest, greediest, maxRss } = tally;
    const refused = Object.entries(outcomes).filter(
      ([code]) => !['accepted', 'finding', 'lost', 'hang', 'abort'].includes(code),
    );
    const codes = refused.sort(([, a], [, b]) => b - a).map(([code, count]) => `${code} ${formatCount(count)}`);
    return [
      name,
      formatCount(mutants),
      formatCount(outcomes.accepted ?? 0),
      codes.join(', '),
      String(found.length),
      `${formatCount(signatures)} / ${formatCount(kept)}`,
      formatRate((1000 * mutants) / ms),
      `${Math.round(slowest.ms)} ms`,
      formatBytes(maxRss),
      greediest.ratio === 0 ? '' : `${formatBytes(greediest.grown)} for ${formatBytes(greediest.bytes)}`,
    ];
  });
  const all = Object.values(state);
  const sum = (of: (progress: Progress) => number) => all.reduce((total, progress) => total + of(progress), 0);
  const total = [
    '**all**',
    formatCount(sum(({ tally }) => tally.mutants)),
    formatCount(sum(({ tally }) => tally.outcomes.accepted ?? 0)),
    '',
    String(sum(({ found }) => found.length)),
    '',
    formatRate((1000 * sum(({ tally }) => tally.mutants)) / sum(({ tally }) => tally.ms)),
    '',
    formatBytes(Math.max(...all.map(({ tally }) => tally.maxRss))),
    '',
  ];
  const head = [
    'target',
    'mutants',
    'accepted',
    'refused, by code',
    'findings',
    'outcomes / kept',
    'mutants/s',
    'slowest',
    'largest RSS',
    'greediest mutant',
  ];
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line), line(total)].join('\n');
}

/** What a kept finding does now. */
async function repeat(folder: string): Promise<void> {
  const { target: name } = JSON.parse(readFileSync(join(folder, 'finding.json'), 'utf8'));
  const target = [...TARGETS, ...TOY_TARGETS].find((known) => known.name === name)!;
  const scratch = mkdtempSync(join(tmpdir(), 'crayon-fuzz-'));
  const bench = await Bench.open(target, scratch);
  const verdict = await bench.tryOut(filesOf(join(folder, 'input')));
  print(JSON.stringify(verdict, null, 2).replaceAll('\\n', '\n'));
  await bench.close();
  rmSync(scratch, { recursive: true, force: true });
  process.exit(verdict.kind === undefined ? 0 : 1);
}
