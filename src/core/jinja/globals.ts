/** What templates know without being told: jinja2's global functions, and the variable `loop`. */

import { entries, taking } from './methods.js';
import {
  type Callable,
  defined,
  equal,
  isInt,
  Members,
  Range,
  refuse,
  setKey,
  Tuple,
  typeName,
  Undefined,
} from './values.js';

/** The variable `loop` at an index. */
export function loopMembers(items: readonly unknown[], depth: number, again: Callable | undefined, isStrict: boolean) {
  let changing: unknown;
  const changed: Callable = (args) => {
    const isNew = changing === undefined || !equal(changing, new Tuple(args));
    changing = new Tuple(args);
    return isNew;
  };
  const members = new Map<string, unknown>();
  const loop = new Members(
    'LoopContext',
    members,
    false,
    again ?? (() => refuse('loop() in a loop that is not recursive')),
  );
  const { length } = items;
  return (index: number): Members => {
    const neighbour = (at: number) =>
      items[at] ?? new Undefined(`there is no ${at < index ? 'previous' : 'next'} item`, isStrict);
    const values = {
      ...{ index: index + 1, index0: index, first: index === 0, last: index === length - 1, length },
      ...{ revindex: length - index, revindex0: length - index - 1, depth: depth + 1, depth0: depth },
      ...{ previtem: neighbour(index - 1), nextitem: neighbour(index + 1), changed },
      cycle: ((args) => args[index % args.length] ?? refuse('no items for cycling given')) satisfies Callable,
    };
    for (const [name, value] of Object.entries(values)) members.set(name, value);
    return loop;
  };
}

const whole = (value: unknown): number =>
  isInt(value) ? Number(value) : refuse(`range() of a ${typeName(defined(value))}`);

/** What jinja2 knows without being told; a field of the same name goes before. */
export function globals(): Map<string, unknown> {
  const dict: Callable = (args, named) => {
    const made = new Map<unknown, unknown>();
    if (args.length > 1) refuse('dict() of several arguments');
    for (const [key, value] of [...args.flatMap(entries), ...named]) setKey(made, key, value);
    return made;
  };
  const cycler: Callable = (items) => {
    if (items.length === 0) refuse('cycler() without items');
    let at = 0;
    const members = new Map<string, unknown>();
    const move = (to: number) => {
      at = to % items.length;
      members.set('current', items[at]);
    };
    const next: Callable = () => {
      const value = items[at];
      move(at + 1);
      return value;
    };
    members.set('next', next);
    members.set('reset', (() => [move(0), null][1]) satisfies Callable);
    move(0);
    return new Members('Cycler', members);
  };
  const joiner = taking('joiner()', 'sep?', (separator = ', ') => {
    let isUsed = false;
    return new Members('Joiner', new Map(), false, () => {
      const text = isUsed ? separator : '';
      isUsed = true;
      return text;
    });
  });
  const range = taking('range()', 'start stop? step?', (start, stop, step = 1) => {
    if (whole(step) === 0) refuse('range() of step 0');
    return stop === undefined ? new Range(0, whole(start), 1) : new Range(whole(start), whole(stop), whole(step));
  });
  const namespace: Callable = (args, named) => {
    return new Members('Namespace', dict(args, named) as Map<string, unknown>, true);
  };
  const lipsum: Callable = () => refuse('lipsum() is random text');
  return new Map<string, unknown>(Object.entries({ dict, cycler, joiner, range, namespace, lipsum }));
}
