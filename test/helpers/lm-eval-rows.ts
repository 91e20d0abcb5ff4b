/** Rows of scripts/peers/lm_eval_tasks.py: templates and records, and what lm-evaluation-harness made of them, against what crayon makes. */

import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { parseDatasetConfig, type TaskConfig } from '../../src/data/config.js';
import { whyInvalid } from '../../src/data/example.js';
import { type DataRecord, withNumbersKept } from '../../src/data/numbers.js';
import { renderTask } from '../../src/data/template.js';

export interface LmEvalRow {
  file: string;
  /** task files that have these templates */
  files: number;
  config: Record<string, unknown>;
  records: DataRecord[];
  expected: Array<{
    prompt: string;
    choices?: string[];
    gold?: number[];
    completion?: string;
    /** prompt and answer, as they stand before another prompt */
    whole?: string;
    answers?: number;
  }>;
}

export function readLmEvalRows(path: string): LmEvalRow[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => withNumbersKept(line, JSON.parse) as LmEvalRow);
}

/** What became of a row's records: all equal, byte for byte; or the first difference; or the first refusal. */
export type LmEvalOutcome = { equal: true } | { refused: string } | { got: unknown; wanted: unknown };

export function lmEvalOutcome({ file, config, records, expected }: LmEvalRow): LmEvalOutcome {
  let task: TaskConfig;
  try {
    task = parseDatasetConfig({ task: 't', data_files: { test: 'x.jsonl' }, ...config }, file) as TaskConfig;
    renderTask({ ...task, where: file, isCsv: false }, []);
  } catch (error) {
    return { refused: (error as Error).message };
  }
  let outcome: LmEvalOutcome = { equal: true };
  // One by one: numbers of the made-up records are not of one kind.
  for (const [i, record] of records.entries()) {
    const [made] = renderTask({ ...task, where: file, isCsv: false }, [record]);
    const wanted = expected[i]!;
    const problem = typeof made === 'string' ? made : whyInvalid(made!);
    if (typeof made === 'string' || problem !== undefined) {
      if ('equal' in outcome) outcome = { refused: problem! };
      continue;
    }
    const { prompt, completion, choices, answer } = made!;
    const got =
      choices !== undefined
        ? { prompt, choices, gold: [answer] }
        : wanted.whole === undefined
          ? { prompt, completion }
          : { prompt, whole: prompt + completion, answers: 1 };
    if (!isDeepStrictEqual(got, wanted)) return { got, wanted };
  }
  return outcome;
}
