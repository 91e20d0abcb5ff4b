/** The table of choices by evidence: what was chosen how often, and what each candidate would have been for everybody. */

import type { Report } from './report.js';
import { difference, figure, type ReportTable, table, text, when } from './table.js';
import * as words from './words.js';

export function choiceTable({ choice }: Report): ReportTable[] {
  if (choice === null) return [];
  const { rows, choices, others, ties, hindsight, byTests, accuracy } = choice;
  const notes = [
    `${words.basis([accuracy])}. ${words.plural(choices, 'choice')}, of an accuracy of ${words.interval(accuracy)}; each row is one candidate for everybody, and what choosing has over it, paired by example.`,
    `In ${ties} of ${choices} no candidate was better than the chosen one by more than one standard error of the paired difference on the tests.`,
    `The best candidate of each, picked with hindsight, has ${words.points(hindsight)}, which noise lifts; picked by one half of the tests for the other half, ${words.points(byTests)}.`,
    ...when(others > 0, `${others} of ${choices} chose a candidate of which this run has no cells of its own.`),
  ];
  return table({ id: 'choice', title: 'Chosen by evidence', notes }, rows, [
    text('candidate', ({ name }) => name),
    figure('chosen', ({ times }) => String(times)),
    figure('for everybody', (row) => words.interval(row.accuracy)),
    figure('choosing less it', (row) => difference(row.gain)),
  ]);
}
