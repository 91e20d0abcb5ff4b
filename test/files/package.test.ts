import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CRAYON_VERSION, shippedPath } from '../../src/files/package.js';

describe('CRAYON_VERSION', () => {
  it('is the version in package.json', () => {
    const path = shippedPath('package.json');
    expect(CRAYON_VERSION).toBe((JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version);
  });
});

describe('what the sources ask the package for', () => {
  it('is in it', () => {
    const { files } = JSON.parse(readFileSync(shippedPath('package.json'), 'utf8')) as { files: string[] };
    const src = shippedPath('src');
    const sources = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const asked = sources.flatMap((file) =>
      [...readFileSync(join(src, file), 'utf8').matchAll(/shippedPath\(('[^']+'(?:, '[^']+')*)/g)].map(([, words]) =>
        words!.replaceAll("'", '').replaceAll(', ', '/'),
      ),
    );
    expect(asked).toContain('models/crayon-edge');
    const isShipped = (path: string) =>
      [...files, 'package.json'].some((shipped) => `${path}/`.startsWith(`${shipped}/`));
    expect(asked.filter((path) => !isShipped(path))).toEqual([]);
  });
});
