/** `crayon doctor`: what this machine has, and why each missing back end is missing. */

import { execFile } from 'node:child_process';
import { cpus, freemem, totalmem } from 'node:os';
import type { Command } from 'commander';
import { formatBytes } from '../core/format.js';
import { childScript } from '../core/long-work.js';
import { CRAYON_VERSION } from '../files/package.js';
import { BACKENDS, type BackendName } from '../model/names.js';
import type { Terminal } from './terminal.js';

interface Probe {
  name: BackendName;
  available: boolean;
  detail: string;
  /** float32 product of 512 x 512 matrices */
  gigaflops?: number;
}

/** A back end may take this long to load and to multiply. */
const PROBE_TIMEOUT_MS = 60_000;

export function doctorCommand(command: Command, terminal: Terminal): void {
  command
    .addHelpText(
      'after',
      '\nEach back end is tried in a process of its own, for about a second.\n\nExample:\n  $ crayon doctor',
    )
    .action(async () => {
      const probes: Probe[] = [];
      const progress = await terminal.progress();
      for (const [i, name] of BACKENDS.entries()) {
        progress.update('back ends', i, BACKENDS.length, name);
        probes.push(await probe(name));
      }
      progress.update('back ends', BACKENDS.length, BACKENDS.length);
      progress.end();
      const best = probes.find((p) => p.available);
      const machine = {
        crayon: CRAYON_VERSION,
        node: process.version,
        platform: `${process.platform} ${process.arch}`,
        cpu: cpus()[0]?.model.trim() ?? 'unknown',
        threads: cpus().length,
        memoryBytes: totalmem(),
        freeBytes: freemem(),
      };
      terminal.document({ ...machine, backends: probes, chosen: best?.name ?? null });
      const { green, red, bold, dim } = terminal.colour;
      terminal.print(`crayon ${machine.crayon}, Node ${machine.node}, ${machine.platform}`);
      terminal.print(`${machine.cpu}, ${machine.threads} threads`);
      terminal.print(`${formatBytes(machine.memoryBytes)} of memory, ${formatBytes(machine.freeBytes)} free\n`);
      terminal.table(
        ['back end', '', 'GFLOP/s', 'what it is, or why it is missing'],
        probes.map((p) => [
          p.name,
          p.available ? green('yes') : red('no'),
          p.gigaflops === undefined ? '' : p.gigaflops.toFixed(p.gigaflops < 10 ? 1 : 0),
          p.available ? p.detail : dim(p.detail),
        ]),
        ['left', 'left', 'right', 'left'],
      );
      terminal.print(best === undefined ? red('No back end works.') : `\nUsed by default: ${bold(best.name)}`);
    });
}

/** Loads one back end in a child process, so that a crash of a native library is a result and not the end. */
function probe(name: BackendName): Promise<Probe> {
  const script = childScript(import.meta.url, 'probe-backend');
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...script, name],
      { timeout: PROBE_TIMEOUT_MS, maxBuffer: 2 ** 20 },
      (error, stdout, stderr) => {
        const line = stdout.trim().split('\n').at(-1) ?? '';
        try {
          resolve(JSON.parse(line) as Probe);
        } catch {
          const reason = error?.killed ? `no answer in ${PROBE_TIMEOUT_MS / 1000} s` : stderr.trim().split('\n').at(-1);
          resolve({ name, available: false, detail: reason || (error?.message ?? 'ended without an answer') });
        }
      },
    );
  });
}
