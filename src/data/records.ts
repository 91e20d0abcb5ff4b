/**
 * Records of a data file, each with the place that an error about it names: a line, or an index in a JSON list.
 */

import { parse as parseCsv } from 'csv-parse/sync';
import { CrayonError, messageOf } from '../core/errors.js';
import { sha256 } from '../files/digest.js';
import { readSmallFile } from '../files/io.js';
import { decodeUtf8, isJsonObject, parseJson } from '../files/json.js';
import type { DataRecord } from './template.js';

export const DATA_FORMATS = ['json', 'jsonl', 'csv'] as const;
export type DataFormat = (typeof DATA_FORMATS)[number];

/** V8 holds a text of at most 512 MiB. */
const MAX_DATA_BYTES = 500 * 2 ** 20;

export interface LocatedRecord {
  /** Position in the file, from 0. */
  index: number;
  /** 'line 7' or 'record 6' */
  place: string;
  record: DataRecord;
}

export interface RecordFile {
  records: LocatedRecord[];
  /** Places that hold no record, with the reason. */
  bad: string[];
  sha256: string;
}

/** The format that a file's name says, or undefined. */
export function formatOf(path: string): DataFormat | undefined {
  const extension = path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  return DATA_FORMATS.find((format) => format === extension);
}

/**
 * Reads a whole data file.
 *
 * @param columns names of the columns of a CSV file without a header line
 * @throws CrayonError `json-invalid` or `csv-invalid` when the file as a whole cannot be read
 */
export function readRecords(path: string, format: DataFormat, columns?: readonly string[]): RecordFile {
  const bytes = readSmallFile(path, MAX_DATA_BYTES);
  const text = decodeUtf8(bytes, path, format === 'csv' ? 'csv-invalid' : 'json-invalid');
  const readers = { json: readJsonRecords, jsonl: readJsonLines, csv: readCsvRecords };
  return { ...readers[format](text, path, columns), sha256: sha256(bytes) };
}

type Records = Omit<RecordFile, 'sha256'>;

function readJsonRecords(text: string, path: string): Records {
  const list = parseJson(text, path);
  if (!Array.isArray(list)) {
    throw new CrayonError('json-invalid', `${path}: expected a JSON list of records`, {
      hint: 'For one JSON object on each line, name the file .jsonl or set format: jsonl.',
    });
  }
  const result: Records = { records: [], bad: [] };
  for (const [index, record] of list.entries()) add(result, index, `record ${index}`, record);
  return result;
}

function readJsonLines(text: string): Records {
  const result: Records = { records: [], bad: [] };
  let index = 0;
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const place = `line ${i + 1}`;
    try {
      add(result, index, place, JSON.parse(line));
    } catch (error) {
      result.bad.push(`${place}: not valid JSON (${messageOf(error)})`);
    }
    index++;
  }
  return result;
}

function readCsvRecords(text: string, path: string, columns?: readonly string[]): Records {
  const result: Records = { records: [], bad: [] };
  let rows: Array<{ info: { lines: number }; record: DataRecord }>;
  try {
    rows = parseCsv(text, { columns: columns === undefined ? true : [...columns], info: true, skip_empty_lines: true });
  } catch (error) {
    throw new CrayonError('csv-invalid', `${path}: ${messageOf(error)}`, {
      hint: 'Fields with commas, quotes or line breaks must stand in double quotes.',
      cause: error,
    });
  }
  for (const [index, { info, record }] of rows.entries()) add(result, index, `line ${info.lines}`, record);
  return result;
}

function add(result: Records, index: number, place: string, record: unknown): void {
  if (isJsonObject(record)) result.records.push({ index, place, record });
  else result.bad.push(`${place}: ${JSON.stringify(record)?.slice(0, 40)} is not an object`);
}
