/** Keeps what a native library writes to stderr while it loads off the user's terminal. */

import { closeSync, openSync } from 'node:fs';

/**
 * Runs `load` with file descriptor 2 on /dev/null, where stderr is a terminal of a Unix system; elsewhere just runs it, so
 * that logs stay complete. TensorFlow greets with two lines that no setting silences.
 */
export function withQuietStderr<T>(load: () => T): T {
  if (!process.stderr.isTTY || process.platform !== 'linux') return load();
  const saved = openSync('/proc/self/fd/2', 'w'); // the same terminal, by a descriptor of its own
  closeSync(2);
  openSync('/dev/null', 'w'); // takes the lowest free descriptor, which is 2
  try {
    return load();
  } finally {
    closeSync(2);
    openSync(`/proc/self/fd/${saved}`, 'w'); // 2 again
    closeSync(saved);
  }
}
