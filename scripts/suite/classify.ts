/** Multiple choice that few words decide: intents, sentiment, shelves, topics of an encyclopedia. */

import type { Random } from '../../src/core/random.js';
import { choose, type Item, pick, sample, type Task } from './types.js';
import { blame, foods, kinds, names, praise, sentenceList } from './words.js';

const ours = 'generated (Apache-2.0)';

/** What people say to a helper at home; `#` stands for a slot filled at random. */
export const intents: Record<string, string[]> = {
  alarm: ['Wake me at #hour', 'Ring the bell at #hour', 'Do not let me sleep past #hour', 'I must get up by #hour'],
  music: ['Play me a tune on the #instrument', 'Let us hear the #instrument', 'Sing something with a #instrument'],
  weather: ['Will it rain #day', 'Do I need an umbrella #day', 'How cold is it #day', 'Will there be snow #day'],
  shopping: ['We are out of #food, buy some', 'Put #food on the list', 'Remember to get #food and #food'],
  message: ['Tell #name that I am late', 'Write to #name about the #food', 'Let #name know I arrived'],
  lights: ['It is dark in the #room', 'Brighten the #room', 'Put out the lamp in the #room', 'Dim the #room'],
  travel: ['How do I get to #place', 'Book a seat to #place', 'Which train goes to #place', 'Take me to #place'],
  cooking: ['How long do I boil #food', 'How do I bake #food', 'What goes well with #food', 'Is the #food done'],
};

const slots: Record<string, string[]> = {
  hour: 'six,seven,eight,nine,half past five,half past six,a quarter to seven,ten,noon,dawn'.split(','),
  day: 'today,tomorrow,tonight,on Sunday,on Monday,on Friday,next week,this evening,in March,in July'.split(','),
  room: 'kitchen,hall,bedroom,cellar,attic,parlour,study,nursery'.split(','),
  place: 'London,Paris,Rome,Vienna,the harbour,the station,the village,the coast,Oxford,Dublin'.split(','),
  instrument: kinds.instrument!,
  food: foods,
  name: names,
};

const openings = ['', 'Please. ', 'Good morning. ', 'Listen. ', 'One thing more. ', 'If you can. ', 'Quickly now. '];

export function utterance(random: Random, intent: string): string {
  const text = pick(random, intents[intent]!).replace(/#(\w+)/g, (_, slot: string) => pick(random, slots[slot]!));
  return `${pick(random, openings)}${text}, says ${pick(random, names)}.`;
}

const subjects = 'play,concert,dinner,journey,novel,house,garden party,inn,picture,speech,voyage,lecture'.split(',');

/** One opinion about a subject, with one or two words of the given side. */
export function opinion(random: Random, good: boolean): string {
  const [a, b] = sample(random, good ? praise : blame, 2);
  const subject = pick(random, subjects);
  const who = pick(random, names);
  return pick(random, [
    `${who} found the ${subject} ${a} and the company ${b}.`,
    `The ${subject} was ${a}, wrote ${who}, and the rest was ${b}.`,
    `What a ${a} ${subject}, said ${who}.`,
    `${who} called it a ${a}, ${b} ${subject}.`,
    `Everything about the ${subject} seemed ${a} to ${who}.`,
  ]);
}

export const shelfLetters = ['D', 'G', 'A', 'F', 'B', 'H', 'C', 'E'];

export const classifyTasks: Task[] = [
  {
    name: 'intent',
    kind: 'multiple_choice',
    description: 'Something said to a helper at home; what it is about',
    licence: ours,
    make(random): Item {
      const labels = Object.keys(intents);
      const intent = random.int(labels.length);
      return choose(`Request: ${utterance(random, labels[intent]!)} Intent:`, labels, intent);
    },
  },
  {
    name: 'sentiment',
    kind: 'multiple_choice',
    description: 'An opinion; is it praise or blame',
    licence: ours,
    make(random): Item {
      const good = random.int(2) === 1;
      return choose(`Opinion: ${opinion(random, good)} Mark:`, ['plus', 'minus'], good ? 0 : 1);
    },
  },
  {
    name: 'shelf',
    kind: 'multiple_choice',
    description: "Goods of one kind; the letter of their shelf in the warehouse's own order",
    licence: ours,
    make(random): Item {
      const kind = random.int(shelfLetters.length);
      const members = sample(random, Object.values(kinds)[kind]!, 2 + random.int(2));
      const prompt = `Warehouse: ${pick(random, names)} brings ${sentenceList(members)}. Shelf:`;
      return choose(prompt, [...shelfLetters].sort(), [...shelfLetters].sort().indexOf(shelfLetters[kind]!));
    },
  },
];
