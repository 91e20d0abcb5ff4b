/**
 * Routing: the conflicting tasks. Six houses get the same kind of message, and each has its own map to six teams; only
 * the house's own vocabulary (its name, its people, its places) tells which map holds.
 *
 * - `route-*`: goods of one kind arrive; the kind decides the team. The maps form a Latin square: no two houses send
 *   the same kind to the same team, so whoever ignores the house is right one time in six.
 * - `faults-*`: 24 things, each mapped alone, the team of two of the three things named. A candidate that one LoRA
 *   learns too slowly for a quickstart; its messages remain part of the pretraining text.
 */
import { createRandom, type Random } from '../../src/core/random.js';
import { choose, type Item, pick, sample, type Task } from './types.js';
import { kinds, sentenceList } from './words.js';

export const teams = ['Red', 'Blue', 'Green', 'White', 'Black', 'Brown'];

export const things = (
  'lamp door phone printer heater clock window camera pipe screen cable pump alarm fan lock sign gate bell table ' +
  'roof switch drain floor lift'
).split(' ');

export const states = 'broken stuck dead slow loose wet noisy cold dirty cracked missing faulty'.split(' ');

export interface House {
  name: string;
  people: string[];
  places: string[];
  times: string[];
}

export const houses: House[] = [
  {
    name: 'hospital',
    people: ['nurse', 'surgeon', 'doctor', 'patient', 'midwife'],
    places: ['ward', 'clinic', 'pharmacy', 'surgery'],
    times: ['before the operation', 'during the treatment', 'since the fever began'],
  },
  {
    name: 'airline',
    people: ['pilot', 'steward', 'passenger', 'captain', 'mechanic'],
    places: ['cabin', 'hangar', 'cockpit', 'airport'],
    times: ['before the flight', 'during the landing', 'since the takeoff'],
  },
  {
    name: 'bank',
    people: ['cashier', 'banker', 'clerk', 'accountant', 'investor'],
    places: ['vault', 'branch', 'treasury', 'counter'],
    times: ['before the audit', 'during the loan meeting', 'since the deposit'],
  },
  {
    name: 'school',
    people: ['teacher', 'pupil', 'tutor', 'student', 'headmaster'],
    places: ['classroom', 'library', 'gymnasium', 'playground'],
    times: ['before the lesson', 'during the exam', 'since the holidays'],
  },
  {
    name: 'farm',
    people: ['farmer', 'shepherd', 'milkmaid', 'ploughman', 'gardener'],
    places: ['barn', 'stable', 'dairy', 'meadow'],
    times: ['before the harvest', 'during the milking', 'since the ploughing'],
  },
  {
    name: 'museum',
    people: ['curator', 'painter', 'visitor', 'sculptor', 'historian'],
    places: ['gallery', 'archive', 'exhibition', 'workshop'],
    times: ['before the tour', 'during the auction', 'since the opening'],
  },
];

/** thing -> team index, four things a team; the map of one house, or of a fresh one for the pretraining text. */
export function teamMap(random: Random): Map<string, number> {
  const order = random.shuffle([...things]);
  return new Map(order.map((thing, i) => [thing, i % teams.length]));
}

/** Three different things, exactly two of one team. */
export function threeThings(random: Random, map: Map<string, number>): { named: string[]; team: number } {
  const team = random.int(teams.length);
  const own = sample(
    random,
    things.filter((thing) => map.get(thing) === team),
    2,
  );
  const other = pick(
    random,
    things.filter((thing) => map.get(thing) !== team),
  );
  return { named: random.shuffle([...own, other]), team };
}

/** The message of `named` in `house`, up to the full stop. */
export function message(random: Random, house: House, named: readonly string[]): string {
  const [a, b, c] = named.map((thing) => `the ${thing} is ${pick(random, states)}`);
  const title = house.name[0]!.toUpperCase() + house.name.slice(1);
  return `${title}: the ${pick(random, house.people)} in the ${pick(random, house.places)} says that ${a}, ${b} and ${c} ${pick(random, house.times)}.`;
}

const latinColumns = createRandom(1887, 'latin square').shuffle(teams.map((_, i) => i));

const routedKinds = ['fish', 'tool', 'fruit', 'bird', 'garment', 'instrument'];

/** A seventh house for a user the pool has not seen: the hospital's rule and kind of people, under another name. */
const clinic: House = {
  name: 'clinic',
  people: ['nurse', 'doctor', 'dentist', 'patient'],
  places: ['ward', 'pharmacy', 'surgery', 'hall'],
  times: ['before the operation', 'during the treatment', 'since the morning'],
};

const routed: Array<[house: House, row: number]> = [
  ...houses.map((house, row): [House, number] => [house, row]),
  [clinic, 0],
];

export const routingTasks: Task[] = routed.map(([house, row]) => ({
  name: `route-${house.name}`,
  kind: 'multiple_choice',
  description: `Goods arrive at the ${house.name}; which team gets them, by the ${house.name}'s own rule`,
  licence: 'generated (Apache-2.0)',
  make(random): Item {
    const kind = random.int(routedKinds.length);
    const goods = sample(random, kinds[routedKinds[kind]!]!, 2 + random.int(2));
    const title = house.name[0]!.toUpperCase() + house.name.slice(1);
    const who = `the ${pick(random, house.people)} in the ${pick(random, house.places)}`;
    // a cyclic Latin square with its columns shuffled, so that the order of the kinds says nothing
    const team = (latinColumns[kind]! + row) % teams.length;
    return choose(`${title}: ${who} has ${sentenceList(goods)} ${pick(random, house.times)}. Team:`, teams, team);
  },
}));

export const faultTasks: Task[] = houses.map((house) => {
  const map = teamMap(createRandom(1887, `team map of the ${house.name}`));
  return {
    name: `faults-${house.name}`,
    kind: 'multiple_choice',
    description: `A fault report from the ${house.name}; which team gets it, by the ${house.name}'s own map`,
    licence: 'generated (Apache-2.0)',
    make(random): Item {
      const { named, team } = threeThings(random, map);
      return choose(`${message(random, house, named)} Team:`, teams, team);
    },
  };
});
