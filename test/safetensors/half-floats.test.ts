import { describe, expect, it } from 'vitest';
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from '../../src/safetensors/half-floats.js';

const allBits = Uint16Array.from({ length: 65536 }, (_, i) => i);

function toF16(...values: number[]): number[] {
  const bits = new Uint16Array(values.length);
  float32ToFloat16(Float32Array.from(values), bits);
  return [...bits];
}

function toBf16(...values: number[]): number[] {
  const bits = new Uint16Array(values.length);
  float32ToBfloat16(Float32Array.from(values), bits);
  return [...bits];
}

describe('float16', () => {
  it('comes back from float32 with the same bits, for every value but NaN', () => {
    const values = new Float32Array(65536);
    float16ToFloat32(allBits, values);
    const bits = new Uint16Array(65536);
    float32ToFloat16(values, bits);
    const differing = allBits.filter((b, i) => bits[i] !== b && !Number.isNaN(values[i]!));
    expect([...differing]).toEqual([]);
  });

  it('keeps NaN a NaN', () => {
    const [bits] = toF16(Number.NaN);
    expect(bits! & 0x7fff).toBeGreaterThan(0x7c00);
  });

  it('rounds to nearest and ties to even', () => {
    // 1 + 2^-11 lies between 1 and 1 + 2^-10: the even one is 1; just above it, the upper one.
    expect(toF16(1 + 2 ** -11, 1 + 2 ** -11 + 2 ** -20, 1 + 3 * 2 ** -11)).toEqual([0x3c00, 0x3c01, 0x3c02]);
    // half of the smallest subnormal is a tie with zero; three halves a tie with two
    expect(toF16(2 ** -25, 2 ** -25 * 1.001, 3 * 2 ** -25)).toEqual([0, 1, 2]);
    // the largest subnormal rounds up into the smallest normal
    expect(toF16(2 ** -14 - 2 ** -26)).toEqual([0x0400]);
  });

  it('becomes infinite from 65520 on, and not before', () => {
    expect(toF16(65504, 65519.99, 65520, -65520, Number.POSITIVE_INFINITY)).toEqual([
      0x7bff, 0x7bff, 0x7c00, 0xfc00, 0x7c00,
    ]);
  });
});

describe('bfloat16', () => {
  it('comes back from float32 with the same bits, for every value but NaN', () => {
    const values = new Float32Array(65536);
    bfloat16ToFloat32(allBits, values);
    const bits = new Uint16Array(65536);
    float32ToBfloat16(values, bits);
    const differing = allBits.filter((b, i) => bits[i] !== b && !Number.isNaN(values[i]!));
    expect([...differing]).toEqual([]);
  });

  it('rounds to nearest, ties to even, and keeps NaN and infinity', () => {
    expect(toBf16(1 + 2 ** -8, 1 + 3 * 2 ** -8, -1 - 2 ** -8 - 2 ** -20)).toEqual([0x3f80, 0x3f82, 0xbf81]);
    const [nan, infinity, large] = toBf16(Number.NaN, Number.POSITIVE_INFINITY, 3.4028234663852886e38);
    expect(nan! & 0x7fff).toBeGreaterThan(0x7f80);
    expect([infinity, large]).toEqual([0x7f80, 0x7f80]);
  });

  it('keeps a NaN whose payload lies in the lower half', () => {
    const data = new Float32Array(new Uint32Array([0x7f800001]).buffer);
    const bits = new Uint16Array(1);
    float32ToBfloat16(data, bits);
    expect(bits[0]! & 0x7fff).toBeGreaterThan(0x7f80);
  });
});
