/** Short generation: copying and transforming what stands in the prompt. */

import { type Item, pick, sample, type Task } from './types.js';
import { foods, goods, list, months, names, nouns, plants } from './words.js';

const ours = 'generated (Apache-2.0)';

function skill(name: string, description: string, make: Task['make']): Task {
  return { name, kind: 'generate_until', description, licence: ours, make };
}

/** Years of the corpus' novels: their digits are familiar. */
const year = (n: number): number => 1700 + n;

export const skillTasks: Task[] = [
  skill('list-first', 'A kitchen order; the dish that was named first', (random): Item => {
    const dishes = sample(random, foods, 3 + random.int(3));
    return { prompt: `Kitchen order for ${pick(random, names)}: ${list(dishes)}. Serve:`, completion: ` ${dishes[0]}` };
  }),
  skill('list-last', 'A garden list; the plant that was named last', (random): Item => {
    const chosen = sample(random, plants, 3 + random.int(3));
    const prompt = `Garden list of ${pick(random, names)}: ${list(chosen)}. Plant:`;
    return { prompt, completion: ` ${chosen[chosen.length - 1]}` };
  }),
  skill('list-count', 'A laundry bag; how many pieces are in it', (random): Item => {
    const pieces = sample(random, nouns, 2 + random.int(6));
    return { prompt: `Bag of ${pick(random, names)}: ${list(pieces)}. Pieces:`, completion: ` ${pieces.length}` };
  }),
  skill('swap-words', 'Two words; the same two the other way round', (random): Item => {
    const [a, b] = sample(random, nouns, 2);
    return { prompt: `Swap ${a} ${b}. Result:`, completion: ` ${b} ${a}` };
  }),
  skill('price-lookup', 'A small price table in the prompt; the price of one of its goods', (random): Item => {
    const rows = sample(random, goods, 3).map((item) => ({ item, price: 2 + random.int(97) }));
    const asked = pick(random, rows);
    const table = list(rows.map(({ item, price }) => `${item} ${price}`));
    return { prompt: `Price table: ${table}. Ask: ${asked.item}. Pay:`, completion: ` ${asked.price}` };
  }),
  skill('stock-sum', 'A stock card with goods that come in or go out; how many are left', (random): Item => {
    const out = random.int(2) === 1;
    let [a, b] = [1 + random.int(20), 1 + random.int(20)];
    if (out && b > a) [a, b] = [b, a];
    const item = pick(random, goods);
    const prompt = `Stock card of ${pick(random, names)}: ${a} ${item}, ${b} ${out ? 'out' : 'in'}. Now:`;
    return { prompt, completion: ` ${out ? a - b : a + b}` };
  }),
  skill('date-iso', 'A date in words; the same date as year-month-day', (random): Item => {
    const month = random.int(12);
    const day = 1 + random.int(28);
    const when = year(random.int(300));
    const two = (n: number): string => String(n).padStart(2, '0');
    return {
      prompt: `Date ${day} ${months[month]} ${when}. Stamp:`,
      completion: ` ${when}-${two(month + 1)}-${two(day)}`,
    };
  }),
  skill('key-value-json', 'A line of keys and values; the same as a JSON object', (random): Item => {
    const who = pick(random, names);
    const item = pick(random, goods);
    const count = 2 + random.int(97);
    const prompt = `Record name: ${who}; item: ${item}; count: ${count}. Object:`;
    return { prompt, completion: ` {"name": "${who}", "item": "${item}", "count": ${count}}` };
  }),
];
