/**
 * A run directory, read back and checked: a report must not be drawn from numbers that are not there. A damaged file is an
 * error that names it; a run that is not finished is not damaged, and says so.
 */

import { CrayonError } from '../../core/errors.js';
import { mean } from '../../core/stats.js';
import { checked } from '../../files/checks.js';
import type { AnswerRecord, Cell, LoadCell, RunManifest } from '../types.js';
import { type JsonLines, readAnswerLines, readRunFiles } from './run-files.js';
import { ANSWER_SCHEMA, CELL_SCHEMA, LOAD_SCHEMA, MANIFEST_SCHEMA } from './schema.js';

export interface AnsweredCell {
  cell: Cell;
  answers: AnswerRecord[];
}

export interface BenchRun {
  dir: string;
  manifest: RunManifest;
  cells: AnsweredCell[];
  load: LoadCell[];
  /** the run has ended and every planned cell is there */
  complete: boolean;
  /** what a reader should know about the state of the run, in sentences */
  remarks: string[];
}

const ROUNDING = 1e-6;

/** @throws CrayonError naming file, and line or key, of the first thing that is wrong */
export function readRun(dir: string): BenchRun {
  const files = readRunFiles(dir);
  const manifest = checked<RunManifest>(files.manifest.value, MANIFEST_SCHEMA, 'bench-invalid', files.manifest.path);
  const cells = files.cells.map(({ path, name, value }) => {
    const cell = checked<Cell>(value, CELL_SCHEMA, 'bench-invalid', path);
    refuseUnless(
      cell.key === name,
      `${path}: key is ${JSON.stringify(cell.key)}, expected ${JSON.stringify(name)} as in its file name`,
    );
    refuseUnless(files.answered.has(name), `${path}: its answers, answers/${name}.jsonl, are missing`);
    const answers = readAnswers(readAnswerLines(dir, name), cell);
    return { cell, answers };
  });
  const load = files.load.map(({ path, value }) => checked<LoadCell>(value, LOAD_SCHEMA, 'bench-invalid', path));
  const complete = manifest.finished !== null && cells.length >= manifest.plannedCells;
  const remarks: string[] = [];
  if (!complete) {
    const stopped = manifest.finished === null ? 'has not finished' : 'has ended with cells missing';
    remarks.push(`This run ${stopped}: ${cells.length} of ${manifest.plannedCells} cells are done.`);
  }
  const known = new Set(cells.map(({ cell }) => cell.key));
  const orphans = [...files.answered].filter((name) => !known.has(name)).length;
  if (orphans > 0) remarks.push(`Answers without a finished cell, ${orphans} of them, are left out.`);
  return { dir, manifest, cells, load, complete, remarks };
}

function readAnswers({ path, records }: JsonLines, cell: Cell): AnswerRecord[] {
  const seen = new Set<string>();
  const answers = records.map(({ line, value }) => {
    const answer = checked<AnswerRecord>(value, ANSWER_SCHEMA, 'bench-invalid', `${path}:${line}`);
    refuseUnless(!seen.has(answer.id), `${path}:${line}: example ${JSON.stringify(answer.id)} occurs a second time`);
    seen.add(answer.id);
    return answer;
  });
  refuseUnless(
    answers.length === cell.examples,
    `${path}:${records.at(-1)?.line ?? 1}: ${answers.length} answers, expected ${cell.examples} as in cells/${cell.key}.json`,
  );
  const accuracy = mean(answers.map((answer) => answer.correct));
  refuseUnless(
    Math.abs(accuracy - cell.accuracy) < ROUNDING,
    `${path}: ${accuracy.toFixed(4)} of the answers are right, but cells/${cell.key}.json has an accuracy of ${cell.accuracy}`,
  );
  return answers;
}

function refuseUnless(condition: boolean, message: string): asserts condition {
  if (condition) return;
  throw new CrayonError('bench-invalid', message, {
    hint: 'The run was changed after it was written. Remove the cell and its answers, and run the bench again: it repeats them.',
  });
}
