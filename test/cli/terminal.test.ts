/** Colours and moving lines: on terminals only, and never against the user's wish. */

import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { progressLine, Terminal } from '../../src/cli/terminal.js';

/** A stream that keeps what it is given, and may say that it is a terminal. */
class Screen extends PassThrough {
  readonly columns = 100;
  text = '';
  constructor(readonly isTTY: boolean) {
    super();
    this.on('data', (chunk) => {
      this.text += chunk;
    });
  }
  cursorTo() {}
  clearLine() {}
  moveCursor() {}
}

/** What a command with a result, a remark, a failure and a stage of progress leaves on both streams. */
async function show({ out, err, env = {} }: { out: boolean; err: boolean; env?: NodeJS.ProcessEnv }) {
  const [stdout, stderr] = [new Screen(out), new Screen(err)];
  const terminal = new Terminal({ stdout, stderr, env });
  terminal.print(terminal.colour.green('result'));
  terminal.note('remark');
  terminal.error('bad-option', 'failure', 'remedy');
  const progress = await terminal.progress();
  for (const done of [0, 1, 2]) progress.update('train', done, 2, 'loss 1.0');
  progress.end();
  await new Promise((resolve) => setImmediate(resolve));
  return { stdout: stdout.text, stderr: stderr.text };
}

const PLAIN = /^remark\nError: failure \[bad-option\]\nHint: {2}remedy\n- train {2}2 in \d+ ms, loss 1\.0\n$/;

describe('a terminal', () => {
  it('gets colours and a bar', async () => {
    const { stdout, stderr } = await show({ out: true, err: true });
    expect(stdout).toBe('\u001b[32mresult\u001b[39m\n');
    expect(stderr).toContain('\u001b[31mError:');
    expect(stderr).toContain('train');
    expect(stderr).not.toMatch(PLAIN);
  });

  it.each([
    ['with NO_COLOR', { out: true, err: true, env: { NO_COLOR: '1' } }],
    ['with NO_COLOR against FORCE_COLOR', { out: true, err: true, env: { NO_COLOR: '1', FORCE_COLOR: '1' } }],
    ['that is dumb', { out: true, err: true, env: { TERM: 'dumb' } }],
    ['for stderr only, stdout being piped', { out: false, err: true }],
    ['for neither', { out: false, err: false }],
  ])('%s gets plain lines', async (_, screens) => {
    const { stdout, stderr } = await show(screens);
    expect(stdout).toBe('result\n');
    expect(stderr).toMatch(PLAIN);
  });

  it('for stdout only keeps stderr plain', async () => {
    const { stdout, stderr } = await show({ out: true, err: false });
    expect(stdout).toContain('\u001b[32m');
    expect(stderr).toMatch(PLAIN);
  });
});

describe('a stage that was ended by a failure', () => {
  it.each([
    [1, /^x train {2}1 of 2 in \d+ ms\n$/],
    [2, /^- train {2}2 in \d+ ms\n$/],
  ])('after %i of 2', async (done, line) => {
    const [stdout, stderr] = [new Screen(false), new Screen(false)];
    const progress = await new Terminal({ stdout, stderr, env: {} }).progress();
    progress.update('train', done, 2);
    progress.end(true);
    await new Promise((resolve) => setImmediate(resolve));
    expect(stderr.text).toMatch(line);
  });
});

describe('a line of progress', () => {
  it('has share, rate and time left', () => {
    const line = progressLine('train', { done: 30, total: 120, startedAt: 0, note: 'loss 2.1' }, 10_000);
    expect(line).toBe('train  █████░░░░░░░░░░░░░░░  25 %  30/120  3/s  30 s left  loss 2.1');
  });

  it('of a continued stage counts its own work only', () => {
    const line = progressLine('train', { done: 110, total: 120, startedAt: 100 }, 10_000);
    expect(line).toContain('1/s  10 s left');
  });

  it('says nothing of rates before there is one', () => {
    const line = progressLine('read', { done: 0, total: 0, startedAt: 0 }, 0);
    expect(line).toBe(`read  ${'░'.repeat(20)}  0 %  0/0`);
  });
});
