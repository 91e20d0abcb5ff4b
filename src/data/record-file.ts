/**
 * Records of a data file, each with the place that an error about it names. What two readers would take for two different things is
 * refused: a column or key that stands twice.
 */

import { parse as parseCsv } from 'csv-parse/sync';
import { CrayonError, messageOf } from '../core/errors.js';
import { shown } from '../core/format.js';
import { LIMITS } from '../core/limits.js';
import { sha256 } from '../files/digest.js';
import { readSmallFile } from '../files/io.js';
import { decodeUtf8, isJsonObject, jsonProblem, pythonJsonValue } from '../files/json.js';
import { firstTwice } from '../files/schema.js';
import { DATA_FORMATS, type DataFormat } from './config.js';
import { type DataRecord, withNumbersKept } from './numbers.js';

export interface LocatedRecord {
  /** Position in the file, from 0. */
  index: number;
  /** 'line 7' or 'record 6' */
  place: string;
  record: DataRecord;
}

/** A place that holds no record, or none that is one. */
export type BadRecord = Pick<LocatedRecord, 'index' | 'place'> & { problem: string };

export interface RecordFile {
  records: LocatedRecord[];
  bad: BadRecord[];
  sha256: string;
}

/** The format that a file's name says, or undefined. */
export function formatOf(path: string): DataFormat | undefined {
  const extension = path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  return DATA_FORMATS.find((format) => format === extension);
}

interface ReadOptions {
  /** names of the columns of a CSV file without a header line */
  columns?: readonly string[] | undefined;
  /** numbers of JSON are as Python reads them (numbers.ts) */
  keepsNumbers?: boolean;
}
type Parse = (json: string) => unknown;

/**
 * Reads a whole data file.
 *
 * @throws CrayonError `json-invalid` or `csv-invalid` when the file as a whole cannot be read
 */
export function readRecords(
  path: string,
  format: DataFormat,
  { columns, keepsNumbers = false }: ReadOptions = {},
): RecordFile {
  const bytes = readSmallFile(path, LIMITS.textBytes);
  const text = decodeUtf8(bytes, path, format === 'csv' ? 'csv-invalid' : 'json-invalid');
  const read = (json: string) => pythonJsonValue(json, { asRecord: true });
  const parse: Parse = keepsNumbers ? (json) => withNumbersKept(json, read) : read;
  const rows = {
    json: () => jsonRows(text, path, parse),
    jsonl: () => jsonLineRows(text, parse),
    csv: () => csvRows(text, path, columns),
  }[format]();
  const result: RecordFile = { records: [], bad: [], sha256: sha256(bytes) };
  let index = 0;
  for (const { place, value, problem } of rows) {
    if (index === LIMITS.records) {
      throw new CrayonError('dataset-invalid', `${path}: more than ${LIMITS.records} records`, {
        hint: 'Split the file.',
      });
    }
    if (problem === undefined && isJsonObject(value)) result.records.push({ index, place, record: value });
    else result.bad.push({ index, place, problem: problem ?? `${shown(value)} is not an object` });
    index++;
  }
  return result;
}

/** What stands where a record should be, or why nothing could be read there. */
interface Row {
  place: string;
  value?: unknown;
  problem?: string;
}

function jsonRows(text: string, path: string, parse: Parse): Row[] {
  let list: unknown;
  try {
    list = parse(text);
  } catch (error) {
    throw new CrayonError('json-invalid', `${path}: ${jsonProblem(error)}`, { cause: error });
  }
  if (!Array.isArray(list)) {
    throw new CrayonError('json-invalid', `${path}: expected a JSON list of records`, {
      hint: 'For one JSON object on each line, name the file .jsonl or set format: jsonl.',
    });
  }
  return list.map((value, index) => ({ place: `record ${index}`, value }));
}

function* jsonLineRows(text: string, parse: Parse): Generator<Row> {
  for (let [start, number] = [0, 1]; start < text.length; number++) {
    const feed = text.indexOf('\n', start);
    const end = feed === -1 ? text.length : feed;
    const line = text.slice(start, end);
    start = end + 1;
    if (line.trim() === '') continue;
    const place = `line ${number}`;
    try {
      yield { place, value: parse(line) };
    } catch (error) {
      yield { place, problem: jsonProblem(error) };
    }
  }
}

function csvRows(text: string, path: string, columns?: readonly string[]): Row[] {
  const named = (header: readonly string[]) => {
    const twice = firstTwice(header.filter((name) => name !== ''));
    if (twice !== undefined) throw new Error(`the column ${shown(twice)} stands twice`);
    return header.map((name) => (name === '' ? false : name)); // nothing can be said of a column without a name
  };
  try {
    const rows = parseCsv(text, {
      columns: columns === undefined ? named : named(columns),
      info: true,
      skip_empty_lines: true,
      // Not as the first line ends alone: a line that ends otherwise would become a part of the field before it.
      record_delimiter: ['\r\n', '\n', '\r'],
      to: LIMITS.records + 1,
    }) as unknown as Array<{ info: { lines: number }; record: DataRecord }>;
    return rows.map(({ info, record }) => ({ place: `line ${info.lines}`, value: record }));
  } catch (error) {
    throw new CrayonError('csv-invalid', `${path}: ${messageOf(error)}`, {
      hint: 'Each column has a name of its own; fields with commas, quotes or line breaks stand in double quotes.',
      cause: error,
    });
  }
}
