/** What was measured, on what, from what: the head of every report. */

import type { Report } from './report.js';
import * as words from './words.js';

/** Name and value of each. */
export function facts({ manifest, users, cells }: Report): Array<[string, string]> {
  const { base, server, pool, seed, machine, commit, started, finished, createdBy, plannedCells } = manifest;
  const result: Array<[string, string]> = [
    ['On the device', `${base.name}, ${words.count(base.parameters)} parameters`],
  ];
  if (server !== null)
    result.push(['Server', server.baseUrl === '' ? server.name : `${server.name} (${server.baseUrl})`]);
  if (pool !== null) {
    const { N, r, embedding, centred, tau, parameters } = pool;
    const options = `${embedding}${centred ? ', centred' : ''}, tau ${tau}`;
    result.push(['Pool', `${N} base LoRAs of rank ${r}, ${words.count(parameters)} parameters; ${options}`]);
  }
  const ended = finished === null ? 'not finished' : `took ${duration(started, finished)}`;
  result.push(
    ['Users', String(users.length)],
    ['Cells', `${cells} of ${plannedCells}`],
    ['Seed', String(seed)],
    ['Started', `${started.slice(0, 16).replace('T', ' ')}, ${ended}`],
    ['Machine', machine],
    ['Made by', `${createdBy}${commit === null ? '' : `, commit ${shortCommit(commit)}`}`],
  );
  return result;
}

function duration(from: string, to: string): string {
  return words.milliseconds(Math.max(0, Date.parse(to) - Date.parse(from)));
}

/** Twelve digits, and whether the tree was dirty. */
function shortCommit(commit: string): string {
  return commit.replace(/^([0-9a-f]{12})[0-9a-f]*/, '$1');
}
