/** Real disks that are full, or may only be read: small file systems in memory, where this user may mount them (Linux, root). */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from './scenario.js';
import { run, SCENARIOS } from './scenarios.js';

const system = (...words: string[]): boolean => spawnSync(words[0]!, words.slice(1)).status === 0;

/** Fills what is free of the disk, but for `left` bytes. */
function fill(dir: string, left: number): void {
  for (let size = 2 ** 22; size >= 4096; size /= 2) {
    for (let i = 0; ; i++) {
      try {
        writeFileSync(join(dir, `filler-${size}-${i}`), Buffer.alloc(size));
      } catch {
        break;
      }
    }
  }
  for (const name of readdirSync(dir)
    .filter((name) => name.startsWith('filler-4096'))
    .slice(0, left / 4096)) {
    system('rm', join(dir, name));
  }
}

export async function tormentDisks(root: string): Promise<{ words: string; faults: string[] }> {
  const faults: string[] = [];
  let tried = 0;
  mkdirSync(root, { recursive: true });
  for (const scenario of SCENARIOS.filter(({ name }) =>
    ['blend', 'blend without an exchange', 'export'].includes(name),
  )) {
    for (const kind of ['full', 'almost full', 'read-only']) {
      const dir = join(root, `${scenario.name}-${kind}`.replaceAll(' ', '-'));
      mkdirSync(dir);
      if (!system('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', dir)) {
        return { words: 'not tried: no file system may be mounted', faults };
      }
      try {
        tried++;
        await scenario.prepare(dir);
        const old = scenario.output(dir);
        if (kind === 'read-only') system('mount', '-o', 'remount,ro', dir);
        else fill(dir, kind === 'full' ? 0 : 32_768);
        const { argv } = scenario.command(dir) as { argv: string[] };
        const { code, stdout } = await run({ argv: [...argv, '--json'] }, dir);
        const said = /"code": "([\w-]+)"/.exec(stdout)?.[1];
        const expected = kind === 'read-only' ? 'write-failed' : 'disk-full';
        if (code === 0 || said !== expected) faults.push(`${dir}: ended with ${code} ${said}, expected ${expected}`);
        if (scenario.output(dir) !== old) faults.push(`${dir}: the old output is lost`);
        const left = readdirSync(dir).filter((name) => name.startsWith('.'));
        if (left.length > 0) faults.push(`${dir}: left ${left} (${digestOf(dir)})`);
      } finally {
        system('umount', dir);
      }
    }
  }
  return { words: `${tried} full or read-only disks`, faults };
}
