/**
 * What a user should be told although the work goes on: said from any depth, heard by whoever runs the work. The command line
 * prints it; where nobody listens, in a program that uses the library, it is a warning of Node's.
 */

import { AsyncLocalStorage } from 'node:async_hooks';

type Listener = (text: string) => void;

const listeners = new AsyncLocalStorage<Listener>();

/** One sentence that names the value, what follows of it, and the remedy. */
export function warn(text: string): void {
  const listener = listeners.getStore();
  if (listener !== undefined) listener(text);
  else process.emitWarning(text, 'CrayonWarning');
}

/** Runs work whose warnings go to `listener`, each once however often a file is opened. */
export function hearingWarnings<T>(listener: Listener, work: () => T): T {
  const heard = new Set<string>();
  return listeners.run((text) => {
    if (!heard.has(text)) listener(text);
    heard.add(text);
  }, work);
}
