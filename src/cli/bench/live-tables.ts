/** What a live run and load tests found, for the terminal. */

import type { LiveSummary } from '../../bench/live/run.js';
import type { LatencySummary, LoadCell } from '../../bench/types.js';
import type { Interval } from '../../core/stats.js';
import type { Terminal } from '../terminal.js';

export function showLive(name: string, live: LiveSummary, terminal: Terminal): void {
  const points = ({ estimate, low, high }: Interval) =>
    `${(100 * estimate).toFixed(1)} [${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
  terminal.print(
    `\n${name}, the router on running servers: ${live.users} users, ${live.examples} queries, each counting alike`,
  );
  terminal.table(
    ['answered by', 'accuracy', 'server share'],
    [
      ['device', points(live.edge), '0 %'],
      ['router', points(live.hybrid), `${(100 * live.share.estimate).toFixed(1)} %`],
      ['random routing', points(live.random), 'the same'],
      ['server', points(live.server), '100 %'],
    ],
    ['left', 'right', 'right'],
  );
  const recovered =
    live.recovered === null
      ? 'The server is no better than the device: there is no gap to recover.'
      : `Recovered: ${points(live.recovered)} % of the gap between device and server; an oracle at this share ${(100 * live.ceiling!).toFixed(1)} %.`;
  const apart = live.apart ? 'the two intervals do not meet' : 'the two intervals meet';
  terminal.print(`${recovered} Over random routing: ${points(live.overRandom)} points, paired by query; ${apart}.`);
}

export function showLoad(cells: readonly LoadCell[], terminal: Terminal): void {
  if (cells.length === 0) return;
  terminal.print('\nLoad: times in milliseconds, p50 / p95 / p99');
  terminal.table(
    [
      'pattern',
      'device',
      'network',
      'done',
      'failed',
      'requests/s',
      'tokens/s',
      'goodput/s',
      'server',
      'TTFT',
      'TPOT',
      'end to end',
    ],
    cells.map((cell) => [
      ...[cell.pattern, cell.device, cell.network, String(cell.completed), String(cell.failed)],
      ...[cell.requestThroughput, cell.outputThroughput, cell.goodput].map((x) => (x === null ? '-' : x.toFixed(2))),
      `${(100 * cell.serverShare).toFixed(0)} %`,
      ...[cell.ttft, cell.tpot, cell.e2e].map((times) => latencyText(times.all)),
    ]),
    ['left', 'left', 'left', ...Array(9).fill('right')],
  );
  for (const { failures, pattern } of cells) {
    const codes = Object.entries(failures).map(([code, n]) => `${code} ${n}`);
    if (codes.length > 0) terminal.print(`${pattern}: failures, not among the times: ${codes.join(', ')}.`);
  }
}

function latencyText(summary: LatencySummary | undefined): string {
  if (summary === undefined) return '-';
  return [summary.p50, summary.p95, summary.p99].map((ms) => ms.toFixed(ms < 10 ? 1 : 0)).join(' / ');
}
