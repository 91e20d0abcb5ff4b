/**
 * Dataset descriptions in YAML, with the key names of lm-evaluation-harness's task files where it has them
 * (https://github.com/EleutherAI/lm-evaluation-harness, docs/task_guide.md).
 */

import { CrayonError } from '../core/errors.js';
import {
  checked,
  either,
  flag,
  listOf,
  object,
  oneOf,
  optional,
  recordOf,
  text,
  value,
  whole,
} from '../files/checks.js';
import { isJsonObject } from '../files/json.js';
import { DATA_FORMATS, type DataFormat } from './records.js';

/** Where a split's records are. */
export interface SplitFile {
  /** Relative to the data directory, else to the YAML file. One `*` stands for any text within a file or folder name. */
  path: string;
  /** Records [from, to) of the file. */
  range?: [number, number];
}

/** One dataset: files, and templates that turn a record into prompt and completion. */
export interface TaskConfig {
  /** Name of the dataset; a template when `file_field` is used. */
  task: string;
  output_type?: 'multiple_choice' | 'generate_until' | 'loglikelihood';
  data_files: Record<string, string | SplitFile>;
  /** By the files' extension when absent. */
  format?: DataFormat;
  /** Column names of CSV files without a header line. */
  columns?: string[];
  /** The field in which templates find the text that `*` in the path stands for. */
  file_field?: string;
  /** The prompt. */
  doc_to_text: string;
  /** The answers to choose from: texts, or a template that gives a list. */
  doc_to_choice?: string[] | string;
  /** The right answer: a text, or with `doc_to_choice` also its index. */
  doc_to_target: string | number;
  /** Put between prompt and answer; one space when absent. */
  target_delimiter?: string;
  /** At most this many examples. */
  limit?: number;
  /** Leave bad records out, counted, instead of refusing the file. */
  skip_invalid?: boolean;
  metadata?: { version: number };
}

/** Several datasets as one. */
export interface GroupConfig {
  group: string;
  /** Task files relative to this one. */
  task: Array<string | GroupEntry>;
  metadata?: { version: number };
}

export interface GroupEntry {
  task: string;
  limit?: number;
  split?: string;
}

/** Any text, also an empty one. */
const anyText = value((x) => typeof x === 'string', 'text');
const range = value(
  (x) => Array.isArray(x) && x.length === 2 && x.every(Number.isSafeInteger) && x[0] >= 0 && x[0] < x[1],
  'two whole numbers [from, to), from 0 and ascending',
);
const metadata = optional(recordOf(() => {}));

const taskSchema = object(
  {
    task: text,
    output_type: optional(oneOf('multiple_choice', 'generate_until', 'loglikelihood')),
    data_files: recordOf(either(text, object({ path: text, range: optional(range) }, { strict: true }))),
    format: optional(oneOf(...DATA_FORMATS)),
    columns: optional(listOf(text)),
    file_field: optional(text),
    doc_to_text: text,
    doc_to_choice: optional(either(text, listOf(text))),
    doc_to_target: either(text, whole(0)),
    target_delimiter: optional(anyText),
    limit: optional(whole(1)),
    skip_invalid: optional(flag),
    metadata,
  },
  { strict: true },
);

const groupEntry = object({ task: text, limit: optional(whole(1)), split: optional(text) }, { strict: true });
const groupSchema = object({ group: text, task: listOf(either(text, groupEntry)), metadata }, { strict: true });

/**
 * Checks a parsed YAML file.
 *
 * @throws CrayonError `config-invalid` naming every bad or unknown key
 */
export function parseDatasetConfig(yaml: unknown, path: string): TaskConfig | GroupConfig {
  if (!isJsonObject(yaml))
    throw new CrayonError('config-invalid', `${path}: expected keys and values at the top level`);
  if (Object.hasOwn(yaml, 'group')) return checked<GroupConfig>(yaml, groupSchema, 'config-invalid', path);
  const config = checked<TaskConfig>(yaml, taskSchema, 'config-invalid', path);
  if (config.output_type === 'multiple_choice' && config.doc_to_choice === undefined) {
    throw new CrayonError('config-invalid', `${path}: output_type is multiple_choice, but there is no doc_to_choice`);
  }
  if (Object.keys(config.data_files).length === 0) {
    throw new CrayonError('config-invalid', `${path}: data_files names no split`);
  }
  return config;
}
