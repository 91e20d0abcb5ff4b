/** What YAML can say beyond JSON, and files of a few kilobytes that would take hours: read as PyYAML reads them, or refused. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/core/limits.js';
import { readYaml } from '../../src/files/yaml.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { processorMs } from '../helpers/processor.js';

function read(text: string): unknown {
  const path = join(temporaryDir(), 'a.yaml');
  writeFileSync(path, text);
  return readYaml(path).value;
}

describe('readYaml', () => {
  it.each<[string, string, unknown]>([
    ['a merge key', 'a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}', { a: { x: 1, y: 2 }, b: { x: 1, y: 3 } }],
    ['a merge key of two maps', 'a: {<<: [{x: 1}, {x: 2, y: 2}], z: 3}', { a: { x: 1, y: 2, z: 3 } }],
    ['a quoted merge key', 'a: {"<<": 1}', { a: { '<<': 1 } }],
    ['an anchored key', '&a x: *a', { x: 'x' }],
    ['an anchor that is set anew', 'a: &x 1\nb: &x 2\nc: *x', { a: 1, b: 2, c: 2 }],
    ['a byte order mark and carriage returns', '\ufeffa: 1\r\nb: 2\r\n', { a: 1, b: 2 }],
    ['escaped control characters', 'a: "\\0\\e"', { a: '\0\x1b' }],
    ['numbers that are none', 'a: .nan\nb: -.inf', { a: Number.NaN, b: -Infinity }],
    ['names of an object', 'constructor: 1\ntoString: 2', { constructor: 1, toString: 2 }],
  ])('reads %s', (_, text, value) => {
    expect(read(text)).toEqual(value);
  });

  it('reads __proto__ as a key like any other', () => {
    const value = read('a: {__proto__: {x: 1}}\nb: {<<: {__proto__: 2}}') as Record<string, object>;
    expect(JSON.stringify(value)).toBe('{"a":{"__proto__":{"x":1}},"b":{"__proto__":2}}');
    expect(Object.getPrototypeOf(value.a)).toBe(Object.prototype);
  });

  it.each<[string, string, RegExp]>([
    ['that contains itself', 'model: &a [*a]', /\*a stands within.*line 1/],
    ['that contains itself as a key', 'x: &a\n  y: {*a : 1}', /\*a stands within.*line 2/],
    ['that contains itself by merging', 'x: &a {<<: *a}', /stands within/],
    ['under a tag of code', 'a: !function utils.x', /Unresolved tag: !function at line 1/],
    ['under a tag of Python', '- a\n- !!python/object:os.system x', /Unresolved tag.* line 2/],
    ['of bytes', 'a: !!binary aGk=', /kind that JSON does not have/],
    ['with a list for a key', 'a: 1\n? [x]\n: 2', /key that is no plain text.*line 2/],
    ['with a key twice, as text and number', '1: a\n"1": b', /"1" stands twice.*line 2/],
    ['with a key without text twice', 'null: a\n~: b', /"" stands twice/],
    ['that merges no map', 'a: {<<: 3}', /<< is followed by no map/],
    ['with more digits than are kept', 'a: 12345678901234567890', /more digits.*line 1/],
    ['in several documents', 'a: 1\n---\nb: 2', /several documents/],
    ['with a control character', 'a: 1\nb: "\x1b[31m"', /control character.*line 2/],
    ['with a NUL character', 'a: x\0y', /control character/],
    ['with a carriage return alone', 'a: 1\rb: 2', /control character/],
    ['under an unknown directive', '%FOO bar\n---\na: 1', /directive/],
  ])('refuses a value %s', (_, text, message) => {
    const error = errorOf(() => read(text));
    expect(error.code).toBe('yaml-invalid');
    expect(error.message).toMatch(message);
  });

  it('counts the levels that aliases add', () => {
    const nested = (levels: number, inner: string) => '['.repeat(levels) + inner + ']'.repeat(levels);
    const text = (levels: number) => `- &a ${nested(150, 'x')}\n- ${nested(levels, '*a')}`;
    expect(read(text(LIMITS.nesting - 151))).toHaveLength(2);
    expect(errorOf(() => read(text(LIMITS.nesting - 150))).message).toMatch(/200 levels/);
  });

  const many = (count: number, line: (i: number) => string, separator = '\n') =>
    Array.from({ length: count }, (_, i) => line(i)).join(separator);

  // Each took from a second to hours before, or ended the process.
  it.each<[string, string]>([
    ['lists within lists', '['.repeat(500_000)],
    ['lists in block style', '- '.repeat(300_000)],
    ['maps within maps', '{a: '.repeat(200_000)],
    ['keys within keys', '? '.repeat(300_000)],
    ['anchors one after the other', `a: ${'&a '.repeat(100_000)}`],
    ['tags one after the other', `a: ${'!a '.repeat(100_000)}`],
    ['what is no YAML, over and over', 'a: b: c\n'.repeat(30_000)],
    ['many documents', '---\na: b\n'.repeat(60_000)],
    ['a text repeated', `- &a ${'x'.repeat(10_000)}\n${many(20_000, () => '- *a')}`],
  ])('refuses %s at once', (_, text) => {
    const start = processorMs();
    expect(errorOf(() => read(text)).code).toBe('yaml-invalid');
    expect(processorMs() - start).toBeLessThan(10_000);
  });

  it('takes time in proportion for many keys, anchors and aliases', { tags: 'slow' }, () => {
    const start = processorMs();
    expect(Object.keys(read(many(20_000, (i) => `k${i}: ${i}`)) as object)).toHaveLength(20_000);
    expect(read(many(20_000, (i) => `- &a${i} x\n- *a${i}`))).toHaveLength(40_000);
    expect(processorMs() - start).toBeLessThan(20_000);
  });
});
