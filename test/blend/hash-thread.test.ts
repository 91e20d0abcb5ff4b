// npx vitest run test/blend/hash-thread.test.ts
import { describe, expect, it } from 'vitest';
import { blendAdapters } from '../../src/blend/blend.js';
import { HashThread } from '../../src/blend/hash-thread.js';
import { CrayonError } from '../../src/core/errors.js';
import { sha256 } from '../../src/files/digest.js';
import { exists } from '../../src/files/io.js';
import { virtualAdapter } from './helpers.js';

describe('HashThread', () => {
  const head = Uint8Array.of(1, 2, 3);
  /** Hashes buffers of these lengths, filled with their number, one value set to something else. */
  const run = (lengths: number[], poison?: { buffer: number; at: number; value: number }) => {
    const hash = new HashThread(head, Math.max(...lengths));
    const all: Uint8Array[] = [head];
    for (const [i, length] of lengths.entries()) {
      const buffer = hash.buffer(length).fill(i);
      if (poison?.buffer === i) buffer[poison.at] = poison.value;
      all.push(Uint8Array.from(new Uint8Array(buffer.buffer, 0, length * 4)));
      hash.update(buffer);
    }
    const result = hash.finish();
    hash.close();
    return { ...result, expected: sha256(Buffer.concat(all)) };
  };

  it('gives the digest of the head and of all buffers, more than there are places for', () => {
    const { digest, firstBad, expected } = run([1, 5, 100, 0, 7, 8, 9, 1000, 3, 2, 1, 77]);
    expect(digest).toBe(expected);
    expect(firstBad).toBe(-1);
  });

  it.each([
    [0, Number.NaN, 9],
    [3, Number.POSITIVE_INFINITY, 0],
    [9, Number.NEGATIVE_INFINITY, 4],
  ])('says that buffer %i has %f, wherever it stands', (buffer, value, at) => {
    const { digest, firstBad, expected } = run(Array(10).fill(10), { buffer, at, value });
    expect(firstBad).toBe(buffer);
    expect(digest).toBe(expected);
  });
});

describe('a blend that is hashed on a thread', () => {
  it.each(['A', 'B'] as const)('refuses NaN in lora_%s, names the tensor and leaves nothing', (side) => {
    const modules = Array.from({ length: 24 }, (_, i) => ({ name: `layers.${i}.proj`, in: 640, out: 640 }));
    const adapters = [1, 2].map((seed) => virtualAdapter(seed, modules, 160));
    const bad = adapters[1]!;
    const read = side === 'A' ? 'readAInto' : 'readBInto';
    const fill = bad[read];
    bad[read] = (module, target) => {
      fill(module, target);
      if (module.name === 'layers.7.proj') target[1234] = Number.NaN;
    };
    bad.validate = () => {
      throw new CrayonError('tensor-not-finite', `NaN in layers.7.proj.lora_${side}`);
    };
    const out = 'no-such-output';
    const blend = () =>
      blendAdapters({ adapters, coefficients: [0.5, 0.5], combine: 'cat', out, baseModel: 'b', threads: 2 });
    expect(blend).toThrow(
      expect.objectContaining({ code: 'tensor-not-finite', message: `NaN in layers.7.proj.lora_${side}` }),
    );
    expect(exists(out)).toBe(false);
  });
});
