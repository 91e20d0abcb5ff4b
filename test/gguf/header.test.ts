/** GGUF files made to mislead: each check of the reader refuses its own. */

import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GgufFile } from '../../src/gguf/read.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import {
  arrayEntry,
  boolEntry,
  entry,
  f32,
  type GgufSpec,
  ggufBytes,
  ggufPath,
  stringEntry,
  text,
  u8,
  u32,
  u64,
  uintEntry,
  VALUE,
} from '../helpers/gguf.js';
import { processorMs } from '../helpers/processor.js';

function refusal(bytes: Uint8Array): { code: string; message: string } {
  const path = ggufPath(bytes, 'hostile.gguf');
  return errorOf(() => GgufFile.open(path));
}

/** A sound file of one F32 tensor of 8 numbers, but for what a case changes. */
const sound = (change: GgufSpec = {}): Buffer => {
  return ggufBytes({ tensors: [{ name: 'a', sizes: [8], offset: 0 }], data: f32(1, 2, 3, 4, 5, 6, 7, 8), ...change });
};
const two = (first: object, second: object, dataBytes = 96): Buffer => {
  const [a, b] = [
    { name: 'a', sizes: [8], offset: 0, ...first },
    { name: 'b', sizes: [8], offset: 32, ...second },
  ];
  return sound({ tensors: [a, b], data: Buffer.alloc(dataBytes) });
};
const one = (tensor: object): Buffer => sound({ tensors: [{ name: 'a', sizes: [8], offset: 0, ...tensor }] });
const meta = (...metadata: Buffer[]): Buffer => sound({ metadata });

const unsupported: Array<[string, Buffer, RegExp]> = [
  ['of version 1', sound({ version: 1 }), /GGUF version 1, expected 2 or 3/],
  ['of version 4', sound({ version: 4 }), /GGUF version 4/],
  ['of version 0', sound({ version: 0 }), /GGUF version 0/],
  ['big-endian', sound({ version: 0x03000000 }), /big-endian/],
  ['a GGJT file', sound({ magic: 'tjgg' }), /"ggjt" file, a format before GGUF/],
  ['a GGML file', sound({ magic: 'lmgg' }), /"ggml" file/],
  ['one with an array of arrays', meta(arrayEntry('a', VALUE.array, [u32(0), u64(0)], 1)), /"a" is an array of arrays/],
];

const invalid: Array<[string, Buffer, RegExp]> = [
  ['empty', Buffer.alloc(0), /0 bytes long, expected at least 24/],
  ['shorter than the fixed part', sound().subarray(0, 23), /23 bytes long/],
  ['something else', sound({ magic: 'PK\x03\x04' }), /starts with 0x04034b50, expected the letters GGUF/],
  // counts
  [
    'one that claims 2^64 - 1 entries',
    sound({ metadataCount: 2n ** 64n - 1n }),
    /18446744073709551615 metadata entries/,
  ],
  ['one that claims more entries than fit', sound({ metadataCount: 1000 }), /1000 metadata entries, but only/],
  ['one that claims 2^63 tensors', sound({ tensorCount: 2n ** 63n }), /9223372036854775808 tensors, but only/],
  ['one that claims more tensors than fit', sound({ tensorCount: 50 }), /50 tensors, but only/],
  [
    'one with 65,537 entries',
    sound({ metadataCount: 65_537, data: Buffer.alloc(2 ** 20) }),
    /65537 metadata entries, expected at most 65536/,
  ],
  [
    'one with 131,073 tensors',
    sound({ tensorCount: 131_073, data: Buffer.alloc(4 * 2 ** 20) }),
    /131073 tensors, expected at most 131072/,
  ],
  // metadata
  ['one with an empty key', meta(uintEntry('', 1)), /entry 0 has an empty key/],
  ['one with a key given twice', meta(uintEntry('k', 1), boolEntry('k', true)), /key "k" occurs twice/],
  [
    'one with a key longer than the file',
    meta(entry(text('k', 2n ** 40n), 4, u32(1))),
    /bytes in key of metadata entry 0/,
  ],
  [
    'one with a key of 65,536 bytes',
    meta(uintEntry('k'.repeat(65_536), 1)),
    /65536 bytes in key of metadata entry 0, expected at most 65535/,
  ],
  ['one with a key that is no UTF-8', meta(entry(text(Buffer.of(0xc3, 0x28)), 4, u32(1))), /key .* is not UTF-8/],
  ['one with a text that is no UTF-8', meta(entry('k', VALUE.string, text(Buffer.of(0xff)))), /"k" is not UTF-8/],
  ['one with value type 13', meta(entry('k', 13, u32(1))), /"k" has value type 13, expected 0 to 12/],
  ['one with value type 2^32 - 1', meta(entry('k', 0xffffffff, u32(1))), /value type 4294967295/],
  ['one with element type 13', meta(arrayEntry('k', 13, [])), /elements of metadata "k" has value type 13/],
  ['one with a truth value of 2', meta(entry('k', VALUE.bool, u8(2))), /truth value 2, expected 0 or 1/],
  [
    'one with a text of 2^64 - 1 bytes',
    meta(entry('k', VALUE.string, text('x', 2n ** 64n - 1n))),
    /bytes in metadata "k"/,
  ],
  [
    'one with a text of 16 MiB and a byte',
    meta(entry('k', VALUE.string, text(Buffer.alloc(2 ** 24 + 1, 'a')))),
    /16777217 bytes in metadata "k", expected at most 16777216/,
  ],
  ['one with an array longer than the file', meta(arrayEntry('k', VALUE.uint8, [], 10_000)), /10000 elements/],
  [
    'one with an array of 2^64 - 1 texts',
    meta(arrayEntry('k', VALUE.string, [], 2n ** 64n - 1n)),
    /elements of metadata "k"/,
  ],
  [
    'one with arrays of 2^23 + 1 elements in all',
    meta(
      arrayEntry('k', VALUE.uint8, [Buffer.alloc(2 ** 22)], 2 ** 22),
      arrayEntry('l', VALUE.uint8, [Buffer.alloc(2 ** 22 + 1)], 2 ** 22 + 1),
    ),
    /4194305 elements of metadata "l", expected at most 4194304/,
  ],
  // alignment
  ['one with alignment 0', meta(uintEntry('general.alignment', 0)), /alignment is 0, expected a power of two/],
  ['one with alignment 4', meta(uintEntry('general.alignment', 4)), /alignment is 4/],
  ['one with alignment 48', meta(uintEntry('general.alignment', 48)), /alignment is 48/],
  ['one with alignment 2^32 - 1', meta(uintEntry('general.alignment', 2 ** 32 - 1)), /alignment is 4294967295/],
  ['one with an alignment as text', meta(stringEntry('general.alignment', '32')), /is string, expected uint32/],
  // tensors
  [
    'one with a tensor name longer than the file',
    one({ name: Buffer.alloc(0) }).fill(0xff, 24, 32),
    /name of tensor 0/,
  ],
  [
    'one with a tensor name of 65 bytes',
    one({ name: 'n'.repeat(65) }),
    /65 bytes in name of tensor 0, expected at most 64/,
  ],
  ['one with a tensor given twice', two({}, { name: 'a' }), /tensor "a" occurs twice/],
  ['one with five dimensions', one({ sizes: [1, 1, 1, 1, 8] }), /5 dimensions, expected at most 4/],
  ['one with 2^32 - 1 dimensions', one({ sizes: [] }).fill(0xff, 33, 37), /4294967295 dimensions/],
  ['one with a size of 0', one({ sizes: [8, 0] }), /a size of 0 in \[8,0\]/],
  ['one whose element count overflows', one({ sizes: [2n ** 62n, 8n] }), /elements, too many to count/],
  ['one whose element count overflows to 0', one({ sizes: [2n ** 32n, 2n ** 32n] }), /18446744073709551616 elements/],
  ['one of an unknown type', one({ type: 99 }), /type 99, which is unknown/],
  ['one of a type that was removed (Q4_2)', one({ type: 4 }), /type 4, which is unknown/],
  [
    'one with a part of a block',
    one({ sizes: [48], type: 8 }),
    /rows of 48 elements, expected a multiple of 32 for Q8_0/,
  ],
  ['one with whole blocks but parts in a row', one({ sizes: [16, 2], type: 8 }), /rows of 16 elements/],
  ['one with a part of a super-block', one({ sizes: [32], type: 12 }), /multiple of 256 for Q4_K/],
  ['one at an offset that is not aligned', one({ offset: 4 }), /starts at 4, expected a multiple of the alignment 32/],
  ['one at an offset of 2^64 - 32', one({ offset: 2n ** 64n - 32n }), /beyond any file/],
  ['one whose end overflows', one({ offset: 2n ** 53n - 32n }), /beyond any file/],
  ['one with a tensor beyond the data', one({ offset: 32 }), /"a" ends at byte 64 of a data section of 32: cut short/],
  ['one with two tensors on the same bytes', two({}, { offset: 0 }), /tensors "a" and "b" overlap/],
  ['one with tensors that overlap', two({ sizes: [9] }, {}), /tensors "a" and "b" overlap/],
  ['one with data cut short by a byte', sound().subarray(0, -1), /cut short/],
  ['one with no data', sound({ data: Buffer.alloc(0) }), /"a" ends at byte 32 of a data section of 0/],
];

describe('a GGUF file that crayon does not read', () => {
  it.each(unsupported)('%s is refused by name', (_name, bytes, message) => {
    const error = refusal(bytes);
    expect(error.code).toBe('gguf-unsupported');
    expect(error.message).toMatch(message);
    expect(error.message).toContain('hostile.gguf');
  });
});

describe('a GGUF file is refused when it is', () => {
  it.each(invalid)('%s', (_name, bytes, message) => {
    const error = refusal(bytes);
    expect(error.code).toBe('gguf-invalid');
    expect(error.message).toMatch(message);
    expect(error.message).toContain('hostile.gguf');
  });

  it('cut anywhere in its header', { tags: 'slow' }, () => {
    const whole = sound({
      metadata: [stringEntry('general.architecture', 'llama'), arrayEntry('k', 5, [u32(1), u32(2)])],
    });
    const headerEnd = whole.length - 32;
    for (let length = 0; length < headerEnd; length++) {
      const error = refusal(whole.subarray(0, length));
      expect(error.code, `cut at ${length}`).toBe('gguf-invalid');
    }
  });

  it('changed in any one byte: it opens or is refused, and nothing else', { tags: 'slow' }, () => {
    const whole = sound({
      metadata: [stringEntry('general.architecture', 'llama'), uintEntry('general.alignment', 32)],
    });
    for (let at = 0; at < whole.length - 32; at++) {
      for (const value of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
        const bytes = Buffer.from(whole);
        bytes[at] = value;
        const path = ggufPath(bytes);
        try {
          GgufFile.open(path).close();
        } catch (error) {
          expect((error as { code: string }).code, `byte ${at} = ${value}`).toMatch(/^gguf-(invalid|unsupported)$/);
        }
      }
    }
  });

  it('bad in many tensors: all are named, and the message stays short', () => {
    const names = Array.from({ length: 500 }, (_, i) => `${'t'.repeat(50)}${i}`);
    const { message } = refusal(sound({ tensors: names.map((name) => ({ name, sizes: [8], type: 77, offset: 0 })) }));
    expect(message).toContain(`"${names[1]}"`);
    expect(message.length).toBeLessThan(1200);
    expect(refusal(two({ type: 77 }, { offset: 1 })).message).toMatch(/tensor "a" has type 77.*tensor "b" starts at 1/);
  });
});

describe('a huge file', () => {
  /** A file of 5 GB that takes no room on the disk: `head`, then zeros. */
  function sparse(head: Buffer): string {
    const path = join(temporaryDir(), 'sparse.gguf');
    const fd = openSync(path, 'w');
    writeSync(fd, head);
    ftruncateSync(fd, 5e9);
    closeSync(fd);
    return path;
  }

  it('opens in the time and memory of its header', () => {
    const tensors = [
      { name: 'big', sizes: [1_000_000_000], offset: 0 },
      { name: 'end', sizes: [8], offset: 4_000_000_000 },
    ];
    const path = sparse(ggufBytes({ metadata: [stringEntry('general.architecture', 'llama')], tensors }));
    const before = process.memoryUsage().arrayBuffers;
    const start = processorMs();
    const file = GgufFile.open(path);
    expect(processorMs() - start).toBeLessThan(5000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 2 ** 20);
    expect(file.readF32('end')).toEqual(new Float32Array(8));
    file.close();
  });

  it.each([
    ['a text of 4 GB', [entry('k', VALUE.string, u64(4e9))], /4000000000 bytes in metadata "k", expected at most/],
    ['an array of 4 GB', [entry('k', VALUE.array, Buffer.concat([u32(0), u64(4e9)]))], /4000000000 elements/],
    ['an array of texts of 4 GB', [entry('k', VALUE.array, Buffer.concat([u32(8), u64(5e8)]))], /500000000 elements/],
  ])('that claims %s is refused before anything is allocated', (_name, metadata, message) => {
    const start = processorMs();
    const error = errorOf(() => GgufFile.open(sparse(ggufBytes({ metadata }))));
    expect(processorMs() - start).toBeLessThan(5000);
    expect(error.code).toBe('gguf-invalid');
    expect(error.message).toMatch(message);
  });

  it('with a header of 160 MB is refused after 128 MiB of it', { tags: 'slow' }, () => {
    const texts = Array.from({ length: 10 }, (_, i) => Buffer.concat([text(`k${i}`), u32(VALUE.string), u64(2 ** 24)]));
    const path = sparse(ggufBytes({ metadataCount: texts.length }));
    const fd = openSync(path, 'r+');
    let at = 24;
    for (const bytes of texts) {
      writeSync(fd, bytes, 0, bytes.length, at);
      at += bytes.length + 2 ** 24;
    }
    closeSync(fd);
    expect(errorOf(() => GgufFile.open(path)).message).toMatch(/header is longer than 134217728 bytes/);
  });

  it('of empty entries or nameless tensors is refused at the first of them', () => {
    expect(errorOf(() => GgufFile.open(sparse(ggufBytes({ metadataCount: 60_000 })))).message).toMatch(/empty key/);
    expect(errorOf(() => GgufFile.open(sparse(ggufBytes({ tensorCount: 100_000 })))).message).toMatch(/occurs twice/);
  });
});

describe('a path that is no file', () => {
  it('is named with what it is', () => {
    expect(errorOf(() => GgufFile.open(join(temporaryDir(), 'missing.gguf'))).code).toBe('file-not-found');
    expect(errorOf(() => GgufFile.open(temporaryDir())).code).toBe('file-unreadable');
  });
});
