/** `build-pool --trainer torch` from the command line, with a program that stands for Python. test/pool/trainers has the rest. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fakePython } from '../helpers/fake-python.js';
import { buildArgs, crayon, document, records, refusal, scratch, succeed, writeJsonl } from './helpers.js';

const dir = scratch();
const data = writeJsonl(join(dir, 'train.jsonl'), records(24));
const args = (...more: string[]) => buildArgs(data, join(dir, 'pool'), '--trainer', 'torch', ...more);

describe.skipIf(process.platform === 'win32')('build-pool --trainer torch', () => {
  it('says in a dry run what would train, and refuses what is missing', async () => {
    const { stdout } = await succeed(args('--python', fakePython(dir), '--trainer-dtype', 'bfloat16', '--dry-run'));
    expect(stdout).toMatch(/by +PyTorch 2\.11\.0 and transformers 5\.17\.0 of .*fake-python, bfloat16/);
    expect(await refusal(args('--python', join(dir, 'none'), '--dry-run'))).toMatchObject({
      code: 'trainer-unavailable',
      exit: 4,
    });
  });

  it('takes its Python from CRAYON_PYTHON, where no flag names one', async () => {
    const before = process.env.CRAYON_PYTHON;
    process.env.CRAYON_PYTHON = fakePython(dir);
    try {
      expect(await document(args('--dry-run'))).toMatchObject({ trainer: { python: process.env.CRAYON_PYTHON } });
    } finally {
      if (before === undefined) delete process.env.CRAYON_PYTHON;
      else process.env.CRAYON_PYTHON = before;
    }
  });

  it('writes the job alone, without any Python, and says how it is run', async () => {
    const { stdout } = await succeed(args('--python', join(dir, 'none'), '--job-only'));
    const job = join(dir, 'pool.building', 'torch');
    expect(stdout).toContain(`torch_trainer.py --job ${job}`);
    expect(existsSync(join(job, 'job.safetensors'))).toBe(true);
    expect(existsSync(join(dir, 'pool'))).toBe(false);
  });

  it('is not told what only PyTorch would heed', async () => {
    const { code, stderr } = await crayon(
      buildArgs(data, join(dir, 'other'), '--job-only', '--trainer-processes', '2'),
    );
    expect(code).toBe(2);
    expect(stderr).toContain('--job-only, --trainer-processes without --trainer torch');
  });
});
