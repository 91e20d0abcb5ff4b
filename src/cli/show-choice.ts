/** A choice by evidence in words: the table of candidates, and what follows from it. Of a blend just made, or of its crayon.json. */

import { BARE_MODEL, type ChoiceRecord } from '../blend/choice-record.js';
import { CANDIDATES, trainedCandidates } from '../choose/candidates.js';
import type { Terminal } from './terminal.js';

const KNOWN = [...CANDIDATES, ...trainedCandidates({ refine: 1, loraFromBlend: { rank: 1 } })];
const known = (name: string) => KNOWN.find((one) => one.name === name);
const titleOf = (name: string): string => known(name)?.title ?? name;

/** Whether what is chosen of all is better than whatever one adapter can be, and not only preferred where the examples leave it open. */
const isClear = ({ candidates }: ChoiceRecord): boolean =>
  candidates.every(({ name, loss, difference, standardError }) => {
    return known(name)?.kind === 'per-query' || loss === null || difference! > standardError!;
  });

/** @param seconds that each candidate took, where they are known */
export function choiceTable(record: ChoiceRecord, terminal: Terminal, seconds?: readonly number[]): void {
  const { chosen, chosenOfAll, examples, evidence, candidates } = record;
  const unit = { choices: '-ln p(right choice)', tokens: 'nats a token', both: 'loss' }[evidence];
  const how = isClear(record) ? 'better' : 'preferred';
  const rows = candidates.map(({ name, loss, difference, standardError, right }, c) => {
    const mark = name === chosen ? 'chosen' : name === chosenOfAll ? `${how}, served per query` : '';
    const took = seconds === undefined ? [] : [loss === null ? '' : `${seconds[c]!.toFixed(1)} s`];
    if (loss === null) return [titleOf(name), 'not tried', '', '', ...took, mark];
    const gap =
      difference === 0 && standardError === 0 ? '' : `${difference!.toFixed(3)} ± ${standardError!.toFixed(3)}`;
    return [titleOf(name), loss.toFixed(3), gap, `${right} of ${examples}`, ...took, mark];
  });
  const timed = seconds === undefined ? [] : ['took'];
  const align = ['left', 'right', 'right', 'right', ...timed.map(() => 'right' as const), 'left'] as const;
  terminal.table(['candidate', unit, 'above the best', 'right', ...timed, ''], rows, [...align]);
}

/** What the table says, in sentences. */
export function choiceWords(record: ChoiceRecord, pool = '<pool>'): string[] {
  const { chosen, chosenOfAll, candidates } = record;
  const untried = candidates.filter(({ loss }) => loss === null).length;
  const words: string[] = [];
  if (untried > 0) {
    const isUndecided = candidates.find(({ name }) => name === chosen)?.loss == null;
    const what = isUndecided
      ? 'too few were tried to choose: the blend is that of similarity'
      : 'the choice is among the others';
    words.push(
      `Time was up before ${untried} of ${candidates.length} candidates were tried; ${what} (--choose-seconds).`,
    );
  }
  if (chosen === BARE_MODEL) words.push('The adapter that is written adds nothing to the base model.');
  if (chosenOfAll !== chosen) {
    const served = `crayon serve-edge --pool ${pool} --gate per-query`;
    words.push(
      isClear(record)
        ? `No one adapter is as good as the pool ${titleOf(chosenOfAll)}: serve it with ${served}. The adapter that is written is the best of one for all prompts.`
        : `The pool ${titleOf(chosenOfAll)} is as good as the best within one standard error, and preferred, as it did best for other users: serve it with ${served}. ` +
            'The adapter that is written is what is chosen among those of one for all prompts.',
    );
  }
  return words;
}
