/** What a task of the quickstart suite is: a seeded maker of items, and the words that describe it. */
import type { Random } from '../../src/core/random.js';

/** One record of `suite/<task>/<split>.jsonl`. Completion and choices start with their leading space. */
export interface Item {
  prompt: string;
  completion: string;
  /** Multiple choice only. */
  choices?: string[];
  /** Index of `completion` in `choices`. */
  answer?: number;
}

export interface Task {
  /** File name and YAML name, kebab-case. */
  name: string;
  kind: 'multiple_choice' | 'generate_until';
  /** One line for the YAML file and the README. */
  description: string;
  /** Where the text comes from; generated tasks are ours (Apache-2.0). */
  licence: string;
  /** A fresh item for this generator state, or null when a finite source is used up. */
  make(random: Random): Item | null;
}

export function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.int(items.length)]!;
}

/** `count` different members of `items`, in random order. */
export function sample<T>(random: Random, items: readonly T[], count: number): T[] {
  return random.shuffle([...items]).slice(0, count);
}

/** A multiple-choice item whose right answer is `choices[answer]`. */
export function choose(prompt: string, choices: readonly string[], answer: number): Item {
  const texts = choices.map((choice) => ` ${choice}`);
  return { prompt, completion: texts[answer]!, choices: texts, answer };
}

/** Two prompts that differ only in case, spacing or punctuation count as the same prompt. */
export function normalisePrompt(prompt: string): string {
  return prompt
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, ' ')
    .trim();
}
