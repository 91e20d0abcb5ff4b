/**
 * Dataset descriptions in YAML, with the key names of lm-evaluation-harness's task files where it has them
 * (https://github.com/EleutherAI/lm-evaluation-harness, docs/task_guide.md).
 */

import * as z from 'zod';
import { isJsonObject } from '../files/json.js';
import { checked, refuseProblems, type Source, text, whole } from '../files/schema.js';

export const DATA_FORMATS = ['json', 'jsonl', 'csv'] as const;
export type DataFormat = (typeof DATA_FORMATS)[number];

const RANGE = 'two whole numbers [from, to), from 0 and ascending';
const SPLIT_FILE = z.strictObject({
  path: text.describe(
    'Relative to the data directory, else to this file. One * stands for any text within a file or folder name.',
  ),
  range: z
    .tuple([whole(0), whole(1)], RANGE)
    .refine(([from, to]) => from < to, RANGE)
    .optional()
    .describe('Records [from, to) of the file.'),
});
const METADATA = z.record(z.string(), z.unknown()).optional().describe('Notes, which crayon does not read.');

export const TASK_SCHEMA = z.strictObject({
  task: text.describe('Name of the data set; a template when `file_field` is used.'),
  output_type: z
    .enum(['multiple_choice', 'generate_until', 'loglikelihood'])
    .optional()
    .describe('As lm-evaluation-harness calls the kind of task; multiple_choice needs doc_to_choice.'),
  data_files: z
    .record(z.string(), z.union([text, SPLIT_FILE]))
    .refine((files) => Object.keys(files).length > 0, 'at least one split')
    .describe('Where the records of each split are.'),
  format: z.enum(DATA_FORMATS).optional().describe("Default: by the files' extension."),
  columns: z.array(text).optional().describe('Column names of CSV files without a header line.'),
  file_field: text.optional().describe('The field in which templates find the text that * in the path stands for.'),
  doc_to_text: text.describe('The prompt.'),
  doc_to_choice: z
    .union([text, z.array(text)])
    .optional()
    .describe('The answers to choose from: texts, or a template that gives a list.'),
  doc_to_target: z
    .union([text, whole(0)])
    .describe('The right answer: a text, or with `doc_to_choice` also its index.'),
  target_delimiter: z.string().optional().describe('Put between prompt and answer. Default: one space.'),
  limit: whole(1).optional().describe('At most this many examples.'),
  skip_invalid: z
    .boolean()
    .optional()
    .describe('Leave bad records out, counted, instead of refusing the file. Default: false.'),
  metadata: METADATA,
});

export const GROUP_SCHEMA = z.strictObject({
  group: text.describe('Name of several data sets as one.'),
  task: z
    .array(
      z.union([
        text,
        z.strictObject({
          task: text.describe('A task file, relative to this one.'),
          limit: whole(1).optional().describe('At most this many examples.'),
          split: text.optional().describe("Default: 'train', or the only one."),
        }),
      ]),
    )
    .describe('Task files relative to this one.'),
  metadata: METADATA,
});

/** Where a split's records are. */
export type SplitFile = z.output<typeof SPLIT_FILE>;
/** One data set: files, and templates that turn a record into prompt and completion. */
export type TaskConfig = z.output<typeof TASK_SCHEMA>;
/** Several data sets as one. */
export type GroupConfig = z.output<typeof GROUP_SCHEMA>;

/**
 * Checks a parsed YAML file.
 *
 * @throws CrayonError `config-invalid` naming every bad or unknown key
 */
export function parseDatasetConfig(yaml: unknown, where: string, lineOf?: Source['lineOf']): TaskConfig | GroupConfig {
  const source: Source = { where, code: 'config-invalid', lineOf };
  if (isJsonObject(yaml) && Object.hasOwn(yaml, 'group')) return checked(GROUP_SCHEMA, yaml, source);
  const config = checked(TASK_SCHEMA, yaml, source);
  if (config.output_type === 'multiple_choice' && config.doc_to_choice === undefined) {
    const message = 'output_type is multiple_choice, but there is no doc_to_choice';
    refuseProblems([{ path: ['output_type'], message }], source);
  }
  return config;
}
