/** Whether an answer in words is the right one. */

/** When an answer counts: `exact`, or as soon as it `start`s with the right one. */
export const MATCHES = ['exact', 'start'] as const;
export type Match = (typeof MATCHES)[number];

/** The right answer; with choices, one of them. */
export interface Expected {
  completion: string;
  choices?: readonly string[] | undefined;
}

/**
 * Whether an answer is right, white space around it aside.
 *
 * - `exact`: it equals the completion. Where that is one line, only the answer's first line counts.
 * - `start`: it begins with the completion and a word ends there, for models that talk on. With choices it counts as the
 *   longest choice that it begins with, so "not sure" is not "not".
 */
export function isRight(answer: string, { completion, choices }: Expected, match: Match): boolean {
  const wanted = completion.trim();
  const given = answer.trim();
  if (match === 'exact') return (wanted.includes('\n') ? given : given.split('\n')[0]!.trimEnd()) === wanted;
  const longer = (choices ?? []).map((choice) => choice.trim()).filter((choice) => choice.length > wanted.length);
  return beginsWith(given, wanted) && !longer.some((choice) => beginsWith(given, choice));
}

function beginsWith(given: string, text: string): boolean {
  return given.startsWith(text) && !/^[\p{L}\p{N}]/u.test(given.slice(text.length));
}
