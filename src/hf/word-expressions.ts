/**
 * Regular expressions that models cut texts into words by, as their tokenizer.json have them and as llama.cpp writes them. Each
 * alternative takes runs of one kind of character, and gives back at most the run that it has taken: none of these takes longer
 * than in proportion to its text, so a tokenizer that has no other ones needs no clock.
 */

/** English contractions in either case. */
export const CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
/** Runs of characters that are neither spaces, letters nor digits; line ends; other spaces, the last one left for a word. */
const REST = '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

export const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";
/** What Qwen 2 and Llama 3 share; they differ in how many digits make a word. Also as a tokenizer.json has it. */
export const modern = (contractions: string, digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}${REST}`;
/** Words that begin with upper case; also as a tokenizer.json has it. */
export const cased = ([upper, lower]: readonly [string, string], suffix: string, digits: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+${suffix}|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*${suffix}|${digits}` +
  '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

export const ANY_CASE_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
/** Mistral's. */
export const TEKKEN_WORDS = cased(
  ['[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'],
  '',
  '\\p{N}',
);

const DIGITS = ['\\p{N}', '\\p{N}{1,3}'];
const KNOWN = new Set([
  ...[GPT2, TEKKEN_WORDS, ...DIGITS],
  ...[CONTRACTIONS, ANY_CASE_CONTRACTIONS].flatMap((contractions) =>
    DIGITS.map((digits) => modern(contractions, digits)),
  ),
]);

/** Whether all regular expressions in a tokenizer.json (`{"Regex": ...}`, wherever they stand) are known ones. */
export function hasKnownExpressions(json: Readonly<Record<string, unknown>>): boolean {
  const { model: _, added_tokens: __, ...steps } = json; // the vocabulary has none
  const waiting: unknown[] = [steps];
  while (waiting.length > 0) {
    const part = waiting.pop();
    if (typeof part !== 'object' || part === null) continue;
    const { Regex: expression } = part as { Regex?: unknown };
    if (expression !== undefined && !KNOWN.has(expression as string)) return false;
    waiting.push(...Object.values(part));
  }
  return true;
}
