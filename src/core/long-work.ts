/** Long work: how far it has come, and how it shares the process with timers, signals and other threads. */

import { createRequire } from 'node:module';
import { setImmediate as eventLoopTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export interface Progress<Stage extends string = string> {
  /** what is under way; a new stage ends the one before */
  stage: Stage;
  /** of `total` units */
  done: number;
  total: number;
  /** for example the training loss */
  note?: string | undefined;
}

/**
 * Lets what waits have its turn: Ctrl-C, a progress display. Promises alone do not: the wasm and cpu back ends answer at
 * once, so a loop of awaits on them never gets as far as the next signal.
 */
export { eventLoopTurn };

/** To be awaited between the steps of long work on a server's event loop: others have their turn as soon as `ms` have gone by. */
export function breather(ms = 5): () => Promise<void> {
  let since = performance.now();
  return async () => {
    if (performance.now() - since < ms) return;
    await eventLoopTurn();
    since = performance.now();
  };
}

/**
 * The first two arguments of a `Worker`: the compiled file beside the module that starts it. From source (tests, tsx) it is
 * TypeScript, which tsx's `require` hook translates within the thread; its `import` hooks would need the main thread's event
 * loop, which may be waiting for the thread.
 *
 * @param beside `import.meta.url` of the module
 * @param name of the file, without its ending
 */
export function threadScript(
  beside: string,
  name: string,
): [script: string | URL, options: { eval: boolean; execArgv: string[] }] {
  const source = sourceScript(beside, name);
  const options = { eval: source !== null, execArgv: [] };
  return [source ?? new URL(`./${name}.js`, beside), options];
}

/** Likewise the arguments of `node` for a process of its own. */
export function childScript(beside: string, name: string): string[] {
  const source = sourceScript(beside, name);
  return source === null ? [fileURLToPath(new URL(`./${name}.js`, beside))] : ['-e', source];
}

function sourceScript(beside: string, name: string): string | null {
  if (!beside.endsWith('.ts')) return null;
  const loader = createRequire(beside).resolve('tsx/cjs');
  const source = fileURLToPath(new URL(`./${name}.ts`, beside));
  return `require(${JSON.stringify(loader)}); require(${JSON.stringify(source)});`;
}

/** The promise's result, or `late` where it takes longer. */
export async function orLate<T>(promise: Promise<T>, ms: number): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(resolve, ms, 'late');
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
