import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readYaml } from '../../src/files/yaml.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { processorMs } from '../helpers/processor.js';

function read(text: string | Uint8Array) {
  const path = join(temporaryDir(), 'a.yaml');
  writeFileSync(path, text);
  return readYaml(path);
}

const YAML = `# a remark

server:
  # another
  port: 80
  hosts:
    - one
    - name: two
      key: x
flow: { a: 1,
  b: [2,
    3] }
base: &base
  depth: 1
same: *base
7: seven
empty:
`;

describe('readYaml', () => {
  it('reads values, and the bytes they were read from', () => {
    const { value, bytes } = read(YAML);
    expect(value).toMatchObject({
      server: { port: 80, hosts: ['one', { name: 'two', key: 'x' }] },
      same: { depth: 1 },
    });
    expect(Buffer.from(bytes).toString()).toBe(YAML);
    expect(read('').value).toBeNull();
  });

  it.each<[Array<string | number>, number | undefined]>([
    [['server'], 3],
    [['server', 'port'], 5],
    [['server', 'hosts'], 6],
    [['server', 'hosts', 0], 7],
    [['server', 'hosts', 1], 8],
    [['server', 'hosts', 1, 'key'], 9],
    [['flow', 'a'], 10],
    [['flow', 'b'], 11],
    [['flow', 'b', 1], 12],
    [['same'], 15],
    [['same', 'depth'], 14], // where it is written
    [['7'], 16],
    [['empty'], 17],
    // what is missing: the line of what it should stand in
    [['server', 'model'], 3],
    [['server', 'hosts', 5], 6],
    [['empty', 'deep', 'down'], 17],
    [['model'], undefined],
    [[], 3],
  ])('knows the line of %j', (path, line) => {
    expect(read(YAML).lineOf(path)).toBe(line);
  });

  it('knows no lines in an empty file', () => {
    expect([read('').lineOf([]), read('').lineOf(['a'])]).toEqual([undefined, undefined]);
  });

  it.each<[string, string | Uint8Array, RegExp]>([
    ['no YAML', 'a: [1', /line 1/],
    ['two equal keys', 'a: 1\nb: 2\na: 3\n', /unique.*line 3/],
    ['aliases that grow beyond measure', bomb(), /alias/i],
    ['an alias of nothing', 'a: *b\n', /alias/i],
    ['bytes that are no UTF-8', Uint8Array.of(0x61, 0x3a, 0x20, 0xff), /UTF-8/],
  ])('refuses %s', (_, text, expected) => {
    const { code, message } = errorOf(() => read(text));
    expect(code).toBe('yaml-invalid');
    expect(message).toMatch(expected);
  });

  it('refuses a file that is too large, and one that is not there', () => {
    expect(errorOf(() => read(`a: ${'x'.repeat(2 ** 20)}`)).message).toMatch(/1048576|MiB/);
    expect(errorOf(() => readYaml(join(temporaryDir(), 'no.yaml'))).code).toBe('file-not-found');
  });
});

/** "A billion laughs": nine lists, each of ten of the one before. */
function bomb(): string {
  const line = (i: number) => `a${i}: &a${i} [${Array.from({ length: 10 }, () => `*a${i - 1}`).join(', ')}]`;
  return ['a0: &a0 [x]', ...Array.from({ length: 9 }, (_, i) => line(i + 1))].join('\n');
}

it('names the first fault of thousands, in time that grows with the file alone', () => {
  const start = processorMs();
  const error = errorOf(() => read(`a: 1\nb: ${'"'.repeat(150_000)}`));
  expect(error.code).toBe('yaml-invalid');
  expect(error.message).toMatch(/Unexpected .* at line 2, column 6$/);
  expect(processorMs() - start).toBeLessThan(10_000); // 30 s where every fault looks through its line
});
