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
/** A path: no file's name has a NUL. */
const file = z.string('a path').refine((path) => path !== '' && !path.includes('\0'), 'a path');

const SPLIT_FILE = z.strictObject({
  path: file.describe(
    'Relative to the data directory, else to this file. One * stands for any text within a file or folder name.',
  ),
  range: z
    .tuple([whole(0), whole(1)], RANGE)
    .refine(([from, to]) => from < to, RANGE)
    .optional()
    .describe('Records [from, to) of the file.'),
});
const METADATA = z.record(z.string(), z.unknown()).optional().describe('Notes, which crayon does not read.');
const NOT_READ = z.unknown().optional().describe('For lm-evaluation-harness alone: crayon does not read it.');
/** Where lm-evaluation-harness finds the records, and what it reports: nothing that a prompt or an answer depends on. */
const READ_BY_LM_EVAL = {
  ...{ dataset_path: NOT_READ, dataset_name: NOT_READ, dataset_kwargs: NOT_READ, custom_dataset: NOT_READ },
  ...{ training_split: NOT_READ, validation_split: NOT_READ, test_split: NOT_READ, fewshot_split: NOT_READ },
  ...{ tag: NOT_READ, task_alias: NOT_READ, metric_list: NOT_READ, repeats: NOT_READ },
  ...{ should_decontaminate: NOT_READ, doc_to_decontamination_query: NOT_READ },
};

/** The keys of which crayon reads nothing. */
export const UNREAD_KEYS: ReadonlySet<string> = new Set(['metadata', ...Object.keys(READ_BY_LM_EVAL)]);

export const TASK_SCHEMA = z.strictObject({
  task: text.describe('Name of the data set; a template when `file_field` is used.'),
  output_type: z
    .enum(['multiple_choice', 'generate_until', 'loglikelihood'])
    .optional()
    .describe('As lm-evaluation-harness calls the kind of task; multiple_choice needs doc_to_choice.'),
  data_files: z
    .record(z.string(), z.union([file, SPLIT_FILE]))
    .refine((files) => Object.keys(files).length > 0, 'at least one split')
    .describe('Where the records of each split are.'),
  format: z.enum(DATA_FORMATS).optional().describe("Default: by the files' extension."),
  columns: z.array(text).optional().describe('Column names of CSV files without a header line.'),
  file_field: text.optional().describe('The field in which templates find the text that * in the path stands for.'),
  description: z.string().optional().describe('A template of what stands before each prompt.'),
  doc_to_text: text.describe('The prompt: a template, or the name of a field.'),
  doc_to_choice: z
    .union([text, z.array(text), z.record(z.string(), text)])
    .optional()
    .describe('The answers to choose from: texts, or a template or field that gives a list.'),
  doc_to_target: z
    .union([text, whole(0)])
    .describe('The right answer: a text, or with `doc_to_choice` also its index.'),
  target_delimiter: z.string().optional().describe('Put between prompt and answer. Default: one space.'),
  gen_prefix: text.optional().describe('A template of what an answer begins with; it ends the prompt.'),
  num_fewshot: z
    .literal(0, '0: crayon puts no examples before a prompt')
    .optional()
    .describe('Only 0, as crayon puts no examples before a prompt.'),
  limit: whole(1).optional().describe('At most this many examples.'),
  skip_invalid: z
    .boolean()
    .optional()
    .describe('Leave bad records out, counted, instead of refusing the file. Default: false.'),
  metadata: METADATA,
  ...READ_BY_LM_EVAL,
});

export const GROUP_SCHEMA = z.strictObject({
  group: text.describe('Name of several data sets as one.'),
  task: z
    .array(
      z.union([
        file,
        z.strictObject({
          task: file.describe('A task file, relative to this one or absolute.'),
          limit: whole(1).optional().describe('At most this many examples.'),
          split: text.optional().describe("Default: 'train', or the only one."),
        }),
      ]),
    )
    .describe('Task files, relative to this one or absolute.'),
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
