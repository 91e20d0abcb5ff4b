/** What is the same for all engines, with one that a test plays. */

import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Engine, Handle, Job, JobState, Work } from '../../src/jobs/engine.js';
import { runWork } from '../../src/jobs/run.js';
import { temporaryDir } from '../helpers/files.js';

/** An engine whose answers are given: one list of states a poll, the last one from then on. */
function played(polls: Array<Array<[Job, JobState['state']]>>, done: Set<Job> = new Set()) {
  const calls: string[] = [];
  const dir = join(temporaryDir(), 'pool.building');
  mkdirSync(dir, { recursive: true });
  const work: Work = { name: 'x', program: [], unit: [], indices: [0, 1], last: [], dir, workers: 2, threads: 4 };
  let next = 0;
  const engine: Engine = {
    print: () => '',
    check: async () => void calls.push('check'),
    submit: async ({ indices }) => {
      calls.push(`submit ${indices}`);
      return { id: '7' } as Handle;
    },
    poll: async (handle) => {
      const states = polls[Math.min(next++, polls.length - 1)]!;
      for (const [job, state] of states) if (state === 'ended') done.add(job);
      expect(handle).toEqual({ id: '7' });
      return states.map(([job, state]) => ({ job, state, detail: state === 'failed' ? 'exit code 3' : undefined }));
    },
    log: async (_handle, _work, job) => `one\nthe words of ${job}\n`,
    cancel: async () => void calls.push('cancel'),
  };
  const notes: string[] = [];
  const run = (signal?: AbortSignal) =>
    runWork({
      engine,
      kind: { name: 'played', pollMs: 1 },
      work,
      isDone: (job) => done.has(job),
      onProgress: (count, total, note) => notes.push(`${count}/${total} ${note}`),
      signal,
    });
  return { calls, notes, run, work, record: join(dir, 'engine.json') };
}

const RUNNING: Array<[Job, JobState['state']]> = [
  [0, 'running'],
  [1, 'waiting'],
  ['last', 'waiting'],
];

describe('work on an engine', () => {
  it('is submitted once, followed, and its record goes when all is done', async () => {
    const { calls, notes, run, record } = played([
      RUNNING,
      [[0, 'ended'], [1, 'running'], ['last', 'waiting']],
      [[1, 'ended'], ['last', 'running']],
      [['last', 'ended']],
    ]); // biome-ignore format: one poll a line
    await run();
    expect(calls).toEqual(['check', 'submit 0,1']);
    expect(notes[0]).toBe('0/2 1 running (unit-0), 2 waiting');
    expect(notes.at(-1)).toBe('2/2 1 running (finish)');
    expect(existsSync(record)).toBe(false);
  });

  it('of a coordinator that is gone is followed and not submitted again', async () => {
    const { calls, run, record } = played([RUNNING, RUNNING, [['last', 'ended']]]);
    writeFileSync(record, JSON.stringify({ engine: 'played', handle: { id: '7' } }));
    await run();
    expect(calls).toEqual(['check']);
  });

  it.each([
    ['has ended', 'played', [[0, 'failed']]],
    ['is of another engine', 'other', RUNNING],
  ] as Array<[string, string, typeof RUNNING]>)('whose record %s is submitted', async (_, engine, states) => {
    const { calls, run, record } = played([states, [['last', 'ended']]]);
    writeFileSync(record, JSON.stringify({ engine, handle: { id: '7' } }));
    await run();
    expect(calls).toEqual(['check', 'submit 0,1']);
  });

  it('waits for the others before it says what failed, with its last words', async () => {
    const { notes, run } = played([
      [[0, 'failed'], [1, 'running']],
      [[0, 'failed'], [1, 'ended']],
    ]); // biome-ignore format: one poll a line
    await expect(run()).rejects.toMatchObject({
      code: 'jobs-failed',
      message: 'failed: unit-0 (exit code 3); unit-0 said last:',
      said: ['one', 'the words of 0'],
    });
    expect(notes).toHaveLength(2);
  });

  it('that ends without a result is not waited for for ever', async () => {
    const { run } = played([[]]);
    await expect(run()).rejects.toMatchObject({ code: 'jobs-failed', message: /^unit-0 ended without a result/ });
  });

  it('that failed and was done all the same, by another worker, is done', async () => {
    const { run } = played([[[0, 'failed'], [1, 'ended']], [['last', 'ended']]], new Set([0])); // biome-ignore format: one poll a line
    await run();
  });

  it('is cancelled at a signal, and its record stays for the next', async () => {
    const { calls, run, record } = played([RUNNING]);
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 20);
    await expect(run(stop.signal)).rejects.toMatchObject({ code: 'interrupted' });
    expect(calls.at(-1)).toBe('cancel');
    expect(existsSync(record)).toBe(true);
  });

  it('has one coordinator at a time', async () => {
    const { run } = played([RUNNING]);
    const stop = new AbortController();
    const first = run(stop.signal);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await expect(run()).rejects.toMatchObject({ code: 'output-exists' });
    stop.abort();
    await expect(first).rejects.toMatchObject({ code: 'interrupted' });
  });
});
