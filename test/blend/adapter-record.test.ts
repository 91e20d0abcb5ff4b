/** Adapters on another base model than theirs: refused where digests tell, warned of where names do. */

import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseNameOf, checkAdapterBase, readAdapterRecord } from '../../src/blend/adapter-record.js';
import { blendPool } from '../../src/blend/blend-pool.js';
import { hearingWarnings } from '../../src/core/warning.js';
import { exportAdapterGguf } from '../../src/gguf/adapter.js';
import { openBase } from '../../src/gguf/base.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { errorOf, temporaryDir, temporaryRoot } from '../helpers/files.js';
import { fixture, ROOT } from '../helpers/fixtures.js';

const EDGE = join(ROOT, 'models', 'crayon-edge');
const POOL = join(ROOT, 'models', 'crayon-edge-pool');
const dir = temporaryRoot();
const blend = join(dir, 'bank');
const gguf = join(dir, 'crayon-edge.F16.gguf');
/** The same shapes, other weights. */
const changed = join(dir, 'changed');

beforeAll(async () => {
  await blendPool({ pool: POOL, estimator: 'uniform', combine: 'cat', long: 'error', out: blend });
  exportModelGguf({ model: EDGE, out: gguf, type: 'F16' });
  cpSync(EDGE, changed, { recursive: true });
  const bytes = readFileSync(join(changed, 'model.safetensors'));
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(join(changed, 'model.safetensors'), bytes);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** The warnings of checking an adapter on a base model, or the code of the refusal. */
function checked(adapter: string, path: string, anyBase?: boolean) {
  const warnings: string[] = [];
  const base = openBase(path, { someWeights: true });
  try {
    hearingWarnings(
      (text) => warnings.push(text),
      () => checkAdapterBase(adapter, base, anyBase),
    );
    return warnings;
  } finally {
    base.close();
  }
}

function refusal(adapter: string, path: string) {
  const error = errorOf(() => checked(adapter, path));
  expect(error).toMatchObject({ code: 'adapter-mismatch' });
  expect(error.hint).toMatch(/blend again.*--any-base/);
  return error;
}

describe('a blend', () => {
  it('records its base model, and is refused on another one', () => {
    const { base, baseName } = readAdapterRecord(blend);
    const model = openBase(EDGE);
    expect(base).toEqual({ digest: model.digest(), tokenizerDigest: model.tokenizerDigest() });
    model.close();
    expect(baseName).toBe('models/crayon-edge');
    expect(checked(blend, EDGE)).toEqual([]);
    expect(refusal(blend, changed).message).toMatch(/made on another base model.*digest [0-9a-f]{12}, here/);
    expect(checked(blend, changed, true)[0]).toMatch(/another base model .*any base was asked for/);
  });

  it('is refused with another tokenizer', () => {
    const other = join(temporaryDir(), 'model');
    cpSync(EDGE, other, { recursive: true });
    writeFileSync(join(other, 'tokenizer.json'), `${readFileSync(join(other, 'tokenizer.json'), 'utf8')}\n`);
    expect(refusal(blend, other).message).toMatch(/another tokenizer/);
  });

  it('of before there was a record is told by its name', () => {
    const old = join(temporaryDir(), 'old');
    cpSync(blend, old, { recursive: true });
    const record = JSON.parse(readFileSync(join(old, 'crayon.json'), 'utf8'));
    delete record.base;
    writeFileSync(join(old, 'crayon.json'), JSON.stringify(record));
    expect(checked(old, EDGE)).toEqual([]);
    expect(checked(old, changed)[0]).toMatch(/called "models\/crayon-edge", and .* is not called so/);
  });

  it('goes with its base model in another file format, whose digest cannot be compared, while the names agree', () => {
    expect(checked(blend, gguf)).toEqual([]);
    const renamed = join(temporaryDir(), 'something.gguf');
    exportModelGguf({ model: changed, out: renamed, type: 'F16' });
    expect(checked(blend, renamed)[0]).toMatch(/in another file format, so that digests cannot be compared/);
  });
});

describe('a member of a pool', () => {
  it('is known by its pool', () => {
    const member = join(POOL, 'adapters', '0');
    expect(checked(member, EDGE)).toEqual([]);
    refusal(member, changed);
  });
});

describe('a GGUF LoRA', () => {
  it('that crayon export wrote is known by the record that it was made of', () => {
    const out = join(temporaryDir(), 'bank.lora.gguf');
    exportAdapterGguf({ adapter: blend, base: EDGE, out, madeOn: baseNameOf(blend) });
    expect(readAdapterRecord(out)).toMatchObject({ base: readAdapterRecord(blend).base, prompt: null });
    expect(checked(out, EDGE)).toEqual([]);
    refusal(out, changed);
  });

  it('is told by the name that llama.cpp’s converter keeps, or not at all', () => {
    const out = join(temporaryDir(), 'other.lora.gguf');
    exportAdapterGguf({ adapter: blend, base: EDGE, out, madeOn: { baseName: 'org/other-model' } });
    expect(checked(out, EDGE)[0]).toMatch(/called "org\/other-model"/);
    exportAdapterGguf({ adapter: blend, base: EDGE, out, force: true });
    expect(checked(out, EDGE)).toEqual([]);
  });
});

describe('an adapter of another program', () => {
  it('is warned of by the name of its base model', () => {
    const adapter = fixture('identity', 'lm-head-adapter'); // fixtures/llama
    expect(checked(adapter, fixture('models', 'llama'))).toEqual([]);
    const warnings = checked(adapter, fixture('models', 'llama-rope3'));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/called "fixtures\/llama", and .*llama-rope3 is not called so/);
  });
});
