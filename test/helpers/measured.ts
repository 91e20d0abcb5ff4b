/** What a parity test measured, printed with MEASURED=1: the numbers of docs/families.md. */

export function measured(what: string, name: string, difference: number): number {
  if (process.env.MEASURED === '1') console.log(`measured ${what} ${name} ${difference.toExponential(1)}`);
  return difference;
}
