/** The work of `crayon bench load`. */

import { findBenchPath } from '../../bench/config.js';
import { loadLoadConfig } from '../../bench/load/config.js';
import { type LoadPattern, patternName, runLoad } from '../../bench/load/load.js';
import { asker, loadKey, planOf } from '../../bench/load/run.js';
import { isBenchRun, writeLoadCell } from '../../bench/run-directory.js';
import type { LoadCell } from '../../bench/types.js';
import { CrayonError } from '../../core/errors.js';
import { loadDataset, noExamples } from '../../data/dataset.js';
import { openChatClient, preciseClock } from '../../engine/server/chat-client.js';
import { untilInterrupted } from '../stop-signal.js';
import type { Terminal } from '../terminal.js';
import { showLoad } from './live-tables.js';

export interface BenchLoadFlags {
  config?: string;
  url?: string;
  model?: string;
  keyEnv?: string;
  data: string[];
  dataDir?: string;
  split?: string;
  limit?: number;
  clients?: number[];
  rate?: number[];
  burstiness?: number;
  requests?: number;
  seconds?: number;
  warmup?: number;
  maxTokens?: number;
  mode?: string;
  goodput?: Record<string, number>;
  seed: number;
  device: string;
  network: string;
  out?: string;
}

/** @throws CrayonError `bad-option`, `config-invalid`, `dataset-too-small`, what the first requests throw */
export async function runBenchLoad(flags: BenchLoadFlags, terminal: Terminal): Promise<void> {
  const { target, load } = loadLoadConfig(flags.config ?? null, sections(flags));
  const baseUrl = needed(target.url, '--url');
  const model = needed(target.model, '--model');
  const prompts = target.data.flatMap((path) => {
    const { data_dir: dataDir, split, limit } = target;
    return loadDataset(findBenchPath(path), { dataDir, split, limit, seed: flags.seed }).examples.map((e) => e.prompt);
  });
  if (target.data.length === 0) needed(undefined, '--data');
  if (prompts.length === 0) throw noExamples(target.data);
  const patterns: LoadPattern[] = [
    ...load.clients.map((clients) => ({ kind: 'closed' as const, clients })),
    ...load.rates.map((rate) => ({ kind: 'open' as const, rate, burstiness: load.burstiness })),
  ];
  if (patterns.length === 0) throw new CrayonError('bad-option', 'neither --clients nor --rate is given');
  const client = openChatClient({ baseUrl, model, apiKey: keyOf(target.key_env, terminal) });
  const cells: LoadCell[] = [];
  const progress = terminal.progress();
  try {
    await untilInterrupted(async (signal) => {
      for (const pattern of patterns) {
        const { device, network, seed } = flags;
        const cell = await runLoad({
          plan: planOf(load, pattern, seed),
          prompts,
          ask: asker(client, { maxTokens: load.max_tokens, mode: load.mode }),
          clock: preciseClock,
          signal,
          labels: { key: loadKey(device, network, pattern), device, network },
          onProgress: ({ done, failed, running }) =>
            progress.update(
              patternName(pattern),
              done,
              load.requests ?? done + running,
              `${running} running${failed > 0 ? `, ${failed} failed` : ''}`,
            ),
        });
        cells.push(cell);
        if (flags.out !== undefined) writeLoadCell(flags.out, cell.key, cell);
      }
    });
    progress.end();
  } catch (error) {
    progress.end(true);
    throw error;
  }
  terminal.document({ url: baseUrl, model, load, cells });
  showLoad(cells, terminal);
  if (cells.some(({ promptTokens, completed }) => completed > 0 && promptTokens === null)) {
    terminal.note('The server sends no usage, so tokens, TPOT and tokens/s are unknown.');
  }
  if (flags.out === undefined) return;
  terminal.print(`Added to ${flags.out}.${isBenchRun(flags.out) ? ` Next: crayon bench report ${flags.out}` : ''}`);
}

function sections(flags: BenchLoadFlags) {
  const { url, model, keyEnv, data, dataDir, split, limit } = flags;
  return {
    target: { url, model, key_env: keyEnv, data: data.length > 0 ? data : undefined, data_dir: dataDir, split, limit },
    load: {
      // A rate without clients means an open loop alone, and the other way round.
      clients: flags.clients ?? (flags.rate === undefined ? undefined : []),
      rates: flags.rate ?? (flags.clients === undefined ? undefined : []),
      burstiness: flags.burstiness,
      requests: flags.requests ?? (flags.seconds === undefined ? undefined : null),
      seconds: flags.seconds,
      warmup: flags.warmup,
      max_tokens: flags.maxTokens,
      mode: flags.mode,
      goodput: flags.goodput,
    },
  };
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
