import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { rememberBase, rememberedBase } from '../../src/pool/base-place.js';
import { temporaryDir } from '../helpers/files.js';

afterEach(() => vi.unstubAllEnvs());

it('where a base model was is known on this machine, by its digest and name, while it is there', () => {
  const dir = temporaryDir();
  vi.stubEnv('XDG_CACHE_HOME', join(dir, 'cache'));
  const path = join(dir, 'base');
  mkdirSync(path);
  const digest = 'a'.repeat(64);
  expect(rememberedBase({ name: 'base', digest })).toBeUndefined();
  rememberBase(digest, path);
  expect(rememberedBase({ name: 'base', digest })).toBe(path);
  expect(rememberedBase({ name: 'other', digest })).toBeUndefined();
  const other = join(dir, 'there', 'base');
  mkdirSync(other, { recursive: true });
  rememberBase('b'.repeat(64), other);
  expect(rememberedBase({ name: 'base', digest })).toBe(path);
  expect(rememberedBase({ name: 'base', digest: 'd'.repeat(64) })).toBe(other); // the last of that name
  renameSync(path, join(dir, 'moved'));
  expect(rememberedBase({ name: 'base', digest })).toBe(other);
});

it('where the cache cannot be written, it is not known', () => {
  vi.stubEnv('XDG_CACHE_HOME', '/dev/null');
  rememberBase('c'.repeat(64), '/');
  expect(rememberedBase({ name: '', digest: 'c'.repeat(64) })).toBeUndefined();
});
