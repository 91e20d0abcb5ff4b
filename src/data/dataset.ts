/**
 * Datasets: prompts with their completions, from a YAML description (`config.ts`) or from a plain .jsonl, .json or
 * .csv file whose records have `prompt` and `completion`, or are conversations in one of the usual shapes (`record.ts`).
 */

import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { CrayonError, reasonOf } from '../core/errors.js';
import { abridge, shown } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { createRandom } from '../core/random.js';
import { sha256 } from '../files/digest.js';
import { entriesOf, exists } from '../files/io.js';
import { isJsonObject, type JsonObject } from '../files/json.js';
import { readYaml, type YamlFile } from '../files/yaml.js';
import { renderTaskBounded, renderTextBounded } from './bounded-template.js';
import {
  type DataFormat,
  type GroupConfig,
  parseDatasetConfig,
  type SplitFile,
  type TaskConfig,
  UNREAD_KEYS,
} from './config.js';
import { type RawExample, whyInvalid } from './example.js';
import { recordExamples, type Turns } from './record.js';
import { formatOf, type LocatedRecord, readRecords } from './record-file.js';
import type { DataRecord } from './template.js';

export interface Example extends RawExample {
  /**
   * '<dataset>:<index>', the index being the record's in its file, from 0; '<dataset>:<index>.<turn>' for the answers before
   * a conversation's last, counted from 0.
   */
  id: string;
  dataset: string;
}

export interface DatasetOptions {
  /** Where the paths of a YAML file start; its own directory when absent or when the file is not there. */
  dataDir?: string | undefined;
  /** Which split of a YAML file; 'train' when absent, or the only one. Plain files have none. */
  split?: string | undefined;
  /** At most this many examples of each dataset: the first ones, or a random choice when there is a seed. */
  limit?: number | undefined;
  seed?: number | undefined;
  /** Which answers of a conversation are examples: its `last` (the default), or `all`. */
  turns?: Turns | undefined;
}

export interface Dataset {
  examples: Example[];
  /** Files that the examples come from, YAML files included (with 0 examples), by the names given to them. */
  sources: Array<{ path: string; sha256: string; examples: number }>;
  /** Bad records left out because the YAML says `skip_invalid`. */
  skipped: number;
}

const MAX_SHOWN = 10;

/** For commands that need at least one. */
export function noExamples(paths: readonly string[]): CrayonError {
  return new CrayonError('dataset-too-small', `${paths.join(', ')}: no examples, expected at least one`, {
    hint: 'Each line of a .jsonl file is one record: {"prompt": "...", "completion": "..."}',
  });
}

/**
 * Loads a dataset. Every record is checked, also those beyond `limit`.
 *
 * @throws CrayonError `example-invalid` naming path and line of the bad records; `config-invalid`, `yaml-invalid`,
 *   `dataset-invalid`, `json-invalid`, `csv-invalid`, `file-not-found`
 *
 * @example
 * const { examples } = loadDataset('configs/tasks/o-lora-rte.yaml', { dataDir: 'data', split: 'test', limit: 100, seed: 1 });
 */
export function loadDataset(path: string, options: DatasetOptions = {}): Dataset {
  if (/\.ya?ml$/i.test(path)) return loadYaml(path, options, []);
  const format = formatOf(path);
  if (format === undefined) {
    throw new CrayonError('path-not-recognised', `${path}: expected a .yaml, .jsonl, .json or .csv file`);
  }
  const name = basename(path).replace(/\.[^.]*$/, '');
  const file = { path, shownPath: path, format, extra: {}, dataset: name };
  return loadFiles([file], {
    toExamples: (records) => records.map((record) => tried(() => recordExamples(record, options.turns))),
    skipInvalid: false,
    limit: options.limit,
    seed: options.seed,
  });
}

function loadYaml(path: string, options: DatasetOptions, parents: readonly string[]): Dataset {
  const sources: Dataset['sources'] = [];
  const { value, lineOf } = readIncluding(path, [], sources);
  const config = parseDatasetConfig(value, path, lineOf);
  const dataset = 'group' in config ? loadGroup(config, path, options, parents) : loadTask(config, path, options);
  return { ...dataset, sources: [...sources, ...dataset.sources] };
}

/** A YAML file with the keys of those that it includes, its own before theirs, as lm-evaluation-harness merges them. */
function readIncluding(path: string, parents: readonly string[], sources: Dataset['sources']): Omit<YamlFile, 'bytes'> {
  const { value, bytes, lineOf } = readYaml(path, { asPyYaml: { except: UNREAD_KEYS } });
  sources.push({ path, sha256: sha256(bytes), examples: 0 });
  if (!isJsonObject(value) || !Object.hasOwn(value, 'include')) return { value, lineOf };
  const { include, ...rest } = value;
  const chain = [...parents, resolve(path)];
  const merged: JsonObject = {};
  for (const name of Array.isArray(include) ? include : [include]) {
    const refuse = (problem: string): never => {
      throw new CrayonError('config-invalid', `${path}: include ${problem}`, {
        hint: 'It names a YAML file relative to this one, or a list of such.',
      });
    };
    if (typeof name !== 'string' || name === '' || name.includes('\0')) refuse(`is ${shown(name)}, expected a file`);
    const file = placed(dirname(path), name as string);
    if (chain.includes(resolve(file))) refuse(`of ${name}, which includes this file`);
    const { value: included } = readIncluding(file, chain, sources);
    if (!isJsonObject(included)) refuse(`of ${name}, which has no keys`);
    Object.assign(merged, included);
  }
  return { value: { ...merged, ...rest }, lineOf };
}

function loadGroup(config: GroupConfig, path: string, options: DatasetOptions, parents: readonly string[]): Dataset {
  const chain = [...parents, resolve(path)];
  if (chain.length > LIMITS.groupLevels) {
    throw new CrayonError(
      'config-invalid',
      `${path}: the ${chain.length}th group within another, expected at most ${LIMITS.groupLevels}`,
    );
  }
  const whole: Dataset = { examples: [], sources: [], skipped: 0 };
  for (const entry of config.task) {
    const { task, limit, split } = typeof entry === 'string' ? { task: entry } : entry;
    const member = placed(dirname(path), task);
    if (chain.includes(resolve(member))) {
      throw new CrayonError('config-invalid', `${path}: contains itself through ${task}`);
    }
    const narrowed = { ...options, split: split ?? options.split, limit: smallest(limit, options.limit) };
    const { examples, sources, skipped } = loadYaml(member, narrowed, chain);
    for (const example of examples) whole.examples.push(example);
    for (const source of sources) whole.sources.push(source);
    if (whole.sources.length > LIMITS.groupFiles) {
      throw new CrayonError('config-invalid', `${path}: more than ${LIMITS.groupFiles} files in one group`);
    }
    whole.skipped += skipped;
  }
  return whole;
}

/**
 * What the data sets of a description are called, its data unread; where a task takes the name from `file_field`, its template.
 *
 * @throws CrayonError `config-invalid`, `yaml-invalid`, `file-not-found`
 */
export function datasetNames(path: string): string[] {
  if (!/\.ya?ml$/i.test(path)) return [basename(path).replace(/\.[^.]*$/, '')];
  const { value, lineOf } = readIncluding(path, [], []);
  const config = parseDatasetConfig(value, path, lineOf);
  if (!('group' in config)) return [config.task];
  const members = config.task.map((entry) => (typeof entry === 'string' ? entry : entry.task));
  return members.flatMap((member) => datasetNames(placed(dirname(path), member)));
}

interface DataFile {
  path: string;
  /** As the YAML file or the user wrote it: it goes into manifests, which should not depend on the machine. */
  shownPath: string;
  format: DataFormat;
  range?: SplitFile['range'];
  /** Fields added to every record. */
  extra: DataRecord;
  dataset: string;
}

function loadTask(config: TaskConfig, path: string, options: DatasetOptions): Dataset {
  const split = chooseSplit(config, path, options.split);
  const entry = config.data_files[split]!;
  const files = findFiles(typeof entry === 'string' ? { path: entry } : entry, config, path, options.dataDir);
  const templates = { ...config, where: path, isCsv: files[0]?.format === 'csv' };
  return loadFiles(files, {
    toExamples: (records) =>
      renderTaskBounded(templates, records).map((made) => (typeof made === 'string' ? made : [made])),
    keepsNumbers: true,
    skipInvalid: config.skip_invalid ?? false,
    limit: smallest(config.limit, options.limit),
    seed: options.seed,
    columns: config.columns,
  });
}

function chooseSplit({ data_files: files }: TaskConfig, path: string, wanted: string | undefined): string {
  const names = Object.keys(files);
  const split = wanted ?? (names.length === 1 ? names[0]! : 'train');
  if (names.includes(split)) return split;
  throw new CrayonError('dataset-invalid', `${path}: has no split "${split}", expected ${names.join(', ')}`);
}

function findFiles(entry: SplitFile, config: TaskConfig, yamlPath: string, dataDir: string | undefined): DataFile[] {
  const folders = [...(dataDir === undefined ? [] : [dataDir]), dirname(yamlPath)];
  const format = config.format ?? formatOf(entry.path);
  if (format === undefined) {
    throw new CrayonError('config-invalid', `${yamlPath}: format missing, and "${entry.path}" does not show it`);
  }
  const nameOf = (fields: DataRecord) => {
    return config.file_field === undefined ? config.task : renderTextBounded(config.task, fields, `${yamlPath}: task`);
  };
  for (const folder of folders) {
    const found = expand(folder, entry.path);
    if (found.length === 0) continue;
    return found.map(({ path, match }): DataFile => {
      const extra = config.file_field === undefined ? {} : { [config.file_field]: match };
      const shownPath = entry.path.replace('*', () => match);
      return { path, shownPath, format, extra, dataset: nameOf(extra), range: entry.range };
    });
  }
  const tried = [...new Set(folders.map((folder) => placed(folder, entry.path)))].join(' or ');
  throw new CrayonError('file-not-found', `${tried}: no such file`, {
    hint: `${yamlPath} names it; pass --data-dir with the folder its paths start from.`,
  });
}

/** A path that a description names: relative to the folder, or absolute. */
const placed = (folder: string, path: string): string => (isAbsolute(path) ? path : join(folder, path));

/** The files that a path with at most one `*` stands for, in name order, and what `*` is in each. */
function expand(folder: string, pattern: string): Array<{ path: string; match: string }> {
  const star = pattern.indexOf('*');
  if (star === -1) {
    const path = placed(folder, pattern);
    return exists(path) ? [{ path, match: '' }] : [];
  }
  const slash = pattern.lastIndexOf('/', star);
  const parent = placed(folder, pattern.slice(0, slash + 1));
  const [head = ''] = pattern.slice(slash + 1).split('/');
  const rest = pattern.slice(slash + 1 + head.length);
  const [before = '', after = ''] = head.split('*');
  if (!exists(parent)) return [];
  return entriesOf(parent)
    .filter((name) => name.length >= before.length + after.length && name.startsWith(before) && name.endsWith(after))
    .sort()
    .map((name) => ({ path: join(parent, name + rest), match: name.slice(before.length, name.length - after.length) }))
    .filter(({ path }) => exists(path));
}

interface LoadSettings {
  /** The examples of each record, or what is wrong with it. */
  toExamples: (records: readonly DataRecord[]) => ReadonlyArray<RawExample[] | string>;
  keepsNumbers?: boolean;
  skipInvalid: boolean;
  limit: number | undefined;
  seed: number | undefined;
  columns?: readonly string[] | undefined;
}

function loadFiles(files: readonly DataFile[], settings: LoadSettings): Dataset {
  const result: Dataset = { examples: [], sources: [], skipped: 0 };
  const problems: string[] = [];
  for (const file of files) {
    const { records, bad, sha256: digest } = readRecords(file.path, file.format, settings);
    const examples: Example[] = [];
    const located = inRange(records, file, records.length + bad.length);
    const all = settings.toExamples(located.map(({ record }) => ({ ...record, ...file.extra })));
    for (const [i, { index, place }] of located.entries()) {
      const made = named(all[i]!, index, file.dataset);
      if (typeof made === 'string') bad.push({ index, place, problem: made });
      else for (const example of made) examples.push(example);
    }
    bad.sort((a, b) => a.index - b.index); // by line, whoever found it
    for (const { place, problem } of bad) problems.push(`${file.path}: ${place}: ${problem}`);
    const kept = sample(examples, settings.limit, settings.seed);
    for (const example of kept) result.examples.push(example);
    result.sources.push({ path: file.shownPath, sha256: digest, examples: kept.length });
  }
  if (problems.length === 0) return result;
  if (settings.skipInvalid) return { ...result, skipped: problems.length };
  throw new CrayonError('example-invalid', abridge(problems, MAX_SHOWN), {
    hint: 'Mend these records, or describe the file in YAML: its templates take any field, `skip_invalid: true` leaves bad records out.',
  });
}

function inRange(records: LocatedRecord[], { range, path }: DataFile, count: number): LocatedRecord[] {
  if (range === undefined) return records;
  const [from, to] = range;
  if (to > count) {
    throw new CrayonError('dataset-invalid', `${path}: range [${from}, ${to}] of a file with ${count} records`);
  }
  return records.filter(({ index }) => index >= from && index < to);
}

/** A record's examples with their names, or what is wrong with it. */
function named(made: readonly RawExample[] | string, index: number, dataset: string): Example[] | string {
  if (typeof made === 'string') return made;
  for (const example of made) {
    const problem = whyInvalid(example);
    if (problem !== undefined) return problem;
  }
  const last = made.length - 1;
  return made.map((raw, turn) => {
    return { id: `${dataset}:${index}${turn === last ? '' : `.${turn}`}`, dataset, ...raw };
  });
}

/** What a record gives, or what is wrong with it. */
function tried<T>(read: () => T): T | string {
  try {
    return read();
  } catch (error) {
    if (error instanceof CrayonError) throw error;
    return reasonOf(error);
  }
}

function sample(examples: Example[], limit: number | undefined, seed: number | undefined): Example[] {
  if (limit === undefined || limit >= examples.length) return examples;
  if (seed === undefined) return examples.slice(0, limit);
  const order = createRandom(seed, `examples of ${examples[0]!.dataset}`).shuffle([...examples.keys()]);
  const chosen = new Set(order.slice(0, limit));
  return examples.filter((_, i) => chosen.has(i));
}

function smallest(limit: number | undefined, other: number | undefined): number | undefined {
  return limit === undefined || other === undefined ? (limit ?? other) : Math.min(limit, other);
}
