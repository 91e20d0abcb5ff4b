/** Floating-point numbers written as Python writes them. */

/** `repr(float)`: the same digits as JavaScript's, with an exponent from 1e16 and below 1e-4. */
export function floatText(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const size = Math.abs(value);
  if (size >= 1e16 || size < 1e-4) {
    const [digits, exponent] = value.toExponential().split('e') as [string, string];
    return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** `f'{value:.{digits}f}'`: JavaScript's toFixed, but for exact ties, which it rounds away from 0 and Python to the even digit. */
export function fixed(value: number, digits: number): string {
  if (Math.abs(value) >= 1e21) return `${BigInt(value)}${digits > 0 ? `.${'0'.repeat(digits)}` : ''}`;
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const up = Math.abs(value).toFixed(digits);
  const all = Math.abs(value).toFixed(Math.min(100, digits + 60));
  const tail = all.slice(all.indexOf('.') + 1 + digits);
  if (!/^50*$/.test(tail) || digits > 40) return sign + up;
  const down = all.slice(0, all.indexOf('.') + 1 + digits).replace(/\.$/, '');
  return sign + (Number(down.at(-1)) % 2 === 0 ? down : up);
}
