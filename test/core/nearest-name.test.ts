import { describe, expect, it } from 'vitest';
import { editDistance, nearestName } from '../../src/core/nearest-name.js';

describe('editDistance', () => {
  it.each<[string, string, number]>([
    ['', '', 0],
    ['', 'abc', 3],
    ['kitten', 'sitting', 3],
    ['therads', 'threads', 1],
    ['flaw', 'lawn', 2],
    ['same', 'same', 0],
  ])('of %s and %s is %i', (a, b, distance) => {
    expect([editDistance(a, b), editDistance(b, a)]).toEqual([distance, distance]);
  });
});

describe('nearestName', () => {
  const known = ['threads', 'type', 'api_key_env', 'api_key_file', 'base_url'];
  it.each([
    ['therads', 'threads'],
    ['Threads', 'threads'],
    ['api_key', 'api_key_env'],
    ['baseurl', 'base_url'],
    ['typ', 'type'],
  ])('of %s is %s', (name, near) => expect(nearestName(name, known)).toBe(near));
  it.each(['zebra', 'xy', ''])('of "%s" is none', (name) => expect(nearestName(name, known)).toBeUndefined());
});
