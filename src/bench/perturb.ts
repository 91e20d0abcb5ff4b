/**
 * Prompts as another hand might have typed them, made by rules from a seed, to see whether a router still decides the same
 * (the robustness of RouterArena, arXiv 2510.00202). No model has a part in it.
 *
 * `typos`: in some of the words of four letters and more a letter is swapped with the next, left out, doubled, or hit beside its key.
 * `rewording` is as near to a paraphrase as rules come, and no paraphrase: an opening sentence, and one change of style, lower
 * case, contractions, or no commas and full stops within it. What is asked for stays what it was.
 */

import { createRandom, type Random } from '../core/random.js';

export const PERTURBATIONS = ['typos', 'rewording'] as const;
export type Perturbation = (typeof PERTURBATIONS)[number];

export interface PerturbOptions {
  seed: number;
  /** share of the words of four letters and more that get one; one word of a prompt at least */
  typos: number;
}

/** The same prompt, seed and share always give the same text, and another one than the prompt where it has a letter to change. */
export function perturb(prompt: string, kind: Perturbation, { seed, typos }: PerturbOptions): string {
  const random = createRandom(seed, `${kind}\n${prompt}`);
  return kind === 'typos' ? withTypos(prompt, typos, random) : reworded(prompt, random);
}

/** A word before a colon is a field's name, `Question:`, which a program writes and no hand. */
const WORD = /\p{L}{4,}(?![\p{L}:])/gu;

function withTypos(prompt: string, share: number, random: Random): string {
  const words = [...prompt.matchAll(WORD)];
  const always = random.int(Math.max(words.length, 1));
  let text = '';
  let end = 0;
  for (const [i, { 0: word, index }] of words.entries()) {
    const isHit = random.uniform() < share || i === always;
    text += prompt.slice(end, index) + (isHit ? mistyped(word, random) : word);
    end = index + word.length;
  }
  return text + prompt.slice(end);
}

const KEY_ROWS = ['qwertyuiop', 'asdfghjkl', 'zxcvbnm'];

/** One slip, at any letter but the first. */
function mistyped(word: string, random: Random): string {
  const letters = [...word];
  const at = 1 + random.int(letters.length - 1);
  const letter = letters[at]!;
  const [before, after] = [letters.slice(0, at), letters.slice(at + 1)];
  const slip = random.int(4);
  if (slip === 0 && after.length > 0 && after[0] !== letter) {
    return [...before, after[0], letter, ...after.slice(1)].join('');
  }
  if (slip === 1) return [...before, ...after].join('');
  const row = KEY_ROWS.find((keys) => keys.includes(letter.toLowerCase()));
  if (slip === 2 && row !== undefined) {
    const key = row.indexOf(letter.toLowerCase());
    const beside = [row[key - 1], row[key + 1]].filter((one) => one !== undefined);
    return [...before, beside[random.int(beside.length)], ...after].join('');
  }
  return [...before, letter, letter, ...after].join('');
}

const OPENINGS = [
  'Hello.',
  'One question, please.',
  'Please help me with this.',
  'I have another one for you.',
  'Thanks. Next:',
];

const CONTRACTIONS: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b(is|are|was|were|do|does|did|have|has|had|would|could|should) not\b/gi, "$1n't"],
  [/\bcan(?:no| no)t\b/gi, "can't"],
  [/\b(it|that|there|what|who|he|she) is\b/gi, "$1's"],
  [/\b(I|you|we|they) have\b/gi, "$1've"],
  [/\bI am\b/g, "I'm"],
  [/\b(you|we|they) are\b/gi, "$1're"],
];

/** In the order in which they are tried from a random one on: the first that changes the prompt is taken. */
const STYLES: ReadonlyArray<(text: string) => string> = [
  (text) => text.toLowerCase(),
  (text) => CONTRACTIONS.reduce((changed, [from, to]) => changed.replace(from, to), text),
  // not at the end of a line, where it may be the form's
  (text) => text.replace(/[,.](?= \p{L})/gu, ''),
];

function reworded(prompt: string, random: Random): string {
  const opening = OPENINGS[random.int(OPENINGS.length)]!;
  const first = random.int(STYLES.length);
  const changed = STYLES.map((_, i) => STYLES[(first + i) % STYLES.length]!(prompt));
  return `${opening} ${changed.find((text) => text !== prompt) ?? prompt}`;
}
