import { describe, expect, it } from 'vitest';
import {
  abridge,
  bar,
  editDistance,
  ellipsis,
  ellipsisFront,
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  lastLines,
  nearestName,
} from '../../src/core/format.js';

describe('abridge', () => {
  it('shows the first of a list, each cut short where it is very long', () => {
    expect(abridge(['a', 'b', 'c'], 2)).toBe('a; b; and 1 more');
    expect(abridge(['a', 'b'], 2, ', ')).toBe('a, b');
    expect(abridge(['x'.repeat(1_000_000), 'b'], 5)).toBe(`${'x'.repeat(1000)}…; b`);
  });
});

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

describe('text of numbers', () => {
  it.each([
    [formatBytes(999), '999 B'],
    [formatBytes(1536), '1.5 kB'],
    [formatBytes(281_000_000), '281 MB'],
    [formatDuration(830), '830 ms'],
    [formatDuration(9_500), '9.5 s'],
    [formatDuration(61_500), '1 min 2 s'],
    [formatDuration(3_700_000), '1 h 1 min'],
    [formatCount(1234567), '1,234,567'],
    [formatRate(1234.5), '1,230'],
    [formatRate(0.12345), '0.123'],
    [bar(0.5, 4), '██░░'],
    [bar(-1, 4), '░░░░'],
    [ellipsis('two\n lines', 20), 'two lines'],
    [ellipsis('abcdefgh', 4), 'abc…'],
    [ellipsisFront('abcdefgh', 4), '…fgh'],
    [lastLines('a\r\n 1 %\r 2 % \r\n\nError: b\n \n', 3).join('/'), ' 1 %/ 2 %/Error: b'],
    [lastLines('\n', 3).length, 0],
    [lastLines('x'.repeat(10_000), 1)[0]!.length, 1001],
  ])('%s is %s', (text, expected) => {
    expect(text).toBe(expected);
  });
});
