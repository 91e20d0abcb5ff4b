/** Readers of an output directory that is replaced again and again: each finds one, and all of its files of the same one. */

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeDirectoryAtomic } from '../../src/files/atomic.js';
import { readSmallFile } from '../../src/files/io.js';
import { readUnreplaced } from '../../src/files/siblings.js';
import { NO_KOFFI, TSX } from '../helpers/processes.js';

export interface SwapsOutcome {
  reads: number;
  /** different outputs that were read */
  seen: number;
  /** looks by the system's own call that found nothing: none where names can be exchanged */
  absent: number;
  faults: string[];
}

function write(out: string, text: string): void {
  writeDirectoryAtomic(out, { force: true }, (dir) => {
    for (const name of ['a', 'b']) writeFileSync(join(dir, name), text);
  });
}

export async function readDuringSwaps(root: string, swaps: number, withExchange: boolean): Promise<SwapsOutcome> {
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  const out = join(root, 'out');
  write(out, '0');
  const imports = [TSX, ...(withExchange ? [] : [NO_KOFFI])].flatMap((url) => ['--import', url]);
  const writer = spawn(process.execPath, [...imports, fileURLToPath(import.meta.url), out, String(swaps)], {
    stdio: 'inherit',
  });
  let code: number | null | undefined;
  writer.on('close', (ended) => {
    code = ended;
  });
  const outcome: SwapsOutcome = { reads: 0, seen: 0, absent: 0, faults: [] };
  const seen = new Set<string>();
  while (code === undefined) {
    for (let i = 0; i < 100; i++) {
      if (!existsSync(out)) outcome.absent++;
      try {
        const read = (name: string) => Buffer.from(readSmallFile(join(out, name), 100)).toString();
        const [a, b] = readUnreplaced(out, () => [read('a'), read('b')]);
        if (a !== b) outcome.faults.push(`a of ${a}, b of ${b}`);
        seen.add(a!);
        outcome.reads++;
      } catch (error) {
        outcome.faults.push(String(error));
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (code !== 0) outcome.faults.push(`the writer ended with ${code}`);
  if (withExchange && outcome.absent > 0) outcome.faults.push(`absent ${outcome.absent} times`);
  return { ...outcome, seen: seen.size };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (let i = 1; i <= Number(process.argv[3]); i++) write(process.argv[2]!, String(i));
}
