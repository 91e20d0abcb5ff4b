/** The tables of a report in reading order; those without rows are left out. */

import type { Report } from './report.js';
import type { ReportTable } from './table.js';
import * as strategies from './tables.js';
import * as hybrid from './tables-hybrid.js';

export function reportTables(report: Report): ReportTable[] {
  return [
    ...strategies.accuracyTables(report),
    strategies.costTable(report),
    ...hybrid.hybridSummaryTables(report),
    ...hybrid.hybridTables(report),
    hybrid.routedTable(report),
    strategies.ablationTable(report),
    strategies.conditionsTable(report),
    hybrid.loadTable(report),
    hybrid.loadTimesTable(report),
    strategies.userTable(report),
  ].filter((table) => table !== null);
}

/**
 * What a terminal shows: not the table of users, which is as wide as there are strategies, and of the hybrid ones only those
 * of the first strategy on the device.
 */
export function terminalTables(report: Report): ReportTable[] {
  const first = report.hybrid?.rows[0];
  const own = first === undefined ? '' : `${first.edgeStrategy}-${first.method}`;
  return reportTables(report).filter(({ id }) => {
    if (id.startsWith('hybrid-') || id.startsWith('recovered-')) return id.endsWith(`-${own}`);
    return id !== 'users';
  });
}
