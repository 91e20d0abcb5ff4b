/** A curve of memory as text: a line for each point, with a bar. */

export interface Point {
  /** how many were done */
  done: number;
  /** resident memory, MiB */
  mib: number;
}

const WIDTH = 40;

export function printCurve(title: string, curve: readonly Point[]): void {
  const top = Math.max(...curve.map(({ mib }) => mib));
  console.log(`\n${title}`);
  for (const { done, mib } of curve) {
    console.log(`${String(done).padStart(6)} ${mib.toFixed(0).padStart(6)} MiB ${'#'.repeat((mib / top) * WIDTH)}`);
  }
}
