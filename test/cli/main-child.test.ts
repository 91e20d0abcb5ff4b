/** The command line as a process of its own: what really reaches stdout, stderr and the exit code. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BACKENDS } from '../../src/model/names.js';
import { LLAMA, records, scratch, start, writeJsonl } from '../e2e/helpers.js';

const dir = scratch();

describe('crayon doctor --json', () => {
  it('tells of every back end whether it is there, or why not', async () => {
    const { code, stdout } = await start(['doctor', '--json']).ended;
    expect(code).toBe(0);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ node: process.version, crayon: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
    expect(report.backends.map(({ name }: { name: string }) => name)).toEqual([...BACKENDS]);
    for (const { available, detail, gigaflops } of report.backends) {
      expect(detail.length).toBeGreaterThan(5);
      if (available) expect(gigaflops).toBeGreaterThan(0);
      else expect(gigaflops).toBeUndefined();
    }
    const wasm = report.backends.find(({ name }: { name: string }) => name === 'wasm');
    expect(wasm.available).toBe(true);
    expect(report.chosen).toBe(report.backends.find((b: { available: boolean }) => b.available).name);
  }, 120_000);
});

describe('the streams of a process', () => {
  const data = writeJsonl(join(dir, 'data.jsonl'), records(4));

  it.each(['auto', 'wasm'])('on back end %s: stdout has the document only', async (backend) => {
    const args = ['score', '--model', LLAMA, '--data', data, '--backend', backend, '--json'];
    const { code, stdout, stderr } = await start(args).ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ examples: 4 });
    expect(stderr).toContain('Back end:');
    expect(stderr).not.toContain('\u001b');
    // Native TensorFlow writes a greeting of its own where stderr is no terminal; nothing else may.
    const known = backend === 'wasm' ? /^(Back end: |- score )/ : /^(Back end: |- score )|absl|oneDNN|cpu_feature/;
    expect(stderr.split('\n').filter((line) => line !== '' && !known.test(line))).toEqual([]);
  });

  it('exit code 3 and one document for a missing model', async () => {
    const { code, stdout } = await start(['score', '--model', join(dir, 'no'), '--data', data, '--json']).ended;
    expect(code).toBe(3);
    expect(JSON.parse(stdout).error.code).toBe('file-not-found');
  });
});
