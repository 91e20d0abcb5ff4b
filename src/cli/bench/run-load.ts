/** The work of `crayon bench load`. */

import type * as z from 'zod';
import { type BenchLoad, LOAD_SCHEMA } from '../../bench/live/settings.js';
import { readTrafficConfig, TARGET_SCHEMA, type TrafficConfig } from '../../bench/load/config.js';
import { asker, patternName, patternsOf, runLoad } from '../../bench/load/load.js';
import { isBenchRun, writeLoadCell } from '../../bench/run-directory.js';
import { findBenchPath } from '../../bench/settings.js';
import type { LoadCell } from '../../bench/types.js';
import { CrayonError } from '../../core/errors.js';
import { snakeCase } from '../../core/format.js';
import { loadDataset, noExamples } from '../../data/dataset.js';
import { openChatClient } from '../../engine/server/chat-client.js';
import type { JsonObject } from '../../files/json.js';
import type { Camel } from '../../files/schema.js';
import { untilInterrupted } from '../stop-signal.js';
import type { ProgressDisplay, Terminal } from '../terminal.js';
import { showLoad } from './tables.js';

/** Keys of the configuration's two sections as flags, and what a single test says of itself. */
export interface BenchLoadFlags extends Partial<Camel<TrafficConfig['target']>>, Partial<Camel<BenchLoad>> {
  config?: string;
  rate?: number[];
  seed: number;
  device: string;
  network: string;
  out?: string;
}

/** @throws CrayonError `bad-option`, `config-invalid`, `dataset-too-small`, what the first requests throw */
export async function runBenchLoad(flags: BenchLoadFlags, terminal: Terminal): Promise<void> {
  const { target, load } = readTrafficConfig(flags.config ?? null, sections(flags));
  const baseUrl = needed(target.url, '--url');
  const models = [needed(target.model, '--model')].flat();
  const prompts = target.data.flatMap((path) => {
    const { data_dir: dataDir, split, limit } = target;
    return loadDataset(findBenchPath(path), { dataDir, split, limit, seed: flags.seed }).examples.map((e) => e.prompt);
  });
  if (target.data.length === 0) needed(undefined, '--data');
  if (prompts.length === 0) throw noExamples(target.data);
  const patterns = patternsOf(load);
  if (patterns.length === 0) throw new CrayonError('bad-option', 'neither --clients nor --rate is given');
  const apiKey = keyOf(target.key_env, terminal);
  const clients = models.map((model) => openChatClient({ baseUrl, model, apiKey }));
  const cells: LoadCell[] = [];
  const { device, network, seed } = flags;
  const measure = async (signal: AbortSignal, { update }: ProgressDisplay) => {
    for (const pattern of patterns) {
      const cell = await runLoad({
        plan: { ...load, pattern, seed },
        prompts,
        ask: asker(clients, load, seed),
        signal,
        labels: { device, network },
        onProgress: ({ done, failed, running }) => {
          const note = `${running} running${failed > 0 ? `, ${failed} failed` : ''}`;
          update(patternName(pattern), done, load.requests ?? done + running, note);
        },
      });
      cells.push(cell);
      if (flags.out !== undefined) writeLoadCell(flags.out, cell);
    }
  };
  await terminal.during((progress) => untilInterrupted((signal) => measure(signal, progress)));
  terminal.document({ url: baseUrl, models, load, cells });
  showLoad(cells, terminal);
  if (cells.some(({ promptTokens, completed }) => completed > 0 && promptTokens === null)) {
    terminal.note('The server sends no usage, so tokens, TPOT and tokens/s are unknown.');
  }
  if (flags.out === undefined) return;
  terminal.print(`Added to ${flags.out}.${isBenchRun(flags.out) ? ` Next: crayon bench report ${flags.out}` : ''}`);
}

/** The flags as keys of the configuration, which they override. */
function sections({ rate, clients, requests, ...flags }: BenchLoadFlags) {
  // What one flag says is meant alone: a rate without clients, seconds without requests.
  const loads = {
    ...flags,
    clients: clients ?? (rate && []),
    rates: rate ?? (clients && []),
    requests: requests ?? (flags.seconds === undefined ? undefined : null),
  };
  return { target: keysOf(TARGET_SCHEMA, flags), load: keysOf(LOAD_SCHEMA, loads) };
}

/** Those flags that are keys of a section, by the names that they have there. */
function keysOf(schema: z.ZodObject, flags: object): JsonObject {
  const named = Object.entries(flags).map(([flag, value]) => [snakeCase(flag), value] as const);
  return Object.fromEntries(named.filter(([key]) => key in schema.shape));
}

/** @throws CrayonError `config-invalid` where the variable is not set */
function keyOf(name: string | undefined, { streams }: Terminal): string | null {
  if (name === undefined) return null;
  const key = streams.env[name];
  if (key !== undefined && key !== '') return key;
  throw new CrayonError(
    'config-invalid',
    `environment variable ${name} is not set, which should hold the server's key`,
  );
}

/** @throws CrayonError `bad-option` */
function needed<T>(value: T | undefined, flag: string): T {
  if (value !== undefined) return value;
  throw new CrayonError('bad-option', `${flag} is missing, and no --config has it`, { hint: 'See --help.' });
}
