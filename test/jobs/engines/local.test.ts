/** Worker processes on this machine, with small programs in crayon's place. */

import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { INDEX, type Work } from '../../../src/jobs/engine.js';
import { localEngine } from '../../../src/jobs/engines/local.js';
import { runWork } from '../../../src/jobs/run.js';
import { temporaryDir } from '../../helpers/files.js';

/** `code` runs as a unit or, with `last` for its number, behind them; `DIR` is where files may be left. */
function workOf(code: string, more: Partial<Work> = {}) {
  const out = temporaryDir();
  const dir = join(out, 'pool.building');
  mkdirSync(dir);
  const script = `const { existsSync, readFileSync, writeFileSync, appendFileSync } = require('node:fs');
    const DIR = ${JSON.stringify(out)} + '/'; const job = process.argv[1]; ${code}`;
  const program = [process.execPath, '-e', script];
  const work: Work = {
    name: 'x',
    program,
    unit: [INDEX],
    indices: [0, 1, 2],
    last: ['last'],
    dir,
    workers: 2,
    threads: 3,
    ...more,
  };
  const at = (name: string) => join(out, name);
  const run = (options = {}, signal?: AbortSignal) =>
    runWork({
      engine: localEngine.open(options),
      kind: { name: 'local', pollMs: 10 },
      work,
      isDone: (job) => existsSync(at(`done-${job}`)),
      signal,
    });
  return { work, at, run, out };
}

const DONE = "writeFileSync(DIR + 'done-' + job, '');";

describe('local workers', () => {
  it('do all units, so many at a time, and the end when all are done', async () => {
    const { at, run } = workOf(`
      appendFileSync(DIR + 'order', '+' + job + ' ');
      // The first one waits for the second: one alone would wait for ever.
      const look = setInterval(() => {
        if (readFileSync(DIR + 'order', 'utf8').split('+').length < 3) return;
        clearInterval(look);
        setTimeout(() => { appendFileSync(DIR + 'order', '-' + job + ' '); ${DONE} }, 150);
      }, 10);`);
    await run();
    const order = readFileSync(at('order'), 'utf8').trim().split(' ');
    expect(order.slice(-2)).toEqual(['+last', '-last']);
    let [now, most] = [0, 0];
    for (const word of order) {
      now += word.startsWith('+') ? 1 : -1;
      most = Math.max(most, now);
    }
    expect(most).toBe(2);
  });

  it('are given as many threads as the work says, and their share of the GPUs', async () => {
    const { at, run } = workOf(`
      const { CRAYON_THREADS, OMP_NUM_THREADS, CUDA_VISIBLE_DEVICES } = process.env;
      writeFileSync(DIR + 'env-' + job, [CRAYON_THREADS, OMP_NUM_THREADS, CUDA_VISIBLE_DEVICES].join(' ')); ${DONE}`);
    await run({ gpus: '4' });
    const given = [0, 1, 2].map((k) => readFileSync(at(`env-${k}`), 'utf8'));
    expect(given.slice(0, 2).sort()).toEqual(['3 3 0,2', '3 3 1,3']);
    expect(readFileSync(at('env-last'), 'utf8')).toBe('3 3 0,1,2,3');
  });

  it('that are killed have their unit taken up again', async () => {
    const { at, run } = workOf(`
      appendFileSync(DIR + 'tries-' + job, 'x');
      if (job === '1' && readFileSync(DIR + 'tries-1').length < 3) process.kill(process.pid, 'SIGKILL');
      else { ${DONE} }`);
    await run();
    expect(readFileSync(at('tries-1'), 'utf8')).toBe('xxx');
    expect(readFileSync(at('tries-0'), 'utf8')).toBe('x');
  });

  it.each([
    [
      'by a signal, up to a limit',
      "process.kill(process.pid, 'SIGKILL')",
      { tries: '2' },
      'xx',
      /ended by SIGKILL/,
      [],
    ],
    ['by what another machine may have', 'process.exitCode = 4', { tries: 2 }, 'xx', /exit code 4/, []],
    [
      ...[
        'by what would end it again',
        "console.error('so\\n\\nwrong\\n'); process.exitCode = 3",
        {},
        'x',
        /exit code 3/,
      ],
      ['so', 'wrong'],
    ],
  ] as Array<[string, string, object, string, RegExp, string[]]>)(
    'that end %s fail, and the end is not run',
    async (_, ending, options, tries, words, said) => {
      const { at, run } = workOf(`
      appendFileSync(DIR + 'tries-' + job, 'x');
      if (job === '1') { ${ending} } else { ${DONE} }`);
      const failure = { code: 'jobs-failed', message: expect.stringMatching(words), said };
      await expect(run(options)).rejects.toMatchObject(failure);
      expect(readFileSync(at('tries-1'), 'utf8')).toBe(tries);
      expect(existsSync(at('done-2'))).toBe(true);
      expect(existsSync(at('tries-last'))).toBe(false);
    },
  );

  it('stop by the end of their input when they are cancelled, and nothing is begun any more', async () => {
    const { at, run, out } = workOf(`
      writeFileSync(DIR + 'began-' + job, '');
      process.stdin.on('end', () => { writeFileSync(DIR + 'stopped-' + job, process.env.CRAYON_ATTACHED); process.exit(130); }).resume();`);
    const stop = new AbortController();
    const running = run({}, stop.signal);
    while (!existsSync(at('began-0')) || !existsSync(at('began-1'))) await new Promise((r) => setTimeout(r, 10));
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: 'interrupted' });
    expect(readdirSync(out).sort()).toEqual(['began-0', 'began-1', 'pool.building', 'stopped-0', 'stopped-1']);
    expect(readFileSync(at('stopped-0'), 'utf8')).toBe('1');
  });

  it('are shown as the command lines that they would be', () => {
    const { work } = workOf('');
    const lines = localEngine
      .open({})
      .print({ ...work, program: ['crayon'] })
      .split('\n');
    expect(lines[0]).toMatch(/^# 2 at a time, each with CRAYON_THREADS=3 /);
    expect(lines.slice(1)).toEqual(['crayon 0', 'crayon 1', 'crayon 2', 'crayon last']);
  });

  it.each([
    [{ tries: '0' }, /tries is "?0/],
    [{ partition: 'gpu' }, /partition is not a known key/],
  ])('refuse options %s', (options, words) => {
    expect(() => localEngine.open(options)).toThrowError(words);
  });
});
