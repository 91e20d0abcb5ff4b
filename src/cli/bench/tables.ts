/** A bench's tables in the terminal: those of its report, and what a live run and load tests found. */

import type { LiveSummary } from '../../bench/live/run.js';
import type { ReportTable } from '../../bench/report/table.js';
import { loadTables } from '../../bench/report/tables.js';
import { interval, percent, short, visible } from '../../bench/report/words.js';
import type { LoadCell } from '../../bench/types.js';
import { SCORED_THROUGH } from '../../train/completion-score.js';
import type { Terminal } from '../terminal.js';

/** A name from a file may be of any length. */
const MAX_CELL = 60;

export function showTables(tables: readonly ReportTable[], terminal: Terminal): void {
  const { bold, dim } = terminal.colour;
  for (const { title, head, align, rows, notes } of tables) {
    terminal.print(`\n${bold(title)}`);
    const cells = rows.map((row) =>
      row.cells.map((cell, i) => {
        const text = short(cell, MAX_CELL);
        return (row.strong && i === 0) || row.clear.includes(i) ? bold(text) : text;
      }),
    );
    terminal.table(
      head.map((name) => short(name, MAX_CELL)),
      cells,
      align,
    );
    for (const note of notes) terminal.print(dim(visible(note)));
  }
}

export function showLoad(load: readonly LoadCell[], terminal: Terminal): void {
  showTables(loadTables(load), terminal);
}

export function showLive(name: string, live: LiveSummary, terminal: Terminal): void {
  terminal.print(
    `\n${name}, the router on running servers: ${live.users} users, ${live.examples} queries, each counting alike`,
  );
  terminal.table(
    ['answered by', `accuracy, ${SCORED_THROUGH.engine}`, 'server share'],
    [
      ['device', interval(live.edge), '0 %'],
      ['router', interval(live.hybrid), percent(live.share.estimate)],
      ['random routing', interval(live.random), 'the same'],
      ['server', interval(live.server), '100 %'],
    ],
    ['left', 'right', 'right'],
  );
  const recovered =
    live.recovered === null
      ? 'The server is no better than the device: there is no gap to recover.'
      : `Recovered: ${interval(live.recovered)} % of the gap between device and server; an oracle at this share ${percent(live.ceiling!)}.`;
  const apart = live.apart ? 'the two intervals do not meet' : 'the two intervals meet';
  terminal.print(`${recovered} Over random routing: ${interval(live.overRandom)} points, paired by query; ${apart}.`);
}
