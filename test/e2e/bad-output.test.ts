/** Outputs that cannot or must not be written: nothing of the user's is lost, and nothing is left half-written. */

import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  buildArgs,
  copyOf,
  digests,
  pokeF32,
  type Refusal,
  records,
  refusal,
  scratch,
  start,
  succeed,
  writeJsonl,
} from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const data = writeJsonl(at('train.jsonl'), records(12));
const blendArgs = (out: string, ...more: string[]) => [
  ...['blend', '--pool', at('pool'), '--estimator', 'uniform', '--out', out],
  ...more,
];
/** Every command that writes a directory. */
const WRITERS: Array<[string, (out: string, ...more: string[]) => string[]]> = [
  ['build-pool', (out, ...more) => buildArgs(data, out, ...more)],
  ['blend', blendArgs],
];

beforeAll(() => succeed(buildArgs(data, at('pool'))));

describe.each(WRITERS)('%s', (name, args) => {
  async function refusedAt(out: string, ...more: string[]): Promise<Refusal> {
    const before = { names: readdirSync(dir), content: existsSync(out) ? digests(dir) : {} };
    const error = await refusal(args(out, ...more));
    expect(readdirSync(dir)).toEqual(before.names);
    if (existsSync(out)) expect(digests(dir)).toEqual(before.content);
    return error;
  }

  it('refuses an existing output, and replaces it with --force', async () => {
    const out = at(`${name}-twice`);
    await succeed(args(out));
    const error = await refusedAt(out);
    expect(error).toMatchObject({ code: 'output-exists', exit: 2 });
    expect(error.message).toContain(out);
    expect(error.hint).toContain('--force');
    writeFileSync(join(out, 'left-over.txt'), 'x');
    await succeed(args(out, '--force'));
    expect(existsSync(join(out, 'left-over.txt'))).toBe(false);
  });

  it('replaces no directory of another kind, even with --force', async () => {
    const out = at(`${name}-diary`);
    mkdirSync(out);
    writeFileSync(join(out, 'diary.txt'), 'dear diary');
    for (const more of [[], ['--force']]) {
      expect(await refusedAt(out, ...more)).toMatchObject({ code: 'output-exists', exit: 2 });
    }
    expect(readFileSync(join(out, 'diary.txt'), 'utf8')).toBe('dear diary');
  });

  it('replaces no file', async () => {
    const out = at(`${name}-file`);
    writeFileSync(out, 'mine');
    const error = await refusal(args(out, '--force'));
    expect(error).toMatchObject({ code: 'output-exists', exit: 2 });
    expect(error.message).toContain('not a directory');
    expect(readFileSync(out, 'utf8')).toBe('mine');
  });

  it('writes into an empty directory', async () => {
    const out = at(`${name}-empty`);
    mkdirSync(out);
    await succeed(args(out));
  });

  it('creates the folders above its output', async () => {
    await succeed(args(at(`${name}-deep/down/here`)));
  });

  it('says that it cannot write below a file', async () => {
    for (const below of ['out', 'sub/out']) {
      const error = await refusedAt(join(data, below));
      expect(error).toMatchObject({ code: 'write-failed', exit: 4 });
      expect(error.message).toContain(data);
      expect(error.message).toContain('not a directory');
    }
  });

  it('says that it cannot write in /proc', async () => {
    const error = await refusedAt('/proc/crayon-output');
    expect(error).toMatchObject({ code: 'write-failed', exit: 4 });
    expect(error.message).toContain('/proc/crayon-output');
  });
});

describe('build-pool', () => {
  it('makes no folder in a dry run', async () => {
    await succeed(buildArgs(data, at('not/made'), '--dry-run'));
    expect(existsSync(at('not'))).toBe(false);
  });
});

describe('blend', () => {
  it('refuses to replace a pool or a member of it by an adapter', async () => {
    await succeed(buildArgs(data, at('other-pool')));
    const before = digests(dir);
    expect(await refusal(blendArgs(at('other-pool'), '--force'))).toMatchObject({ code: 'output-exists', exit: 2 });
    for (const inside of ['pool', 'pool/adapters/0', 'pool/new']) {
      const error = await refusal(blendArgs(at(inside), '--force'));
      expect(error).toMatchObject({ code: 'bad-option', exit: 2 });
      expect(error.message).toContain(at(inside));
    }
    expect(digests(dir)).toEqual(before);
    await succeed(blendArgs(at('pool-of-a-like-name')));
  });

  it('keeps the earlier adapter when the new blend fails', async () => {
    await succeed(blendArgs(at('keep')));
    const before = digests(at('keep'));
    const pool = copyOf(at('pool'), at('sick-pool'));
    const tensor = 'base_model.model.model.layers.1.mlp.up_proj.lora_B.weight';
    pokeF32(join(pool, 'adapters', '2', 'adapter_model.safetensors'), tensor, 0, Number.NaN);
    const names = readdirSync(dir);
    const error = await refusal([...blendArgs(at('keep'), '--force'), '--pool', pool]);
    expect(error.code).toBe('tensor-not-finite');
    expect(digests(at('keep'))).toEqual(before);
    expect(readdirSync(dir)).toEqual(names);
  });
});

/** A file system of 64 KiB, where the tests may mount one. */
const small = at('small');
const isMounted = mountSmall();
afterAll(() => {
  if (isMounted) execFileSync('umount', [small]);
});

function mountSmall(): boolean {
  mkdirSync(small);
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small], { stdio: 'pipe' });
    return true;
  } catch {
    return false; // a container without the right to mount
  }
}

describe.skipIf(!isMounted)('a full disk (needs root, to mount a small one)', () => {
  it.each([['cat'], ['svd']])('ends a %s blend and leaves nothing', async (combine) => {
    await succeed(buildArgs(data, at('large'), '--rank', '16', '--force'));
    const error = await refusal([
      'blend',
      '--pool',
      at('large'),
      '--estimator',
      'uniform',
      '--combine',
      combine,
      '--out',
      `${small}/out`,
    ]);
    expect(error).toMatchObject({ code: 'disk-full', exit: 4 });
    expect(error.message).toContain(`${small}/out`);
    expect(error.hint).toBeDefined();
    expect(readdirSync(small)).toEqual([]);
  });

  it('ends a build, which goes on elsewhere or when there is room', async () => {
    const error = await refusal(buildArgs(data, `${small}/pool`, '--rank', '16'));
    expect(error).toMatchObject({ code: 'disk-full', exit: 4 });
    expect(existsSync(`${small}/pool`)).toBe(false);
    expect(readdirSync(small).filter((name) => name.includes('tmp'))).toEqual([]);
  });
});

describe('a reader that goes away', () => {
  it('ends the command quietly', async () => {
    const child = start(['inspect', at('pool'), '--json']);
    child.process.stdout?.destroy();
    const { code, stderr } = await child.ended;
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });
});

describe('a full output', () => {
  it.skipIf(!existsSync('/dev/full'))('is said, and is no defect of crayon', async () => {
    const full = openSync('/dev/full', 'w');
    const { code, stderr } = await start(['inspect', at('pool')], { stdout: full }).ended;
    closeSync(full);
    expect(stderr).toContain('stdout cannot be written (ENOSPC)');
    expect(code).toBe(4);
  });
});
