/** What a router would see of a user's test prompts with typos, or reworded: the signals by which it decides, asked again. */

import type { Example } from '../data/dataset.js';
import { type Answerer, type AnswerSettings, answerExamples } from './answers.js';
import { PERTURBATIONS, type Perturbation, perturb } from './perturb.js';
import type { Placed, ScopeSpace } from './pool-space.js';
import type { BenchConfig } from './settings.js';
import type { AnswerRecord } from './types.js';
import type { UserWithExamples } from './users.js';

/** A user's test, changed in each way, with the signals that cost no generation. */
export type PerturbedTests = Array<{ kind: Perturbation; test: Example[]; placed: readonly Placed[] }>;

/** None where the configuration does not ask for it. */
export async function perturbedTests(
  user: UserWithExamples,
  space: ScopeSpace,
  { robustness }: BenchConfig,
): Promise<PerturbedTests> {
  const tests: PerturbedTests = [];
  if (robustness === undefined) return tests;
  for (const kind of PERTURBATIONS) {
    const test = user.test.map((example) => ({ ...example, prompt: perturb(example.prompt, kind, robustness) }));
    tests.push({ kind, test, placed: await space.placed({ ...user, test }) });
  }
  return tests;
}

/** One for each test example, with the device's confidence where the configuration has it answer. */
export async function perturbedSignals(
  tests: PerturbedTests,
  { robustness }: BenchConfig,
  answerer: Answerer,
  settings: AnswerSettings,
): Promise<Array<Pick<AnswerRecord, 'perturbed'>>> {
  const signals: Array<Required<Pick<AnswerRecord, 'perturbed'>>> = [];
  for (const { kind, test, placed } of tests) {
    const asked = robustness!.device
      ? await answerExamples(answerer, test, { ...settings, onProgress: undefined })
      : null;
    for (const [i, before] of placed.entries()) {
      const { confidence, correct } = asked?.records[i] ?? {};
      signals[i] ??= { perturbed: {} };
      signals[i].perturbed![kind] = { ...before, ...(asked === null ? {} : { confidence, correct }) };
    }
  }
  return signals;
}
