/**
 * Conversions between float32 and the two 16-bit float formats.
 *
 * float16 (IEEE 754 binary16): 1 sign, 5 exponent, 10 fraction bits. bfloat16: the upper half of a float32.
 * Both directions round to nearest, ties to even, as PyTorch does.
 */

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

let table: Float32Array | undefined;

/** All 65,536 float16 values as float32 (256 KiB, made once). */
function float16Table(): Float32Array {
  if (table !== undefined) return table;
  table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >>> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0) table[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 31) table[bits] = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    else table[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return table;
}

/** The number that 16 bits of float16 stand for. */
export function float16Value(bits: number): number {
  return (table ?? float16Table())[bits]!;
}

/** float16 bits -> float32. Same length. */
export function float16ToFloat32(bits: Uint16Array, target: Float32Array): void {
  const values = float16Table();
  for (let i = 0; i < bits.length; i++) target[i] = values[bits[i]!]!;
}

/** bfloat16 bits -> float32. Same length. */
export function bfloat16ToFloat32(bits: Uint16Array, target: Float32Array): void {
  const out = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i]! << 16;
}

/** One float32 -> float16 bits. Beyond 65,520 becomes infinity. */
function toFloat16(x: number): number {
  f32[0] = x;
  const sign = (u32[0]! >>> 16) & 0x8000;
  const bits = u32[0]! & 0x7fffffff;
  if (bits >= 0x47800000) return sign | (bits > 0x7f800000 ? 0x7e00 : 0x7c00); // NaN stays NaN
  if (bits < 0x38800000) {
    // Below 2^-14: subnormal, a whole number of 2^-24. Adding and subtracting 2^52 rounds a double, ties to even.
    u32[0] = bits;
    return sign | (f32[0]! * 2 ** 24 + 2 ** 52 - 2 ** 52);
  }
  const tieToEven = (bits >>> 13) & 1;
  return sign | ((bits - 0x38000000 + 0xfff + tieToEven) >>> 13);
}

/** float32 -> float16 bits. Same length. */
export function float32ToFloat16(data: Float32Array, target: Uint16Array): void {
  for (let i = 0; i < data.length; i++) target[i] = toFloat16(data[i]!);
}

/** float32 -> bfloat16 bits. Same length. */
export function float32ToBfloat16(data: Float32Array, target: Uint16Array): void {
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i < data.length; i++) {
    const x = bits[i]!;
    const isNan = (x & 0x7fffffff) > 0x7f800000;
    // A NaN whose payload lies in the lower half would round to infinity: keep it quiet instead.
    target[i] = isNan ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
}
