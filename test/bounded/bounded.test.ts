import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { Bounded } from '../../src/bounded/bounded.js';
import { Lane } from '../../src/bounded/lane.js';
import { CrayonError } from '../../src/core/errors.js';

const options = {
  beside: new URL('../helpers/bounded-jobs.ts', import.meta.url).href,
  jobs: 'bounded-jobs',
  what: 'evil/: the chat template',
  code: 'tokenizer-unsupported',
  hint: 'Use another one.',
} as const;
const code = new Bounded({ ...options, setup: { name: 'Ada' } });

const failure = async (promise: Promise<unknown>): Promise<CrayonError> => {
  const error = await promise.then(
    (value) => expect.fail(`gave ${String(value).slice(0, 50)}`),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CrayonError);
  return error as CrayonError;
};

/** A text of 2^28 characters, which fits the heap as a tree of halves and not as one piece. */
const DOUBLED =
  '{% set ns = namespace(s="aaaaaaaaaaaaaaaa") %}{% for i in range(24) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}';

describe('strangers’ code', () => {
  it('runs elsewhere, with what it was opened with, and one process serves all', async () => {
    const other = new Bounded({ ...options, setup: { name: 'Bob' } });
    expect(await code.run('greet', 'you')).toBe('Ada greets you');
    expect(await other.run('greet', 'you')).toBe('Bob greets you');
    const pid = await code.run('pid', null);
    expect(pid).not.toBe(process.pid);
    expect(await other.run('pid', null)).toBe(pid);
    expect(code.runSync('greet', 'me')).toBe('Ada greets me');
  });

  it('gives each call that waits its own answer, however busy the machine is', async () => {
    const busy = Array.from({ length: 3 }, () => new Worker('for (;;);', { eval: true }));
    try {
      for (let i = 0; i < 500; i++) expect(code.runSync('greet', String(i))).toBe(`Ada greets ${i}`);
    } finally {
      await Promise.all(busy.map((worker) => worker.terminate()));
    }
  });

  it('fails where the system starts no process, waited for or not, and runs again when it does', async () => {
    const lane = new Lane();
    const module = new URL('../helpers/bounded-jobs.ts', import.meta.url).href;
    const job = { key: 'a', module, setup: { name: 'Ada' } };
    process.env.CRAYON_TEST_LARGE = 'x'.repeat(3 * 2 ** 20); // E2BIG
    try {
      const outcome = await lane.run(job, 'greet', 'you', 1000);
      expect(outcome).toEqual({ kind: 'error', message: expect.stringContaining('no process: spawn E2BIG') });
    } finally {
      delete process.env.CRAYON_TEST_LARGE;
    }
    expect(await lane.run(job, 'greet', 'you', 1000)).toEqual({ kind: 'value', value: 'Ada greets you' });
  });

  it('throws what the jobs throw, by its code, and a defect by its message', async () => {
    expect(await failure(code.run('refuse', null))).toMatchObject({ code: 'example-invalid', hint: 'do not' });
    expect(await failure(code.run('fail', null))).toMatchObject({
      code: 'tokenizer-unsupported',
      message: 'evil/: the chat template failed (a defect)',
    });
    expect(() => code.runSync('refuse', null)).toThrow('refused');
  });

  it.each([
    ['an endless loop', 'loop', null],
    ['a loop of a template', 'render', '{% for i in range(3000) %}{% for j in range(3000) %}{% endfor %}{% endfor %}'],
    ['a regular expression', 'match', ['^(a+)+$', `${'a'.repeat(40)}!`]],
  ])('is stopped when its time is over: %s', async (_, name, args) => {
    const error = await failure(code.run(name, args, { timeMs: 300 }));
    expect(error.message).toMatch(/^evil\/: the chat template was stopped after 0.3 s/);
    expect(error).toMatchObject({ code: 'tokenizer-unsupported', hint: 'Use another one.' });
    expect(() => code.runSync(name, args, { timeMs: 300 })).toThrow(/stopped after 0.3 s/);
    expect(await code.run('greet', 'you')).toBe('Ada greets you');
  });

  it('that waits for a processor is not stopped for that: it is begun again', async () => {
    const pid = await code.run<number>('pid', null);
    const working = code.run('work', 200, { timeMs: 1000 });
    await sleep(100);
    process.kill(pid, 'SIGSTOP');
    await sleep(1200);
    process.kill(pid, 'SIGCONT');
    expect(await working).toBe('done');
    expect(await code.run('pid', null)).toBe(pid);
  });

  it.each([
    ['text that is written without end', '{% for i in range(1000000000) %}a{% endfor %}'],
    ['a list of too many', '{{ range(300000000)|list|length }}'],
    [
      'a list that doubles',
      '{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}',
    ],
    ['a text of many pieces', `${DOUBLED}{{ ns.s.split('a')|length }}`], // ends a whole process where it is a thread
    ['a text of many replacements', `${DOUBLED}{{ ns.s.replace('a', 'b')|length }}`], // so does this
    ['texts in one text', `${DOUBLED}{{ [ns.s, ns.s, ns.s]|tojson|length }}`],
    ['an answer of too many characters', `{{ 'x' * 1 }}${DOUBLED}{{ ns.s }}`],
  ])('is stopped when its memory is over: %s', async (_, source) => {
    const before = process.memoryUsage.rss();
    const error = await failure(code.run('render', source, { timeMs: 60_000 }));
    expect(error.message).toMatch(/^evil\/: the chat template (was stopped: it takes more than|failed)/);
    expect(process.memoryUsage.rss() - before).toBeLessThan(2 ** 27); // none of it was ours
    expect(code.runSync('greet', 'me')).toBe('Ada greets me');
  });

  it('sends no answer of any size', async () => {
    expect(await failure(code.run('large', 2 ** 26))).toMatchObject({
      message: expect.stringMatching(/memory \(it gave/),
    });
  });

  it('says how its process ended, and takes another one', async () => {
    expect((await failure(code.run('exit', 7))).message).toMatch(/failed \(its process ended with exit code 7\)/);
    expect(await code.run('greet', 'you')).toBe('Ada greets you');
  });

  it('ends with the request that it works for, while the event loop goes on and others are answered', async () => {
    const giveUp = new AbortController();
    const loop = failure(code.run('loop', null, { signal: giveUp.signal }));
    await sleep(50);
    expect(await code.run('greet', 'others')).toBe('Ada greets others'); // by a second process
    const started = performance.now();
    giveUp.abort();
    expect((await loop).code).toBe('interrupted');
    expect(performance.now() - started).toBeLessThan(1000);
    expect((await failure(code.run('greet', 'you', { signal: giveUp.signal }))).code).toBe('interrupted');
  });
});
