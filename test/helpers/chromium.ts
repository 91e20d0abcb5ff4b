/** A real browser for the report page: Debian's chromium, where it is installed. */

import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Path of the browser, or undefined. */
export function findChromium(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter);
  const places = ['chromium', 'chromium-browser'].flatMap((name) => folders.map((folder) => join(folder, name)));
  return places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export interface Visit {
  /** the page after it was loaded, with --dump-dom */
  stdout: string;
  /** messages that the page left on the console, refused requests and broken scripts among them */
  console: string[];
}

/** Opens a file with flags of its own; no name resolves, so that a request to the outside fails and is seen. */
export function visit(chromium: string, file: string, flags: readonly string[]): Visit {
  const profile = mkdtempSync(join(tmpdir(), 'crayon-chromium-'));
  try {
    const { stdout, stderr, status, error } = spawnSync(
      chromium,
      [
        ...[
          '--headless',
          '--no-sandbox',
          '--disable-gpu',
          '--hide-scrollbars',
          '--no-first-run',
          '--disable-extensions',
        ],
        ...['--host-resolver-rules=MAP * ~NOTFOUND', `--user-data-dir=${profile}`, '--enable-logging=stderr'],
        ...['--virtual-time-budget=2000', ...flags, pathToFileURL(file).href],
      ],
      { encoding: 'utf8', timeout: 100_000, maxBuffer: 64 * 2 ** 20 },
    );
    if (error !== undefined || status !== 0)
      throw new Error(`chromium ended with ${status ?? error?.message}: ${stderr}`);
    return { stdout, console: stderr.split('\n').filter((line) => line.includes(':CONSOLE')) };
  } finally {
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}
