/**
 * The server as a function from Request to Response (web standard), so that it can be tested without a socket; listen.ts
 * puts it on one.
 */

import { randomUUID } from 'node:crypto';
import { unavailable } from './http/call.js';
import type { AppSettings, ServeParts } from './parts.js';
import { failureBody, routes } from './routes.js';
import { createShell, SOON } from './shell.js';

/** What has a default. */
export const APP_DEFAULTS = {
  keepAliveMs: 15_000,
  now: Date.now,
  newId: () => `req_${randomUUID().replaceAll('-', '')}`,
};

export type EdgeApp = ReturnType<typeof createEdgeApp>;

export function createEdgeApp(settings: AppSettings) {
  const { now, metrics } = settings;
  let loaded: ServeParts | null = null; // null while the model is loading

  const parts = (): ServeParts => {
    if (loaded === null) throw unavailable('The model is loading.', 'loading', SOON);
    return loaded;
  };
  const created = Math.floor(now() / 1000);
  const shell = createShell(settings, failureBody, (whileRunning) =>
    routes({ settings, created, parts, whileRunning }),
  );

  return {
    /** The model is loaded: from now on requests are answered. */
    ready: (parts: ServeParts): void => {
      loaded = parts;
      const { device, server, customizations } = parts;
      metrics.watch(device, server?.state?.bind(server) ?? null, () => customizations?.size() ?? 0);
    },
    get running() {
      return shell.running;
    },
    handle: shell.handle,
    stop: shell.stop,
  };
}
