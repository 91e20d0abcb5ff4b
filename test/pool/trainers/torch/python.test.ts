import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../../src/files/json.js';
import { pythonVersions, runTrainer, type TrainerRun } from '../../../../src/pool/trainers/torch/python.js';
import { fakePython } from '../../../helpers/fake-python.js';

const dir = mkdtempSync(join(tmpdir(), 'crayon-python-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.skipIf(process.platform === 'win32')('pythonVersions', () => {
  it('says what a Python has', async () => {
    expect(await pythonVersions(fakePython(dir))).toMatchObject({ torch: '2.11.0', transformers: '5.17.0' });
  });

  it('names a program that is not there, and how another is named', async () => {
    await expect(pythonVersions(join(dir, 'nowhere'))).rejects.toMatchObject({
      code: 'trainer-unavailable',
      message: expect.stringContaining('nowhere: no such program'),
      hint: expect.stringContaining('CRAYON_PYTHON'),
    });
  });

  it('names every package that is missing or too old, and the command that gets them', async () => {
    const versions = { python: '3.12.1', torch: null, transformers: '4.57.1', safetensors: '0.8.0' };
    await expect(pythonVersions(fakePython(dir, { versions }))).rejects.toMatchObject({
      code: 'trainer-unavailable',
      message: expect.stringMatching(/: torch is missing; transformers 4\.57\.1, expected 5\.0 or later$/),
      hint: expect.stringContaining('-m pip install "torch>=2.4" "transformers>=5.0"'),
    });
  });

  it('passes on what a program says that is no Python', async () => {
    await expect(pythonVersions('/bin/false')).rejects.toMatchObject({ code: 'trainer-unavailable' });
    await expect(pythonVersions('/bin/cat')).rejects.toMatchObject({ message: expect.stringMatching(/versions/) });
  });
});

describe.skipIf(process.platform === 'win32')('runTrainer', () => {
  const run = (job: string, more: Partial<TrainerRun> = {}) =>
    runTrainer({ python: fakePython(dir, { job }), args: ['--job', dir], onEvent: () => {}, ...more });

  it('passes on every event, and nothing else that is printed', async () => {
    const events: JsonObject[] = [];
    await run("say({ event: 'ready' }); console.log('Loading weights: 100%'); say({ event: 'step', step: 1 });", {
      onEvent: (event) => events.push(event),
    });
    expect(events).toEqual([{ event: 'ready' }, { event: 'step', step: 1 }]);
  });

  it('tells what a trainer that died has said last', async () => {
    const job = "console.error('Traceback (most recent call last):\\n  File x\\nValueError: bad'); process.exit(1);";
    await expect(run(job)).rejects.toMatchObject({
      code: 'trainer-failed',
      message: expect.stringMatching(/ended with exit code 1: Traceback .* ValueError: bad$/),
    });
  });

  it('tells a lack of memory from other ends, of the GPU and of the machine', async () => {
    const job = "console.error('torch.OutOfMemoryError: CUDA out of memory.'); process.exit(1);";
    await expect(run(job)).rejects.toMatchObject({
      code: 'out-of-memory',
      hint: expect.stringContaining('--batch-size'),
    });
    await expect(run("process.kill(process.pid, 'SIGKILL')")).rejects.toMatchObject({ code: 'out-of-memory' });
  });

  it('ends one that says nothing, and its children', async () => {
    const started = performance.now();
    const job =
      "import('node:child_process').then((m) => m.spawn('sleep', ['60'], { stdio: 'inherit' })); setInterval(() => {}, 1e3);";
    await expect(run(job, { silenceMs: 1000 })).rejects.toMatchObject({
      code: 'trainer-failed',
      message: expect.stringContaining('said nothing for 1 s'),
    });
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  it('lets one work that goes on saying something', async () => {
    const job =
      'let n = 0; const timer = setInterval(() => { say({ n }); if (++n === 12) clearInterval(timer); }, 100);';
    const events: JsonObject[] = [];
    await run(job, { silenceMs: 1000, onEvent: (event) => events.push(event) });
    expect(events).toHaveLength(12);
  });

  it('does not take a pause of its own for the silence of the trainer', async () => {
    const job =
      'let n = 0; const timer = setInterval(() => { say({ n }); if (++n === 20) clearInterval(timer); }, 100);';
    const events: JsonObject[] = [];
    const onEvent = (event: JsonObject) => {
      // As Ctrl-Z and fg: the trainer, in a group of its own, goes on.
      if (events.push(event) === 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
    };
    await run(job, { silenceMs: 1000, onEvent });
    expect(events).toHaveLength(20);
  });

  it('asks by the end of standard input, and ends one that does not listen', async () => {
    const asked = (job: string, stopMs: number) => {
      const stop = new AbortController();
      const events: JsonObject[] = [];
      const onEvent = (event: JsonObject) => {
        events.push(event);
        stop.abort();
      };
      return run(job, { signal: stop.signal, stopMs, onEvent }).then(() => events);
    };
    const polite = "say({ at: 1 }); process.stdin.resume().on('end', () => { say({ at: 2 }); process.exit(3); });";
    expect(await asked(polite, 60_000)).toEqual([{ at: 1 }, { at: 2 }]);
    expect(await asked('say({ at: 1 }); setInterval(() => {}, 1e3);', 200)).toEqual([{ at: 1 }]);
  });
});
