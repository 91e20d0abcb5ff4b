/** Real clients on a real server, each by its own package: those whose packages are there (test/clients/main.ts has the list). */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLIENTS, findClient } from '../clients/clients.js';
import { runClient } from '../clients/main.js';
import { startServer, type Task, taskFor } from '../clients/server.js';

/** node_modules, and a Python in venv; without it the repository's own packages are tried. */
const folder = process.env.CRAYON_CLIENTS;

describe('clients', () => {
  let task: Task;
  let stop = (): void => {};
  beforeAll(async () => {
    const server = await startServer();
    stop = server.stop;
    task = await taskFor(server.url);
  });
  afterAll(() => stop());

  it('have something to tell apart: a customisation answers otherwise than the base', () => {
    expect(task.expected.custom).not.toBe(task.expected.model);
  });

  for (const client of CLIENTS) {
    const found = findClient(client, folder);
    const why =
      'missing' in found ? ` (not installed: ${found.missing}; see CRAYON_CLIENTS in test/clients/main.ts)` : '';
    it.skipIf(why !== '')(`${client.name}${why}`, { timeout: 300_000 }, async () => {
      const { outcome, words } = await runClient(client, found, folder, task);
      expect(outcome, words).toBe('passed');
    });
  }
});
