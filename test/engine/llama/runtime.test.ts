import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { llamaPackages } from '../../../src/engine/llama/runtime.js';
import { ROOT } from '../../helpers/fixtures.js';

const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, { optionalDependencies?: Record<string, string>; version?: string }>;
};

it.each([
  ['linux', 'x64'],
  ['linux', 'arm64'],
  ['linux', 'arm'],
  ['darwin', 'arm64'],
  ['darwin', 'x64'],
  ['win32', 'x64'],
  ['win32', 'arm64'],
])('on %s %s, a build that node-llama-cpp has, of the version that is locked', (platform, arch) => {
  const { optionalDependencies, version } = packages['node_modules/node-llama-cpp']!;
  const [library, build] = llamaPackages(platform, arch).map((spec) => spec.split(/(?<=.)@/));
  expect(library).toEqual(['node-llama-cpp', version!.split('.')[0]]);
  expect(build![1]).toBe(library![1]);
  expect(Object.keys(optionalDependencies!)).toContain(build![0]);
});
