import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sha256, sha256File } from '../../src/files/digest.js';
import { findDuplicateKey, readJson, readJsonObject, readOptionalJson, writeJson } from '../../src/files/json.js';
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
    expect(refusal('{"a": NaN}')).toBe('json-invalid');
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
