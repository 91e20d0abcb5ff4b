/** What the templates of a data set do, in the process that bounded-template.ts has them run in. */

import { type DataRecord, renderRows, renderText, type TaskTemplates } from './template.js';

export interface TaskSetup {
  task: TaskTemplates;
  columns: ReadonlySet<string>;
}

export const open = (setup: TaskSetup | null) => ({
  rows: (records: readonly DataRecord[]) => renderRows(setup!.task, records, setup!.columns),
  text: ([source, record, where]: [string, DataRecord, string]) => renderText(source, record, where),
});
