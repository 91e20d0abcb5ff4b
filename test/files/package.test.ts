import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CRAYON_VERSION, shippedPath } from '../../src/files/package.js';

describe('CRAYON_VERSION', () => {
  it('is the version in package.json', () => {
    const path = shippedPath('package.json');
    expect(CRAYON_VERSION).toBe((JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version);
  });
});
