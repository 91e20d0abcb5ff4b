/** A build that is killed goes on where it was, and ends with the bytes of one that ran through. */

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { writeDirectoryAtomic } from '../../src/files/atomic.js';
import {
  buildArgs,
  crayon,
  digests,
  document,
  ENTRY,
  LLAMA,
  ROOT,
  records,
  refusal,
  scratch,
  start,
  succeed,
  TSX,
  writeJsonl,
} from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const data = writeJsonl(at('train.jsonl'), records(24));
// Long enough to be hit in the middle: sixty steps of 20 ms or more, the first checkpoint after about ten.
const LONG = ['--epochs', '20', '--checkpoint-seconds', '0.2'];
let whole: Record<string, string>;

beforeAll(async () => {
  await succeed(buildArgs(data, at('whole'), ...LONG));
  whole = digests(at('whole'));
});

/** Starts a build as a child and waits until it has written a checkpoint of its training. */
const startTraining = (pool: string, ...more: string[]) => startUntil(buildArgs(data, pool, ...LONG, ...more), pool);

/** Likewise of any command that trains what is written to `out`. */
async function startUntil(argv: string[], out: string) {
  const child = start(argv);
  const checkpoint = join(`${out}.building`, 'training.safetensors');
  let over = false;
  void child.ended.then(() => {
    over = true;
  });
  while (!existsSync(checkpoint)) {
    if (over) throw new Error(`ended before its first checkpoint: ${child.stderr()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return child;
}

describe('a build that is killed (SIGKILL)', () => {
  it('leaves nothing at the output, says that it continued, and ends with the same bytes', async () => {
    const pool = at('killed');
    const child = await startTraining(pool);
    child.process.kill('SIGKILL');
    expect((await child.ended).signal).toBe('SIGKILL');
    expect(existsSync(pool)).toBe(false);
    const again = await startTraining(pool); // and once more, wherever it is by now
    again.process.kill('SIGKILL');
    await again.ended;
    expect(existsSync(pool)).toBe(false);

    const result = await crayon(buildArgs(data, pool, ...LONG));
    expect(result.code).toBe(0);
    expect(result.stdout).toContain('continued from a checkpoint');
    expect(digests(pool)).toEqual(whole);
    expect(readdirSync(dir).filter((name) => name.includes('killed'))).toEqual(['killed']);
  });
});

describe('a LoRA from a blend', () => {
  const mine = writeJsonl(at('mine.jsonl'), records(10, { topic: 1 }));
  const blendArgs = (out: string, ...more: string[]) => [
    ...['blend', '--pool', at('whole'), '--model', LLAMA, '--examples', mine, '--out', out, '--backend', 'wasm'],
    ...['--lora-from-blend', '3', '--steps', '40', '--pull', '1', '--checkpoint-seconds', '0.1', ...more],
  ];

  it('says what memory it takes and how it went, and inspect shows it', async () => {
    const { stdout, stderr } = await succeed(blendArgs(at('tuned')));
    const words =
      /rank 3, 40 steps of 8 examples at a rate of 0.\d+, pulled back by 1; loss .* before, \d\.\d+ after\n/;
    expect(stdout).toMatch(new RegExp(`Trained from the blend: ${words.source}`));
    expect(stderr).toMatch(/Training takes up to [\d.]+ [MG]B of memory/);
    expect((await succeed(['inspect', at('tuned')])).stdout).toMatch(new RegExp(`trained +${words.source}`));
  });

  it.each(['SIGKILL', 'SIGINT'] as const)('that %s ends in the middle goes on, to the same bytes', async (signal) => {
    const out = at(`tuned ${signal}`);
    const child = await startUntil(blendArgs(out), out);
    child.process.kill(signal);
    const ended = await child.ended;
    if (signal === 'SIGKILL') expect(ended.signal).toBe('SIGKILL');
    else expect(ended).toMatchObject({ code: 130, stderr: expect.stringMatching(/stopped after step .* continues/s) });
    expect(existsSync(out)).toBe(false);

    const { stdout } = await succeed(blendArgs(out));
    expect(stdout).toContain('continued from a checkpoint');
    expect(digests(out)).toEqual(digests(at('tuned')));
    expect(existsSync(`${out}.building`)).toBe(false);
  });

  it('is refused where what is left is of other settings, and begins anew with --fresh', async () => {
    const out = at('tuned otherwise');
    const child = await startUntil(blendArgs(out), out);
    child.process.kill('SIGKILL');
    await child.ended;
    const error = await refusal(blendArgs(out, '--pull', '2'));
    expect(error).toMatchObject({ code: 'checkpoint-mismatch', exit: 3, hint: expect.stringContaining('--fresh') });
    expect(error.message).toContain('settings.adamw.weightDecay (1, now 2)');
    const { trained } = await document<{ trained: object }>(blendArgs(out, '--pull', '2', '--fresh'));
    expect(trained).toMatchObject({ resumed: false, pull: 2 });
  });
});

describe('an interrupted build', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)(
    'by %s keeps a checkpoint, exits with 130 and writes no pool',
    async (signal) => {
      const pool = at(signal);
      const child = await startTraining(pool, '--json');
      child.process.kill(signal);
      const { code, stdout, stderr } = await child.ended;
      expect(code).toBe(130);
      expect(JSON.parse(stdout).error.code).toBe('interrupted');
      expect(stderr).toContain('continues');
      expect(existsSync(pool)).toBe(false);
      expect(existsSync(join(`${pool}.building`, 'training.safetensors'))).toBe(true);

      expect(await document(buildArgs(data, pool, ...LONG))).toMatchObject({ resumed: true });
      expect(digests(pool)).toEqual(whole);
    },
  );
});

/** util-linux's `script` runs a command on a terminal of its own. */
const hasScript = process.platform === 'linux' && spawnSync('script', ['--version']).status === 0;

describe.skipIf(!hasScript)('Ctrl-C on a terminal (needs util-linux script)', () => {
  it('keeps a checkpoint, although the progress display watches signals too', async () => {
    const pool = at('terminal');
    const quoted = [process.execPath, ...ENTRY, ...buildArgs(data, pool, ...LONG)];
    const line = `stty cols 120; exec ${quoted.map((word) => `'${word}'`).join(' ')}`;
    const env: NodeJS.ProcessEnv = { ...process.env, TERM: 'xterm' };
    delete env.NO_COLOR;
    const terminal = spawn('script', ['-qefc', line, '/dev/null'], { cwd: ROOT, env, stdio: 'pipe' });
    let shown = '';
    terminal.stdout.on('data', (text) => {
      shown += text;
    });
    const ended = new Promise((resolve) => terminal.on('close', resolve));
    let over = false;
    void ended.then(() => {
      over = true;
    });
    while (!existsSync(join(`${pool}.building`, 'training.safetensors'))) {
      if (over) throw new Error(`ended before its first checkpoint: ${shown}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    terminal.stdin.write('\u0003');
    expect(await ended).toBe(130);
    expect(shown).toContain('█'); // the display was there
    expect(shown).toContain('stopped after step');
    expect(existsSync(pool)).toBe(false);
    expect(readdirSync(`${pool}.building`)).toContain('training.safetensors');
  });
});

describe('two builds of one pool at the same time', () => {
  it('the second is refused, and the first ends as if it were alone', async () => {
    const pool = at('shared');
    const first = await startTraining(pool);
    for (const more of [[], ['--fresh'], ['--seed', '1', '--force']]) {
      const error = await refusal(buildArgs(data, pool, ...LONG, ...more));
      expect(error).toMatchObject({ code: 'output-exists', exit: 2 });
      expect(error.message).toContain(`process ${first.process.pid}`);
    }
    expect((await first.ended).code).toBe(0);
    expect(digests(pool)).toEqual(whole);
  });
});

describe('what an interrupted build left', () => {
  const pool = at('left');
  const work = `${pool}.building`;

  beforeAll(async () => {
    const child = await startTraining(pool);
    child.process.kill('SIGKILL');
    await child.ended;
  });

  it('is refused with other options, which are named with both values, and stays as it was', async () => {
    const left = digests(work);
    const error = await refusal(buildArgs(data, pool, ...LONG, '--seed', '7', '--epochs', '3'));
    expect(error).toMatchObject({ code: 'checkpoint-mismatch', exit: 3 });
    expect(error.message).toContain('seed (0, now 7)');
    expect(error.message).toContain('training.epochs (20, now 3)');
    expect(error.hint).toContain('--fresh');
    expect(digests(work)).toEqual(left);
    expect(existsSync(pool)).toBe(false);
  });

  it('is refused with other data', async () => {
    const error = await refusal(buildArgs(writeJsonl(at('other.jsonl'), records(25)), pool, ...LONG));
    expect(error).toMatchObject({ code: 'checkpoint-mismatch', exit: 3 });
    expect(error.message).toMatch(/another data$/);
  });

  it('is refused when it is damaged, with the file and a way out, and discarded with --fresh', async () => {
    const file = join(work, 'training.safetensors');
    writeFileSync(file, 'no safetensors at all');
    const error = await refusal(buildArgs(data, pool, ...LONG));
    expect(error).toMatchObject({ code: 'safetensors-invalid', exit: 3 });
    expect(error.message).toContain(file);
    expect(error.hint).toContain('--fresh');
    const fresh = await document(buildArgs(data, pool, '--seed', '7', '--fresh'));
    expect(fresh).toMatchObject({ resumed: false });
    expect(existsSync(work)).toBe(false);
  });

  it('binds nobody when no stage had been finished', async () => {
    const path = at('early');
    mkdirSync(`${path}.building`);
    writeFileSync(join(`${path}.building`, 'run.json'), '{"seed": 99}');
    expect(await document(buildArgs(data, path))).toMatchObject({ resumed: false });
  });
});

describe('a training that diverges', () => {
  it('says at which step, and is not in the way of the next one', async () => {
    const pool = at('diverged');
    const error = await refusal(buildArgs(data, pool, '--learning-rate', '1e30', '--epochs', '3'));
    expect(error).toMatchObject({ code: 'loss-not-finite', exit: 5 });
    expect(error.message).toMatch(/^step \d+: loss/);
    expect(error.hint).toContain('--learning-rate');
    expect(readdirSync(dir).filter((name) => name.includes('diverged'))).toEqual([]);
    expect(await document(buildArgs(data, pool))).toMatchObject({ resumed: false });
  });
});

describe('an interrupted write', () => {
  it('leaves neither the output nor a temporary file when the filling fails', () => {
    const path = at('half');
    const before = readdirSync(dir);
    expect(() =>
      writeDirectoryAtomic(path, {}, (into) => {
        writeFileSync(join(into, 'first'), 'x');
        throw new Error('the second file cannot be made');
      }),
    ).toThrow('second file');
    expect(readdirSync(dir)).toEqual(before);
  });

  it('leaves no output when the process is killed in it, and the next one clears up', async () => {
    const path = at('torn');
    const module = JSON.stringify(join(ROOT, 'src', 'files', 'atomic.ts'));
    const code = `
      const { writeDirectoryAtomic } = await import(${module});
      const { writeFileSync } = await import('node:fs');
      writeDirectoryAtomic(${JSON.stringify(path)}, {}, (dir) => {
        writeFileSync(dir + '/first', 'half');
        process.kill(process.pid, 'SIGKILL');
      });`;
    const child = start([], { entry: ['--import', TSX, '--input-type=module', '-e', code] });
    expect((await child.ended).signal).toBe('SIGKILL');
    expect(existsSync(path)).toBe(false);
    expect(readdirSync(dir).filter((name) => name.startsWith('.torn.tmp-'))).toHaveLength(1);
    await succeed(buildArgs(data, path));
    expect(readdirSync(dir).filter((name) => name.includes('torn'))).toEqual(['torn']);
  });

  it('of a process that is dead is cleared away by the next build of the same pool', async () => {
    const stale = at('.stale.tmp-999999999');
    mkdirSync(stale);
    writeFileSync(join(stale, 'pool.json'), '{}');
    await succeed(buildArgs(data, at('stale')));
    expect(existsSync(stale)).toBe(false);
  });
});
