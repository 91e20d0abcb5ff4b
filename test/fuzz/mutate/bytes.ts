/** Mutations of bytes whose format is not understood, or is to be broken. */

import type { Random } from '../../../src/core/random.js';
import { pick } from './odd.js';

/** One change: a flip, a cut, an insertion, a copy, a number overwritten. */
export function mutateBytes(bytes: Buffer, random: Random): Buffer {
  const at = random.int(bytes.length + 1);
  const length = Math.min(bytes.length - at, 1 + random.int(pick(random, [1, 8, 64, 1024])));
  const part = bytes.subarray(at, at + length);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at + length)];
  switch (random.int(9)) {
    case 0:
      return Buffer.concat([before, Buffer.from(part.map((x) => x ^ (1 << random.int(8)))), after]);
    case 1:
      return Buffer.concat([before, Buffer.alloc(length, pick(random, [0, 0xff, 0x80, 0x20, 0x7f])), after]);
    case 2:
      return Buffer.concat([before, after]);
    case 3:
      return before; // cut short
    case 4:
      return Buffer.concat([before, part, part, after]);
    case 5:
      return Buffer.concat([before, Buffer.from(Array.from({ length }, () => random.int(256))), bytes.subarray(at)]);
    case 6: {
      const from = random.int(bytes.length + 1); // a piece from elsewhere
      return Buffer.concat([before, bytes.subarray(from, from + length), after]);
    }
    case 7: {
      const copy = Buffer.from(bytes);
      const value = pick(random, [0n, 1n, 0x7fffffffn, 0xffffffffn, 2n ** 53n, 2n ** 63n - 1n, 2n ** 64n - 1n]);
      if (copy.length >= 8) copy.writeBigUInt64LE(value, Math.min(at, copy.length - 8));
      return copy;
    }
    default:
      return pick(random, [
        Buffer.alloc(0),
        Buffer.concat([bytes, bytes]),
        Buffer.from([0xef, 0xbb, 0xbf, ...bytes.subarray(0, 65536)]),
      ]);
  }
}
