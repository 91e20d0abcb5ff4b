/**
 * Writes docs/limits.md, the table of src/core/limits.ts:
 *
 *     npx tsx scripts/limits.ts
 *
 * test/core/limits.test.ts compares what is committed with what this makes.
 */

import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LIMIT_TABLE } from '../src/core/limits.js';

const HEAD = `# Limits

What comes from outside is read in time and memory proportional to its size, and beyond these limits refused with an error that names value and limit.
They are constants of [src/core/limits.ts](../src/core/limits.ts), of which this page is made (\`npx tsx scripts/limits.ts\`); what a user may want to set
is a key of the configuration instead: \`limits\`, \`server.timeouts\` and \`engine\` in [configs/edge.yaml](../configs/edge.yaml).
`;

/** The text of docs/limits.md. */
export function limitsText(): string {
  const tables = Object.entries(LIMIT_TABLE).map(([title, rows]) => {
    const lines = Object.entries(rows).map(
      ([name, [value, unit, protects]]) => `| \`${name}\` | ${inWords(value, unit)} | ${protects} |`,
    );
    return `\n## ${title}\n\n| limit | value | of what |\n|---|---|---|\n${lines.join('\n')}\n`;
  });
  return HEAD + tables.join('');
}

function inWords(value: number, unit: string): string {
  if (unit === 'ms' && value % 1000 === 0) return `${value / 1000} s`;
  if (unit === 'bytes' && value % 2 ** 20 === 0) return `${value / 2 ** 20} MiB`;
  if (unit === 'bytes' && value % 2 ** 10 === 0) return `${value / 2 ** 10} KiB`;
  const number = value.toLocaleString('en-US');
  return unit === 'of them' ? number : `${number} ${unit}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(join(dirname(process.argv[1]), '..', 'docs', 'limits.md'), limitsText());
}
