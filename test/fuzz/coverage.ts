/**
 * Which of crayon's code has run, by V8's own block coverage: mutants that reach something new are kept to breed from. The
 * engine counts anyway once asked, so this costs a look of some 2 ms, taken once for several mutants, and no package.
 */

import { Session } from 'node:inspector';

interface Range {
  startOffset: number;
  endOffset: number;
  count: number;
}
interface Taken {
  result: Array<{ url: string; functions: Array<{ ranges: Range[] }> }>;
}

export class Coverage {
  readonly #session = new Session();
  /** characters that have run, by script */
  readonly #seen = new Map<string, Uint8Array>();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: false, detailed: true });
    this.hasGrown();
  }

  /** Whether code of src/ has run since the last call that never ran before. */
  hasGrown(): boolean {
    let taken: Taken | undefined;
    this.#session.post('Profiler.takePreciseCoverage', (error, found) => {
      if (error === null) taken = found as Taken;
    });
    let grown = false;
    for (const { url, functions } of taken?.result ?? []) {
      if (!url.includes('/src/') || url.includes('/node_modules/')) continue;
      for (const { ranges } of functions) if (this.#paint(url, ranges)) grown = true;
    }
    return grown;
  }

  /** The first range is the function, those after it are blocks within; a count of 0 has not run. */
  #paint(url: string, ranges: readonly Range[]): boolean {
    const [whole] = ranges;
    if (whole === undefined || whole.count === 0) return false;
    const { startOffset: start, endOffset: end } = whole;
    const ran = new Uint8Array(end - start);
    for (const { startOffset, endOffset, count } of ranges)
      ran.fill(count > 0 ? 1 : 0, startOffset - start, endOffset - start);
    let seen = this.#seen.get(url) ?? new Uint8Array(2 ** 14);
    if (seen.length < end) {
      const longer = new Uint8Array(2 * end);
      longer.set(seen);
      seen = longer;
    }
    this.#seen.set(url, seen);
    let grown = false;
    for (let i = 0; i < ran.length; i++) {
      if (ran[i] === 0 || seen[start + i] === 1) continue;
      seen[start + i] = 1;
      grown = true;
    }
    return grown;
  }

  close(): void {
    this.#session.disconnect();
  }
}
