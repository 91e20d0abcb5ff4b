/** The templates of a data set's description, bounded in time and memory: rendered in a process of its own, many records at a time. */

import { Bounded } from '../bounded/bounded.js';
import { sizeOf } from '../bounded/size.js';
import { isSmallTemplate } from '../core/jinja/small.js';
import type { RawExample } from './example.js';
import { alike, type DataRecord } from './numbers.js';
import { columnsOf, renderTask, type TaskTemplates } from './template.js';
import type { TaskSetup } from './template-jobs.js';

/** Records of one call: so many, or fewer where they are long. */
const MOST_RECORDS = 512;
const MOST_CHARACTERS = 2 ** 20;

/** Of records whose templates are small, which render at once: what 200 expressions make of them fits any heap. */
const SMALL_CHARACTERS = 2 ** 16;

/** The texts of a description that are templates. */
function sourcesOf(task: TaskTemplates): string[] {
  const { description, doc_to_text: prompt, doc_to_choice: choice, doc_to_target: target, gen_prefix: prefix } = task;
  const choices = typeof choice === 'object' ? Object.values(choice) : [choice];
  return [description, prompt, target, prefix, ...choices].filter((source) => typeof source === 'string');
}

const templates = (what: string, setup: TaskSetup | null) =>
  new Bounded({
    beside: import.meta.url,
    jobs: 'template-jobs',
    setup,
    what,
    code: 'yaml-invalid',
    hint: 'A template of a data set reads the fields of one record: look for a loop that does not end, or a text that grows.',
  });

/**
 * The examples of records, or for each that gives none why.
 *
 * @throws CrayonError `yaml-invalid` for a template that is none, or that takes too much time or memory
 */
export function renderTaskBounded(task: TaskTemplates, records: readonly DataRecord[]): Array<RawExample | string> {
  const isSmall =
    sourcesOf(task).every((source) => isSmallTemplate(source, 'dataSet')) &&
    records.every((record) => sizeOf(record, SMALL_CHARACTERS) < SMALL_CHARACTERS);
  if (isSmall) return renderTask(task, records);
  const { where, isCsv: _, output_type: __, ...sources } = task;
  const keys = Object.keys(sources).filter((key) => sources[key as keyof typeof sources] !== undefined);
  const code = templates(`${where}: one of its templates (${keys.join(', ')})`, { task, columns: columnsOf(records) });
  const made: Array<RawExample | string> = [];
  let some: DataRecord[] = [];
  let size = 0;
  const render = () => {
    for (const one of code.runSync<Array<RawExample | string>>('rows', some)) made.push(one);
    [some, size] = [[], 0];
  };
  for (const record of alike(records)) {
    some.push(record);
    size += sizeOf(record, MOST_CHARACTERS);
    if (some.length >= MOST_RECORDS || size >= MOST_CHARACTERS) render();
  }
  if (some.length > 0 || records.length === 0) render();
  return made;
}

/** One template's text over one record. @throws CrayonError `yaml-invalid` */
export function renderTextBounded(source: string, record: DataRecord, where: string): string {
  return templates(where, null).runSync('text', [source, record, where]);
}
