/** Perturbed prompts: the same from the same seed, changed where they may be and nowhere else. */

import { describe, expect, it } from 'vitest';
import { PERTURBATIONS, perturb } from '../../src/bench/perturb.js';

const PROMPT = 'Bank: the clerk in the vault does not have boots, belts and shirts before the audit.\nTeam:';
const options = { seed: 0, typos: 0.1 };
const seeds = Array.from({ length: 60 }, (_, seed) => seed);

/** Letters that were put in, left out or replaced between two words (Levenshtein), a swap of two being two. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

describe.each(PERTURBATIONS)('%s', (kind) => {
  it('are the same for the same seed, and others for another', () => {
    const texts = seeds.map((seed) => perturb(PROMPT, kind, { ...options, seed }));
    expect(seeds.map((seed) => perturb(PROMPT, kind, { ...options, seed }))).toEqual(texts);
    expect(new Set(texts).size).toBeGreaterThan(5);
  });

  it('change the prompt, and leave the form that it ends with', () => {
    for (const seed of seeds) {
      const text = perturb(PROMPT, kind, { ...options, seed });
      expect(text).not.toBe(PROMPT);
      expect(text.toLowerCase()).toMatch(/\nteam:$/);
    }
  });
});

describe('typos', () => {
  const words = (text: string) => text.split(/[^\p{L}]+/u);

  it('are one slip in a word of four letters and more, never at its first, and never in the name of a field', () => {
    for (const seed of seeds) {
      const before = words(PROMPT);
      const after = words(perturb(PROMPT, 'typos', { seed, typos: 0.3 }));
      expect(after).toHaveLength(before.length);
      for (const [i, word] of before.entries()) {
        if (word.length < 4 || word === 'Bank' || word === 'Team') expect(after[i]).toBe(word);
        expect(after[i]![0]).toBe(word[0]);
        expect(distance(word, after[i]!)).toBeLessThanOrEqual(2);
      }
    }
  });

  it('hit the share of the words that is asked for, and one at least', () => {
    const long = Array.from({ length: 400 }, () => 'words').join(' ');
    const hit = (text: string) => words(text).filter((word) => word !== 'words').length;
    expect(hit(perturb(long, 'typos', { seed: 1, typos: 0 }))).toBe(1);
    expect(hit(perturb(long, 'typos', { seed: 1, typos: 0.1 }))).toBeGreaterThan(20);
    expect(hit(perturb(long, 'typos', { seed: 1, typos: 0.1 }))).toBeLessThan(65);
    expect(hit(perturb(long, 'typos', { seed: 1, typos: 1 }))).toBe(400);
  });

  it('leave a prompt alone that has no such word', () => {
    expect(perturb('2 + 2 = ?', 'typos', options)).toBe('2 + 2 = ?');
    expect(perturb('', 'typos', options)).toBe('');
  });

  it('keep letters of other scripts whole', () => {
    for (const seed of seeds) {
      const text = perturb('Привет, мир и 𝒜𝒷𝒸𝒹𝑒', 'typos', { seed, typos: 1 });
      expect(Buffer.from(text).toString()).toBe(text);
    }
  });
});

describe('a rewording', () => {
  const texts = seeds.map((seed) => perturb(PROMPT, 'rewording', { ...options, seed }));

  it('opens with a sentence, and is one change of style besides', () => {
    const styles = [PROMPT.toLowerCase(), PROMPT.replace('does not', "doesn't"), PROMPT.replace('boots,', 'boots')];
    for (const text of texts) expect(styles.some((style) => text.endsWith(` ${style}`))).toBe(true);
    for (const style of styles) expect(texts.some((text) => text.endsWith(` ${style}`))).toBe(true);
  });

  it('of a prompt without anything to change has the opening alone', () => {
    expect(perturb('2 + 2 = ?', 'rewording', options)).toMatch(/^\S.* 2 \+ 2 = \?$/);
  });
});
