/** On what a benchmark ran: the line that stands below its table, and the same in its JSON document. */

import { execFileSync } from 'node:child_process';
import { cpus, loadavg } from 'node:os';

/** The machine, what else it had to do, and the commit; `+` where files differ from it. */
export function machine() {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim();
  const changed = git('status', '--porcelain') === '' ? '' : '+';
  return {
    processor: cpus()[0]!.model.trim(),
    threads: cpus().length,
    node: process.version,
    load: loadavg().map((x) => Math.round(x * 10) / 10),
    commit: git('rev-parse', '--short', 'HEAD') + changed,
  };
}

export function machineLine({ processor, threads, node, load, commit }: ReturnType<typeof machine>): string {
  return `${processor}, ${threads} threads, Node ${node}, load ${load.join(' ')}, commit ${commit}`;
}
