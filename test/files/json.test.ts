import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../src/core/limits.js';
import { sha256, sha256File } from '../../src/files/digest.js';
import {
  findDuplicateKey,
  jsonValue,
  pythonJsonValue,
  readJson,
  readJsonObject,
  readOptionalJson,
  writeJson,
} from '../../src/files/json.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

describe('findDuplicateKey', () => {
  it.each([
    ['{"a":1,"a":2}', 'a'],
    ['{"a":{"b":1},"c":{"b":1,"d":[{"e":1,"e":2}]}}', 'e'],
    ['{"a" : 1 , "\\u0061" : 2}', 'a'],
    ['{"":1,"":2}', ''],
    ['[{"a":1},{"b":1,"b":1}]', 'b'],
    ['{"a\\"b":1,"a\\"b":2}', 'a"b'],
    ['{"x\\\\":1,"x\\\\":2}', 'x\\'],
  ])('finds it in %s', (json, key) => {
    expect(findDuplicateKey(json)).toBe(key);
  });

  it.each([
    '{}',
    '1',
    '"a"',
    '{"a":"a","b":"a"}',
    '{"a":["a","a"],"b":{"a":1}}',
    '{"a":"{\\"a\\":1,\\"a\\":2}"}',
    '[["a","a"],{"a":"a"}]',
  ])('finds none in %s', (json) => {
    expect(findDuplicateKey(json)).toBeUndefined();
  });
});

const nested = (levels: number, open = '[', close = ']') => open.repeat(levels) + close.repeat(levels);

describe('jsonValue', () => {
  it.each(['[', '{"a":'])('reads %s within itself as deep as the limit, and refuses it deeper', (open) => {
    const close = open === '[' ? ']' : '}';
    const text = (levels: number) => `${open.repeat(levels)}1${close.repeat(levels)}`;
    expect(jsonValue(text(LIMITS.nesting))).toBeTypeOf('object');
    expect(() => jsonValue(text(LIMITS.nesting + 1))).toThrow(/more than 200 levels/);
  });

  it('takes brackets in strings for text, and lists beside each other for no nesting', () => {
    const text = nested(1000).replaceAll('"', '');
    expect(jsonValue(JSON.stringify([text, `\\"${text}`]))).toEqual([text, `\\"${text}`]);
    expect(jsonValue(`[${Array(1000).fill('[]').join()}]`)).toHaveLength(1000);
  });

  it.each(['', '"', '[', '"\\', '{"a"', nested(100).slice(1)])('refuses %j', (text) => {
    expect(() => jsonValue(text)).toThrow(SyntaxError);
  });

  it('refuses equal keys where asked to, and takes the last otherwise', () => {
    const text = '{"b":{"a":1,"__proto__":2},"c":[{"a":1,"\\u0061":2}]}';
    expect(jsonValue(text)).toMatchObject({ c: [{ a: 2 }] });
    expect(() => jsonValue(text, { refuseTwice: true })).toThrow(/"a" stands twice/);
    expect(Object.keys(jsonValue('{"__proto__":1,"constructor":2}', { refuseTwice: true }) as object)).toHaveLength(2);
  });
});

describe('pythonJsonValue', () => {
  it('reads the numbers that Python writes and JSON has not, outside texts alone', () => {
    const text = '{"a":[NaN,-Infinity,Infinity],"b":"NaN, Infinity","NaN":1e400,"c":1234567890123456789}';
    const numbers = [Number.NaN, -Infinity, Infinity];
    expect(pythonJsonValue(text)).toEqual({ a: numbers, b: 'NaN, Infinity', NaN: Infinity, c: 1234567890123456800 });
    for (const bad of ['[+NaN]', '[xNaN]', '[Infinity1]', '[--Infinity]', 'NaN NaN', '[nan]']) {
      expect(() => pythonJsonValue(bad), bad).toThrow();
    }
  });

  it('has no number of a record for a text, however long, and refuses equal keys', () => {
    const text = '{"id":-1234567890123456789,"t":"1234567890123456789"}';
    const value = pythonJsonValue(text, { asRecord: true });
    expect(value).toEqual({ id: -1234567890123456800, t: '1234567890123456789' });
    expect(() => pythonJsonValue('{"a":1,"a":2}', { asRecord: true })).toThrow(/"a" stands twice/);
  });
});

describe('JSON files', () => {
  it('come back as they were written, indented', () => {
    const path = join(temporaryDir(), 'a.json');
    writeJson(path, { b: [1, 'ä'] });
    expect(readJson(path)).toEqual({ b: [1, 'ä'] });
    expect(readOptionalJson(path)).toEqual({ b: [1, 'ä'] });
    expect(readOptionalJson(`${path}.none`)).toBeUndefined();
  });

  it('are refused when too large, no UTF-8, no JSON, or no object', () => {
    const path = join(temporaryDir(), 'a.json');
    const refusal = (bytes: string | Uint8Array, max?: number) => {
      writeFileSync(path, bytes);
      return errorOf(() => readJsonObject(path, max)).code;
    };
    expect(refusal('{"a": 1}', 7)).toBe('file-unreadable');
    expect(refusal(Uint8Array.of(0x22, 0xc3, 0x22))).toBe('json-invalid');
    expect(refusal('{"a": NAN}')).toBe('json-invalid');
    expect(refusal(`{"a": ${'['.repeat(10_000)}${']'.repeat(10_000)}}`)).toBe('json-invalid');
    expect(refusal(Buffer.from('\ufeff{}', 'utf16le'))).toBe('json-invalid');
    expect(refusal('[]')).toBe('json-invalid');
    expect(refusal('')).toBe('json-invalid');
  });

  it('may start with a byte order mark', () => {
    const path = join(temporaryDir(), 'a.json');
    writeFileSync(path, '\ufeff{"a":1}');
    expect(readJson(path)).toEqual({ a: 1 });
  });
});

describe('sha256', () => {
  it('is the same of a file and of its bytes, across the reading buffer', { tags: 'slow' }, () => {
    const path = join(temporaryDir(), 'a');
    const bytes = Uint8Array.from({ length: 4 * 2 ** 20 + 1 }, (_, i) => i % 251);
    writeFileSync(path, bytes);
    expect(sha256File(path)).toBe(sha256(bytes));
    expect(sha256('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    writeFileSync(path, '');
    expect(sha256File(path)).toBe(sha256(''));
  });
});
