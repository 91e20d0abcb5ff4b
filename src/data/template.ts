/**
 * The templates of a data set's description over its records, as lm-evaluation-harness renders them (0.4.13, `apply_template` and
 * `doc_to_*` of ConfigurableTask), but strict: what it would guess, drop or leave out is refused.
 *
 * All is plain data, sources and records in and examples out, so that it can run in another process.
 */

import { CrayonError, reasonOf } from '../core/errors.js';
import { literalOf } from '../core/jinja/literal.js';
import { isDigits } from '../core/jinja/methods.js';
import { compileTemplate } from '../core/jinja/template.js';
import { fromJson, isFloat, isInt, repr, str, strip, Tuple, typeName } from '../core/jinja/values.js';
import type { RawExample } from './example.js';
import { alike, type DataRecord } from './numbers.js';

export type { DataRecord };

/** Sources of a description, with its key names, and what bears on their reading. */
export interface TaskTemplates {
  /** The YAML file, for errors. */
  where: string;
  /** Whether the records' values are texts alone, which may be numbers. */
  isCsv: boolean;
  output_type?: string | undefined;
  description?: string | undefined;
  doc_to_text: string;
  doc_to_choice?: string | readonly string[] | Readonly<Record<string, string>> | undefined;
  doc_to_target: string | number;
  target_delimiter?: string | undefined;
  gen_prefix?: string | undefined;
}

/** A record and which fields any record of its file has. */
interface Row {
  record: DataRecord;
  columns: ReadonlySet<string>;
}
type Read<T> = (row: Row) => T;

/** The examples of records, or for each that gives none why. @throws CrayonError `yaml-invalid` for a template that is none */
export function renderTask(task: TaskTemplates, records: readonly DataRecord[]): Array<RawExample | string> {
  return renderRows(task, alike(records), columnsOf(records));
}

/** The fields that any of the records has. */
export const columnsOf = (records: readonly DataRecord[]) => new Set(records.flatMap((record) => Object.keys(record)));

/** The same for some of the records, whose numbers are alike in all of them. @param columns the fields that any of all records has */
export function renderRows(
  task: TaskTemplates,
  records: readonly DataRecord[],
  columns: ReadonlySet<string>,
): Array<RawExample | string> {
  const toExample = exampleOf(task);
  return records.map((record) => {
    try {
      return toExample({ record, columns });
    } catch (error) {
      if (error instanceof CrayonError) throw error;
      return reasonOf(error);
    }
  });
}

/** One template's text over one record. @throws CrayonError `yaml-invalid` */
export function renderText(source: string, record: DataRecord, where: string): string {
  try {
    return str(template(source, where)({ record, columns: new Set(Object.keys(record)) }));
  } catch (error) {
    if (error instanceof CrayonError) throw error;
    throw new CrayonError('yaml-invalid', `${where}: ${reasonOf(error)}`, { cause: error });
  }
}

function exampleOf(task: TaskTemplates): Read<RawExample> {
  const { where, output_type: type, doc_to_choice: choice, target_delimiter: between = ' ' } = task;
  const promptOf = promptReader(task);
  const targetOf = targetReader(task);
  const prefixOf = task.gen_prefix === undefined ? () => '' : textOf(task.gen_prefix, `${where}: gen_prefix`);
  const choicesOf = choice === undefined ? undefined : choicesReader(choice, `${where}: doc_to_choice`);
  return (row) => {
    const question = promptOf(row);
    const prefix = prefixOf(row);
    const prompt =
      question + (prefix !== '' && question !== '' && !touchSpace(question, prefix) ? between : '') + prefix;
    // As lm-evaluation-harness joins them: the target of a log-likelihood as it is, an answer after a prefix by a space.
    const joined = (text: string) => {
      if (type === 'loglikelihood') return text;
      return prefix === '' ? between + text : (touchSpace(prefix, text) ? '' : ' ') + text;
    };
    if (choicesOf === undefined) return { prompt, completion: joined(answerText(targetOf(row), type)) };
    const texts = choicesOf(row);
    const answer = answerIndex(targetOf(row), texts);
    if (type === 'generate_until') return { prompt, completion: joined(texts[answer]!) };
    const choices = texts.map((text) => between + text);
    const example = { prompt, completion: choices[answer]!, choices, answer };
    return between === '' ? example : { ...example, delimiter: between.length };
  };
}

const isSpace = (character: string | undefined) => character !== undefined && strip(character, null) === '';
const touchSpace = (before: string, after: string) => isSpace(before.at(-1)) || isSpace(after[0]);

function promptReader({ where, doc_to_text: source, doc_to_choice: choice, description }: TaskTemplates): Read<string> {
  const text = textOf(source, `${where}: doc_to_text`);
  const about = description === undefined ? undefined : textOf(description, `${where}: description`);
  return (row) => {
    const question = text(row);
    if (choice !== undefined && !row.columns.has(source) && isDigits(question)) {
      throw new Error(
        `doc_to_text gives the number ${question}: with doc_to_choice, lm-evaluation-harness takes it for the right one of several prompts, which crayon has not`,
      );
    }
    return about === undefined ? question : about(row) + question;
  };
}

/** What a right answer is: an index, a text, or one of the two that only the choices tell apart. */
interface Answer {
  value: unknown;
  /** Text of a CSV file, which has no other values. */
  isUntyped?: boolean;
}

function targetReader({
  where,
  isCsv,
  doc_to_target: source,
  doc_to_choice: choice,
  output_type: type,
}: TaskTemplates): Read<Answer> {
  if (typeof source === 'number') return () => ({ value: source });
  const render = template(source, `${where}: doc_to_target`);
  return (row) => {
    if (row.columns.has(source)) return { value: fromJson(fieldOf(row, source)), isUntyped: isCsv };
    const text = render(row);
    if (choice !== undefined && isDigits(text)) {
      const index = literalOf(text);
      if (index === undefined) throw new Error(`doc_to_target gives ${JSON.stringify(text)}, which is no index`);
      return { value: index };
    }
    const isList = text.length > 1 && text.startsWith('[') && text.endsWith(']') && type !== 'loglikelihood';
    return { value: (isList ? literalOf(text) : undefined) ?? text };
  };
}

/** The one right answer of what may be a list of several. */
function only(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  if (value.length !== 1)
    throw new Error(`doc_to_target gives ${value.length} right answers, of which crayon takes exactly one`);
  return value[0];
}

function answerText({ value }: Answer, type: string | undefined): string {
  const answer = type === 'loglikelihood' ? value : only(value);
  if (typeof answer === 'string') return answer;
  if (type !== 'loglikelihood' && (isInt(answer) || isFloat(answer))) return str(answer);
  throw new Error(`the target is ${shown(answer)}, expected text`);
}

function answerIndex({ value, isUntyped = false }: Answer, choices: readonly string[]): number {
  const answer = only(value);
  const asText = typeof answer === 'string' ? choices.indexOf(answer) : -1;
  if (asText !== -1 && choices.lastIndexOf(answer as string) !== asText) {
    throw new Error(`answer ${shown(answer)} is the text of several choices`);
  }
  const isNumber = isInt(answer) || (isUntyped && typeof answer === 'string' && /^\d+$/.test(answer));
  const asIndex = isNumber && Number(answer) >= 0 && Number(answer) < choices.length ? Number(answer) : -1;
  if (asText !== -1 && asIndex !== -1 && asText !== asIndex) {
    throw new Error(
      `answer ${shown(answer)} is the text of choice ${asText} and the index of choice ${asIndex}: expected one of the two; "{{...}}" in doc_to_target says an index`,
    );
  }
  if (asText !== -1 || asIndex !== -1) return Math.max(asText, asIndex);
  throw new Error(
    `answer ${shown(answer)} is neither one of the choices (${choices.join(', ')}) nor an index below ${choices.length}`,
  );
}

function choicesReader(choice: NonNullable<TaskTemplates['doc_to_choice']>, where: string): Read<readonly string[]> {
  if (typeof choice !== 'string') {
    const fixed = Array.isArray(choice) ? choice : Object.values(choice);
    return () => checkedChoices(fixed);
  }
  const render = template(choice, where);
  return (row) => {
    if (row.columns.has(choice)) return checkedChoices(fromJson(fieldOf(row, choice)));
    const text = render(row);
    const value = literalOf(text);
    if (value === undefined)
      throw new Error(`doc_to_choice gives ${JSON.stringify(text.slice(0, 60))}, which is no list of Python`);
    return checkedChoices(value);
  };
}

function checkedChoices(value: unknown): readonly string[] {
  const list = value instanceof Tuple ? value.items : value;
  if (!Array.isArray(list)) throw new Error(`choices are ${shown(value)}, expected a list of texts`);
  const bad = list.find((one) => typeof one !== 'string');
  if (bad !== undefined) throw new Error(`a choice is ${shown(bad)}, expected text`);
  if (list.length < 2) throw new Error(`${list.length} choices, expected at least 2`);
  return list as string[];
}

const shown = (value: unknown): string => {
  const text = typeof value === 'string' ? JSON.stringify(value) : repr(value);
  return text.length <= 60 ? text : `a ${typeName(value)}, ${text.slice(0, 60)}...`;
};

/** A template that is just the name of a field gives that field. */
function textOf(source: string, where: string): Read<string> {
  const render = template(source, where);
  return (row) => {
    if (!row.columns.has(source)) return render(row);
    const value = fieldOf(row, source);
    if (typeof value !== 'string') throw new Error(`field "${source}" is ${shown(fromJson(value))}, not text`);
    return value;
  };
}

function template(source: string, where: string): Read<string> {
  let compiled: ReturnType<typeof compileTemplate>;
  try {
    compiled = compileTemplate(source, 'dataSet');
  } catch (error) {
    throw new CrayonError('yaml-invalid', `${where}: not a valid template (${reasonOf(error)})`, { cause: error });
  }
  return (row) => {
    const known = new Map<string, unknown>();
    return compiled.render((name) => {
      if (!Object.hasOwn(row.record, name)) return missing(row, name);
      if (!known.has(name)) known.set(name, fromJson(row.record[name]));
      return known.get(name);
    });
  };
}

function fieldOf(row: Row, name: string): unknown {
  if (Object.hasOwn(row.record, name)) return row.record[name];
  return missing(row, name);
}

/** Other records' fields are not guessed to be None in this one. */
function missing({ record, columns }: Row, name: string): undefined {
  if (!columns.has(name)) return undefined;
  throw new Error(`has no field "${name}" (it has ${Object.keys(record).slice(0, 10).join(', ')})`);
}
