/** The table of limits, and docs/limits.md that is made of it. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { limitsText } from '../../scripts/limits.js';
import { LIMIT_TABLE, LIMITS } from '../../src/core/limits.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
const names = Object.values(LIMIT_TABLE).flatMap(Object.keys);

describe('LIMITS', () => {
  it('has every row of the table under a name of its own', () => {
    expect(Object.keys(LIMITS)).toEqual(names);
    expect(LIMITS.connections).toBe(1024);
  });

  it('holds none that nobody keeps to', () => {
    const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter((f) =>
      f.endsWith('.ts'),
    );
    const source = files.map((file) => readFileSync(join(ROOT, 'src', file), 'utf8')).join('\n');
    expect(names.filter((name) => !source.includes(`LIMITS.${name}`))).toEqual([]);
  });

  it('is what docs/limits.md says', () => {
    expect(readFileSync(join(ROOT, 'docs', 'limits.md'), 'utf8')).toBe(limitsText());
  });
});
