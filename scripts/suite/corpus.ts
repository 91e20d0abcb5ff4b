/**
 * Simple English for pretraining: the suite's vocabulary, its question formats and the skills it asks for, in other
 * wordings, as short documents (one JSON string a line).
 *
 *   npx tsx scripts/suite/corpus.ts --suite suite --dbpedia <test.json> --documents 180000 --seed 7 --out build/synthetic.jsonl
 *
 * What the model may learn here is the words and the skills, never a task's own answers: where a map decides (teams,
 * shelves), the document states a map of its own, drawn at random; where a prompt has the suite's format, its answer
 * is drawn at random. No held-out or test prompt of the suite is ever written (checked here, line by line, and again
 * over the finished text by scripts/pretrain/check_leak.py).
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom, type Random } from '../../src/core/random.js';
import { classifyTasks, intents, opinion, utterance } from './classify.js';
import { readArticles } from './dbpedia.js';
import { faultTasks, houses, message, states, teamMap, teams, things, threeThings } from './routing.js';
import { skillTasks } from './skills.js';
import { type Item, normalisePrompt, pick, sample } from './types.js';
import * as words from './words.js';

type Maker = (random: Random) => string;
const numberWords = 'zero one two three four five six seven eight nine ten'.split(' ');
const ordinals = 'first second third fourth fifth sixth'.split(' ');
const pad = (n: number): string => String(n).padStart(2, '0');
const many = (n: number, make: () => string): string => Array.from({ length: n }, make).join('\n');
const lists = [words.foods, words.plants, words.nouns, words.goods, words.names, things];

/** Reports with the map they follow: "Today in the bank the lamp goes to Red ...", then messages and their teams. */
function mappedReports(random: Random): string {
  const house = pick(random, houses);
  const map = teamMap(random);
  const reports = Array.from({ length: 2 }, () => ({ ...threeThings(random, map), house }));
  const shown = random.shuffle([...new Set(reports.flatMap(({ named }) => named))]);
  const rules = shown.map((thing) => `${thing} ${teams[map.get(thing)!]}`).join(', ');
  const lines = reports.map(({ named, team }) => `${message(random, house, named)} Team: ${teams[team]}`);
  return `Rule of the day: ${rules}.\n${lines.join('\n')}`;
}

/** One report and questions about what it says. */
function readReport(random: Random): string {
  const house = pick(random, houses);
  const named = sample(random, things, 3);
  const text = message(random, house, named);
  const who = /the (\w+) in the (\w+)/.exec(text)!;
  const questions = [
    `Who says so? The ${who[1]}.`,
    `Where? In the ${who[2]}.`,
    `Which house? The ${house.name}.`,
    `Things: ${named.join(', ')}.`,
    `The first thing is the ${named[0]}.`,
    `The last thing is the ${named[2]}.`,
    `Is the ${named[1]} ${pick(random, states)}? The ${named[1]} is ${new RegExp(`${named[1]} is (\\w+)`).exec(text)![1]}.`,
  ];
  return `${text} ${sample(random, questions, 2 + random.int(3)).join(' ')}`;
}

function listTalk(random: Random): string {
  const chosen = sample(random, pick(random, lists), 2 + random.int(5));
  const n = random.int(chosen.length);
  const facts = [
    `The first is ${chosen[0]}.`,
    `The last is ${chosen[chosen.length - 1]}.`,
    `There are ${chosen.length}.`,
    `How many? ${numberWords[chosen.length]}, that is ${chosen.length}.`,
    `The ${ordinals[n]} is ${chosen[n]}.`,
    n > 0 ? `Before ${chosen[n]} comes ${chosen[n - 1]}.` : `It begins with ${chosen[0]}.`,
  ];
  return `${pick(random, words.names)} names ${words.list(chosen)}. ${sample(random, facts, 2 + random.int(3)).join(' ')}`;
}

function turnRound(random: Random): string {
  const [a, b, c] = sample(random, pick(random, lists), 3);
  return pick(random, [
    `The words ${a} and ${b}, the other way round, are ${b} and ${a}.`,
    `${a} ${b} turned round: ${b} ${a}.`,
    `First ${a}, then ${b}. Backwards: first ${b}, then ${a}.`,
    `${a}, ${b}, ${c} backwards is ${c}, ${b}, ${a}.`,
  ]);
}

function sums(random: Random): string {
  return many(4, () => {
    const [a, b] = [random.int(21), random.int(21)];
    const [high, low] = [Math.max(a, b), Math.min(a, b)];
    const item = pick(random, words.goods);
    const who = pick(random, words.names);
    return pick(random, [
      `${a} plus ${b} is ${a + b}.`,
      `${a} + ${b} = ${a + b}.`,
      `${high} minus ${low} is ${high - low}.`,
      `${high} - ${low} = ${high - low}.`,
      `${who} has ${a} ${item} and gets ${b} more, so ${who} has ${a + b} ${item}.`,
      `${who} has ${high} ${item} and gives away ${low}, so ${high - low} ${item} remain.`,
    ]);
  });
}

function prices(random: Random): string {
  const rows = sample(random, words.goods, 3).map((item) => ({ item, price: 2 + random.int(97) }));
  const table = rows.map(({ item, price }) => `${item} cost ${price}`).join(', ');
  const [a, b] = sample(random, rows, 2);
  return `At the shop of ${pick(random, words.names)} ${table}. What do ${a!.item} cost? ${a!.price}. Which cost ${b!.price}? The ${b!.item}.`;
}

function dates(random: Random): string {
  return many(3, () => {
    const [month, day, year] = [random.int(12), 1 + random.int(28), 1700 + random.int(300)];
    const name = words.months[month]!;
    return pick(random, [
      `${name} is month ${month + 1} of the year; the month before it is ${words.months[(month + 11) % 12]}.`,
      `On ${name} ${day}, ${year}, written ${pad(day)}/${pad(month + 1)}/${year}, it rained.`,
      `The day ${year}-${pad(month + 1)}-${pad(day)} fell in ${name} of the year ${year}.`,
      `Born ${day} ${name} ${year}. Year ${year}, month ${pad(month + 1)}, day ${pad(day)}.`,
    ]);
  });
}

function records(random: Random): string {
  const who = pick(random, words.names);
  const item = pick(random, words.goods);
  const [count, price] = [2 + random.int(97), 2 + random.int(97)];
  return pick(random, [
    `The object {"item": "${item}", "count": ${count}} says that there are ${count} ${item}.`,
    `{"name": "${who}", "item": "${item}"} means that the name is ${who} and the item is ${item}.`,
    `{"name": "${who}", "count": ${count}, "price": ${price}}`,
    `name: ${who}, price: ${price}. The name is ${who} and the price is ${price}.`,
    `{"item": "${item}", "price": ${price}} in plain words is item ${item}, price ${price}.`,
  ]);
}

function kindTalk(random: Random): string {
  const kind = pick(random, Object.keys(words.kinds));
  const other = pick(
    random,
    Object.keys(words.kinds).filter((name) => name !== kind),
  );
  const [a, b] = sample(random, words.kinds[kind]!, 2);
  const [c, d] = sample(random, words.kinds[other]!, 2);
  const [x, y] = sample(random, 'ABCDEFGH'.split(''), 2);
  const aOr = /^[aeiou]/.test(a!) ? 'An' : 'A';
  return pick(random, [
    `${aOr} ${a} is a kind of ${kind}. So is the ${b}, but the ${c} is a kind of ${other}.`,
    `The ${a} and the ${b} are ${words.plurals[kind]}; the ${c} and the ${d} are ${words.plurals[other]}.`,
    `Which does not belong with the others: ${words.list(random.shuffle([a!, b!, c!]))}? The ${c}.`,
    `Order of the day: ${words.plurals[kind]} on shelf ${x}, ${words.plurals[other]} on shelf ${y}. ${pick(random, words.names)} brings ${a} and ${b}. Shelf: ${x}. ${pick(random, words.names)} brings ${d} and ${c}. Shelf: ${y}.`,
  ]);
}

function opinions(random: Random): string {
  const good = random.int(2) === 1;
  const after = good
    ? ['They were glad.', 'All were pleased.', 'They would come again.']
    : ['They were sorry.', 'All were angry.', 'They would not come again.'];
  const [a, b] = sample(random, good ? words.praise : words.blame, 2);
  return `${opinion(random, good)} ${opinion(random, good)} ${pick(random, after)} ${pick(random, ['', `To be ${a} is to be ${b}.`, `It was ${a}, it was ${b}.`])}`.trim();
}

function requests(random: Random): string {
  const [a, b] = sample(random, Object.keys(intents), 2);
  const first = utterance(random, a!);
  return `${first} Then: ${utterance(random, a!)} Then another matter: ${utterance(random, b!)}`;
}

/** The suite's own prompts, drawn afresh, with the answer of another draw: formats and labels without the map. */
function formats(random: Random): string {
  const task = pick(random, [...faultTasks, ...classifyTasks, ...skillTasks]);
  return many(2, () => `${task.make(random)!.prompt}${task.make(random)!.completion}`);
}

const mixture: Array<[share: number, make: Maker]> = [
  [14, mappedReports],
  [10, readReport],
  [12, listTalk],
  [5, turnRound],
  [8, sums],
  [7, prices],
  [7, dates],
  [6, records],
  [9, kindTalk],
  [4, opinions],
  [3, requests],
  [5, formats],
];

function readPrompts(suite: string, splits: readonly string[]): Item[] {
  const names = readdirSync(suite, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return names.flatMap(({ name }) =>
    splits.flatMap((split) =>
      readFileSync(join(suite, name, `${split}.jsonl`), 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Item),
    ),
  );
}

function main(): void {
  const { values } = parseArgs({
    options: {
      suite: { type: 'string', default: 'suite' },
      dbpedia: { type: 'string' },
      documents: { type: 'string', default: '180000' },
      seed: { type: 'string', default: '7' },
      out: { type: 'string', default: 'build/synthetic.jsonl' },
    },
  });
  if (!values.dbpedia) throw new Error('--dbpedia <path of the DBpedia test.json> is needed');
  const kept = readPrompts(values.suite, ['heldout', 'test']).map(({ prompt }) => normalisePrompt(prompt));
  const forbidden = new Set(kept);
  /** A line may hold a prompt and its answer: look at it without its last 1 to 20 words too. */
  const leaks = (text: string): boolean =>
    text.split('\n').some((line) => {
      let key = normalisePrompt(line);
      for (let cut = 0; cut <= 20 && key; cut++) {
        if (forbidden.has(key)) return true;
        key = key.slice(0, Math.max(0, key.lastIndexOf(' ')));
      }
      return false;
    });

  const random = createRandom(Number(values.seed), 'pretraining text');
  const total = mixture.reduce((sum, [share]) => sum + share, 0);
  const documents: string[] = [];
  let refused = 0;
  while (documents.length < Number(values.documents)) {
    let at = random.uniform() * total;
    let chosen = 0;
    while (at >= mixture[chosen]![0]) at -= mixture[chosen++]![0];
    const make = mixture[chosen]![1];
    const text = make(random);
    if (leaks(text)) refused++;
    else documents.push(text);
  }
  // articles of the suite's training split and of the classes it leaves out, as plain sentences without a label
  const sentences = readArticles(values.dbpedia).map(({ sentence }) => sentence);
  const articles = sentences.filter((sentence) => !forbidden.has(normalisePrompt(`Article: ${sentence} Topic:`)));
  documents.push(...articles);
  random.shuffle(documents);
  writeFileSync(values.out, documents.map((text) => `${JSON.stringify(text)}\n`).join(''));
  console.log(
    `${documents.length} documents (${articles.length} articles), ${refused} refused as held-out or test prompts`,
  );
}

main();
