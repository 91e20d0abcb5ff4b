/** Files made to mislead: each check of the reader refuses its own. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { errorOf, safetensorsBytes, temporaryDir } from '../helpers/files.js';

function refusal(bytes: Uint8Array): { code: string; message: string } {
  const path = join(temporaryDir(), 'hostile.safetensors');
  writeFileSync(path, bytes);
  return errorOf(() => SafetensorsFile.open(path));
}

const tensor = (shape: unknown, offsets: unknown, dtype: unknown = 'F32') => ({ dtype, shape, data_offsets: offsets });
const sound = tensor([2], [0, 8]);

const cases: Array<[string, Uint8Array, RegExp]> = [
  ['an empty file', Buffer.alloc(0), /0 bytes long/],
  ['a file shorter than the length field', Buffer.alloc(7), /7 bytes long/],
  ['a header length beyond 100 MB', safetensorsBytes('{}', 0, 100_000_001n), /at most 100000000/],
  ['a header length of 2^63', safetensorsBytes('{}', 0, 2n ** 63n), /at most 100000000/],
  ['a header length of 2^64 - 1', safetensorsBytes('{}', 0, 2n ** 64n - 1n), /at most 100000000/],
  ['a header longer than the file', safetensorsBytes('{}', 0, 3n), /in a file of 10 bytes/],
  ['an empty header', safetensorsBytes(''), /does not start with "\{"/],
  ['a header that starts with a space', safetensorsBytes(' {}'), /does not start with "\{"/],
  ['a header that is a list', safetensorsBytes('[]'), /does not start with "\{"/],
  ['a header that is no JSON', safetensorsBytes('{"a":'), /not valid JSON/],
  ['text after the header object', safetensorsBytes('{}x'), /not valid JSON/],
  ['bytes that are no UTF-8', safetensorsBytes(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), /UTF-8/],
  [
    '100,000 nested lists',
    safetensorsBytes(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
    /nested more than 200 levels/,
  ],
  [
    'a tensor given twice',
    safetensorsBytes(`{"a":${JSON.stringify(sound)},"a":${JSON.stringify(sound)}}`, 8),
    /"a" occurs twice/,
  ],
  [
    'a tensor given twice, once escaped',
    safetensorsBytes(`{"a":${JSON.stringify(sound)},"\\u0061":${JSON.stringify(sound)}}`, 8),
    /"a" occurs twice/,
  ],
  [
    'a shape given twice',
    safetensorsBytes('{"a":{"dtype":"F32","shape":[2],"shape":[1],"data_offsets":[0,4]}}', 4),
    /"shape" occurs twice/,
  ],
  ['metadata that is no object', safetensorsBytes({ __metadata__: 'pt' }), /__metadata__ is not an object/],
  ['metadata of numbers', safetensorsBytes({ __metadata__: { a: 1 } }), /value of "a" is not a string/],
  ['a tensor that is no object', safetensorsBytes({ a: 1 }), /expected an object/],
  ['an unknown dtype', safetensorsBytes({ a: tensor([2], [0, 8], 'F128') }, 8), /dtype "F128"/],
  ['a dtype in lower case', safetensorsBytes({ a: tensor([2], [0, 8], 'f32') }, 8), /dtype "f32"/],
  ['no dtype', safetensorsBytes({ a: { shape: [2], data_offsets: [0, 8] } }, 8), /dtype missing/],
  ['no shape', safetensorsBytes({ a: { dtype: 'F32', data_offsets: [0, 8] } }, 8), /shape missing/],
  ['a negative size', safetensorsBytes({ a: tensor([-2], [0, 8]) }, 8), /shape \[-2\]/],
  ['a fractional size', safetensorsBytes({ a: tensor([2.5], [0, 10]) }, 10), /shape \[2.5\]/],
  ['a size as text', safetensorsBytes({ a: tensor(['2'], [0, 8]) }, 8), /shape \["2"\]/],
  [
    'a size beyond 2^53',
    safetensorsBytes('{"a":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,8]}}', 8),
    /shape/,
  ],
  ['a shape whose product overflows', safetensorsBytes({ a: tensor([2 ** 32, 2 ** 32], [0, 0]) }), /overflows/],
  ['an overflow hidden by a size of 0', safetensorsBytes({ a: tensor([2 ** 32, 2 ** 32, 0], [0, 0]) }), /overflows/],
  ['a byte size that overflows', safetensorsBytes({ a: tensor([2 ** 52], [0, 8], 'F64') }, 8), /overflows/],
  ['one offset', safetensorsBytes({ a: tensor([2], [0]) }, 8), /data_offsets \[0\]/],
  ['negative offsets', safetensorsBytes({ a: tensor([2], [-8, 0]) }, 8), /data_offsets \[-8,0\]/],
  ['offsets in the wrong order', safetensorsBytes({ a: tensor([0], [8, 0]) }, 8), /end before they start/],
  ['fewer bytes than the shape says', safetensorsBytes({ a: tensor([2], [0, 4]) }, 4), /hold 4 bytes, expected 8/],
  ['more bytes than the shape says', safetensorsBytes({ a: tensor([2], [0, 12]) }, 12), /hold 12 bytes, expected 8/],
  ['a hole at the start', safetensorsBytes({ a: tensor([2], [4, 12]) }, 12), /leaving a hole from 0/],
  ['a hole between two tensors', safetensorsBytes({ a: sound, b: tensor([1], [12, 16]) }, 16), /leaving a hole from 8/],
  ['two tensors on the same bytes', safetensorsBytes({ a: sound, b: sound }, 8), /overlapping/],
  ['two tensors that overlap', safetensorsBytes({ a: sound, b: tensor([2], [4, 12]) }, 12), /overlapping/],
  ['data cut short', safetensorsBytes({ a: sound }, 7), /cut short/],
  ['a file cut at the header', safetensorsBytes({ a: sound }), /cut short/],
  ['bytes after the last tensor', safetensorsBytes({ a: sound }, 9), /trailing bytes/],
  ['data without tensors', safetensorsBytes('{}', 1), /trailing bytes/],
];

describe('a safetensors file is refused when it is', () => {
  it.each(cases)('%s', (_name, bytes, message) => {
    const error = refusal(bytes);
    expect(error.code).toBe('safetensors-invalid');
    expect(error.message).toMatch(message);
    expect(error.message).toContain('hostile.safetensors');
  });
});

describe('a bad header', () => {
  it('has all its bad tensors named at once', () => {
    const { message } = refusal(
      safetensorsBytes({ a: tensor([2], [0, 4]), b: tensor([1], [4, 8], 'X'), c: tensor([1], [8, 12]) }, 12),
    );
    expect(message).toMatch(/tensor "a".*tensor "b"/);
    expect(message).not.toContain('tensor "c"');
  });

  it('has its message kept short when thousands of tensors are bad', () => {
    const header = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`t${i}`, 'x'.repeat(100)]));
    expect(refusal(safetensorsBytes(header)).message.length).toBeLessThan(2000);
  });
});

describe('names of tensors', () => {
  it('may be those of JavaScript object members', () => {
    const path = join(temporaryDir(), 'proto.safetensors');
    writeFileSync(
      path,
      safetensorsBytes(
        '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"toString":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        2,
      ),
    );
    const file = SafetensorsFile.open(path);
    expect([...file.tensors.keys()]).toEqual(['__proto__', 'toString']);
    expect(errorOf(() => file.info('valueOf')).code).toBe('safetensors-invalid');
    file.close();
  });
});

describe('a path that is no file', () => {
  it('is named with what it is', () => {
    const dir = temporaryDir();
    mkdirSync(join(dir, 'folder'));
    expect(errorOf(() => SafetensorsFile.open(join(dir, 'missing'))).code).toBe('file-not-found');
    expect(errorOf(() => SafetensorsFile.open(join(dir, 'folder'))).code).toBe('file-unreadable');
  });

  it.skipIf(process.platform === 'win32')('does not make the program wait when it is a named pipe', () => {
    const pipe = join(temporaryDir(), 'pipe');
    execFileSync('mkfifo', [pipe]);
    expect(errorOf(() => SafetensorsFile.open(pipe)).code).toBe('file-unreadable');
  });
});
