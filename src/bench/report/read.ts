/**
 * A run directory, read back and checked: a report must not be drawn from numbers that are not there. A damaged file is an
 * error that names it; a run that is not finished is not damaged, and says so.
 */

import { join } from 'node:path';
import type * as z from 'zod';
import { CrayonError, messageOf } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { mean } from '../../core/stats.js';
import { entriesOf, exists, isDirectory, readSmallFile } from '../../files/io.js';
import { decodeUtf8, jsonValue } from '../../files/json.js';
import { checked } from '../../files/schema.js';
import * as types from '../types.js';

export interface AnsweredCell {
  cell: types.Cell;
  answers: types.AnswerRecord[];
}

export interface BenchRun {
  dir: string;
  manifest: types.RunManifest;
  cells: AnsweredCell[];
  load: types.LoadCell[];
  /** the run has ended and every planned cell is there */
  complete: boolean;
  /** what a reader should know about the state of the run, in sentences */
  remarks: string[];
}

const ROUNDING = 1e-6;

/**
 * @throws CrayonError naming file, and line or key, of the first thing that is wrong: `file-not-found` when `dir` holds no
 * run, `json-invalid`, `bench-invalid`
 */
export function readRun(dir: string): BenchRun {
  if (!exists(dir)) throw new CrayonError('file-not-found', `${dir}: no such directory`);
  if (!isDirectory(dir)) {
    throw new CrayonError('file-unreadable', `${dir}: expected the directory of a bench run, found a file`);
  }
  if (!exists(join(dir, 'run.json'))) {
    throw new CrayonError('file-not-found', `${dir}: has no run.json`, {
      hint: 'Give the directory that was the --out of `crayon bench`.',
    });
  }
  const manifest = readOne(types.MANIFEST_SCHEMA, join(dir, 'run.json'));
  const left = new Set(namesIn(join(dir, 'answers'), '.jsonl'));
  const cells = namesIn(join(dir, 'cells'), '.json').map((name) => {
    const path = join(dir, 'cells', `${name}.json`);
    const cell = readOne(types.CELL_SCHEMA, path);
    refuseUnless(
      cell.key === name,
      `${path}: key is ${JSON.stringify(cell.key)}, expected ${JSON.stringify(name)} as in its file name`,
    );
    refuseUnless(left.delete(name), `${path}: its answers, answers/${name}.jsonl, are missing`);
    return { cell, answers: readAnswers(join(dir, 'answers', `${name}.jsonl`), cell) };
  });
  const load = namesIn(join(dir, 'load'), '.json').map((name) =>
    readOne(types.LOAD_SCHEMA, join(dir, 'load', `${name}.json`)),
  );
  const complete = manifest.finished !== null && cells.length >= manifest.plannedCells;
  const remarks: string[] = [];
  if (!complete) {
    const stopped = manifest.finished === null ? 'has not finished' : 'has ended with cells missing';
    remarks.push(`This run ${stopped}: ${cells.length} of ${manifest.plannedCells} cells are done.`);
  }
  if (left.size > 0) remarks.push(`Answers without a finished cell, ${left.size} of them, are left out.`);
  return { dir, manifest, cells, load, complete, remarks };
}

function readOne<T extends z.ZodType>(schema: T, path: string): z.output<T> {
  return checked(schema, jsonOf(path, readText(path)), { where: path, code: 'bench-invalid' });
}

function readAnswers(path: string, cell: types.Cell): types.AnswerRecord[] {
  const seen = new Set<string>();
  const lines = readText(path).split('\n');
  let last = 1;
  const answers = lines.flatMap((content, i) => {
    if (content.trim() === '') return [];
    last = i + 1;
    // Every line that was written whole ends with a line feed.
    const value = jsonOf(path, content, { line: last, isCut: last === lines.length });
    const answer = checked(types.ANSWER_SCHEMA, value, { where: `${path}:${last}`, code: 'bench-invalid' });
    refuseUnless(!seen.has(answer.id), `${path}:${last}: example ${JSON.stringify(answer.id)} occurs a second time`);
    seen.add(answer.id);
    return [answer];
  });
  const file = `cells/${cell.key}.json`;
  refuseUnless(
    answers.length === cell.examples,
    `${path}:${last}: ${answers.length} answers, expected ${cell.examples} as in ${file}`,
  );
  const accuracy = mean(answers.map((answer) => answer.correct));
  refuseUnless(
    Math.abs(accuracy - cell.accuracy) < ROUNDING,
    `${path}: ${accuracy.toFixed(4)} of the answers are right, but ${file} has an accuracy of ${cell.accuracy}`,
  );
  return answers;
}

function refuseUnless(condition: boolean, message: string): asserts condition {
  if (condition) return;
  throw new CrayonError('bench-invalid', message, {
    hint: 'The run was changed after it was written. Remove the cell and its answers, and run the bench again: it repeats them.',
  });
}

/** Names of the files below a folder, without their extension, sorted; temporary files start with a dot. */
function namesIn(folder: string, extension: string): string[] {
  if (!exists(folder)) return [];
  return entriesOf(folder)
    .filter((name) => name.endsWith(extension) && !name.startsWith('.'))
    .sort()
    .map((name) => name.slice(0, -extension.length));
}

function readText(path: string): string {
  return decodeUtf8(readSmallFile(path, LIMITS.textBytes), path);
}

/** @param only the line of the file that `text` is, where it is not all of it */
function jsonOf(path: string, text: string, only?: { line: number; isCut: boolean }): unknown {
  try {
    return jsonValue(text);
  } catch (error) {
    // V8 quotes the text around the fault; what is in it must not move the cursor of a terminal.
    const message = messageOf(error).replace(/\p{Cc}/gu, '\ufffd');
    // V8 names a position, except where the text ends too early: then it is the last line.
    const position = /position (\d+)/.exec(message)?.[1];
    const line = only?.line ?? text.slice(0, position === undefined ? undefined : Number(position)).split('\n').length;
    const what = only?.isCut ? 'the file ends within this line' : 'not valid JSON';
    throw new CrayonError('json-invalid', `${path}:${line}: ${what} (${message})`, {
      hint: 'The file was cut short or edited by hand. Remove it and run the bench again: it repeats what is missing.',
      cause: error,
    });
  }
}
