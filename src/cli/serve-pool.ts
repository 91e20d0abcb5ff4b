/** `crayon serve-pool`: a pool behind HTTP, and blends of it for devices that send N numbers. */

import { once } from 'node:events';
import type { Command } from 'commander';
import { CrayonError } from '../core/errors.js';
import { formatBytes, printable } from '../core/format.js';
import { CRAYON_VERSION } from '../files/package.js';
import { APP_DEFAULTS } from '../serve/app.js';
import { createPoolApp } from '../serve/blends/app.js';
import { assemblePool } from '../serve/blends/assemble.js';
import { loadPoolServerConfig, type PoolServerConfig } from '../serve/blends/config.js';
import { LOG_LEVELS } from '../serve/config.js';
import { createCors } from '../serve/http/cors.js';
import { createGuard } from '../serve/http/guard.js';
import { type Listening, listen } from '../serve/http/listen.js';
import { clientKey } from '../serve/keys.js';
import { createLog } from '../serve/log.js';
import { byteCount, choice, decimal, POOL_PLACE, type PoolFlags, poolOptions, wholeNumber } from './options.js';
import { placeOf } from './pool-place.js';
import { stopSignal } from './stop-signal.js';
import type { Terminal } from './terminal.js';

interface Flags extends PoolFlags {
  config?: string;
  pool?: string;
  model?: string;
  files?: boolean;
  step?: number;
  host?: string;
  port?: number;
  apiKeyEnv?: string;
  apiKeyFile?: string;
  /** bytes */
  cache?: number;
  memory?: number;
  workers?: number;
  queue?: number;
  rank?: number;
  logLevel?: (typeof LOG_LEVELS)[number];
  stopSeconds: number;
}

const HELP = `
Devices fetch the pool's manifest and centroids, choose by them, and send N coefficients: one merged adapter comes back.
Blends are made once for all who are near each other, by coefficients rounded to --step, and kept. The pool's adapters
are served as well, for devices that blend themselves.

Flags override the keys of --config.

Examples:
  $ crayon serve-pool --pool models/crayon-edge-pool
  $ crayon serve-pool --config configs/pool-server.yaml
  $ crayon serve-pool --pool pool --host 0.0.0.0 --api-key-env POOL_KEY --workers 2
  $ crayon blend --pool http://127.0.0.1:8090 --blend-on-server --examples mine.jsonl --out my-adapter
  $ curl http://127.0.0.1:8090/v1/blends -H 'content-type: application/json' \\
      -d '{"coefficients": [0.7, 0, 0.3, 0, 0, 0]}' | tar x -C my-adapter

SIGINT and SIGTERM let running requests finish, then end with exit code 0.`;

export function servePoolCommand(command: Command, terminal: Terminal): void {
  command
    .option('--config <yaml>', 'configuration with all keys (see configs/pool-server.yaml)')
    .option('--pool <place>', POOL_PLACE)
    .option('--model <path>', "the pool's base model, for blends in the form of GGUF")
    .option('--no-files', 'serve manifest, centroids and blends alone, and not the adapters')
    .option('--step <x>', 'coefficients are rounded to its multiples (default: 0.01)', decimal(0))
    .option('--host <address>', 'address to bind to (default: 127.0.0.1; any other needs an API key)')
    .option('--port <n>', 'port to listen on, 0 for any free one (default: 8090)', wholeNumber(0, 65_535))
    .option('--api-key-env <name>', 'environment variable that holds the key that devices must send')
    .option('--api-key-file <file>', 'file that holds it')
    .option('--workers <n>', 'blends made at a time (default: 1)', wholeNumber(1, 64))
    .option('--queue <n>', 'blends that may wait; the next gets 429 (default: 64)', wholeNumber(0))
    .option('--rank <r>', 'the largest rank of a blend by svd (default: 64)', wholeNumber(1))
    .option('--cache <size>', 'the most that blends may take on disk, such as 2GB (default: 4GiB)', byteCount)
    .option('--memory <size>', 'the most that blends being made may take, such as 2GB', byteCount);
  poolOptions(command)
    .addOption(choice('--log-level <level>', 'of the log on stderr', LOG_LEVELS))
    .option('--stop-seconds <n>', 'how long running requests may take to finish at the end', wholeNumber(0, 3600), 30)
    .addHelpText('after', HELP)
    .action((flags: Flags) => runServePool(flags, terminal));
}

async function runServePool(flags: Flags, terminal: Terminal): Promise<void> {
  const { stderr, env } = terminal.streams;
  const config = configOf(flags);
  const { host, port, limits } = config;
  const apiKey = clientKey(config, env);
  const pretty = (stderr as NodeJS.WriteStream).isTTY === true && !env.NO_COLOR;
  const log = createLog({ level: config.log.level, stream: stderr, pretty });
  const place = await placeOf(config.pool, { ...flags, cacheDir: config.cacheDir ?? undefined }, env);
  await place.members();
  const parts = assemblePool(config, place.dir);
  const { signal, release } = stopSignal();
  const stopped = once(signal, 'abort');
  let server: Listening | undefined;
  try {
    const guard = createGuard({ apiKey, host, allowedHosts: config.allowedHosts });
    const { newId } = APP_DEFAULTS;
    const app = createPoolApp({ ...parts, config, limits, guard, cors: createCors(config.allowedOrigins), log, newId });
    server = await listen(app, { host, port });
    announce(config, parts, server, apiKey !== null, terminal);
    await stopped;
    const { running } = app;
    terminal.note(
      running === 0 ? 'Stopping' : `Stopping once ${running} requests are done, at most ${flags.stopSeconds} s`,
    );
    const ended = await server.stop(flags.stopSeconds * 1000);
    if (ended > 0) log.warn({ ended }, 'requests ended before they were done');
    server = undefined;
  } finally {
    release();
    await server?.stop(0);
    parts.close();
  }
}

function announce(
  config: PoolServerConfig,
  { pool: { manifest }, store, workers }: ReturnType<typeof assemblePool>,
  { url, host, port }: Listening,
  hasKey: boolean,
  terminal: Terminal,
): void {
  const { kept, bytes } = store.load();
  const { pool, files, step, model, cacheBytes } = config;
  terminal.document({ url, host, port, pool, clusters: manifest.N, step, files, workers, pid: process.pid });
  const rows: Array<[string, string]> = [
    ['Pool', `${pool}, ${manifest.N} base LoRAs for ${manifest.base.name}`],
    [
      'Blends',
      `POST ${url}/v1/blends, ${workers} at a time, coefficients to ${step}${model === null ? '' : ', GGUF too'}`,
    ],
    ['Kept', `${kept} blends of ${formatBytes(bytes)}, at most ${formatBytes(cacheBytes)}`],
    ['Files', files ? `${url}/pool.json, and the adapters` : `${url}/pool.json, without the adapters`],
    ['Key', hasKey ? 'required' : 'none (this machine only)'],
    ['Listens', url],
  ];
  const lines = [
    `crayon ${CRAYON_VERSION} serve-pool`,
    ...rows.map(([name, text]) => `  ${name.padEnd(8)} ${printable(text)}`),
  ];
  if (!terminal.quiet) terminal.say([...lines, ''].join('\n'));
}

/** @throws CrayonError `config-invalid`, `bad-option` */
function configOf(flags: Flags): PoolServerConfig {
  const { config, pool, model, step, host, port, apiKeyEnv, apiKeyFile, cacheDir: cache_dir } = flags;
  if (config === undefined && pool === undefined) {
    throw new CrayonError('bad-option', 'neither --config nor --pool is given', {
      hint: 'Name the pool, or a YAML that does: see configs/pool-server.yaml.',
    });
  }
  const hasKey = apiKeyEnv !== undefined || apiKeyFile !== undefined;
  const mebibytes = (bytes: number | undefined) => bytes && Math.max(1, Math.floor(bytes / 2 ** 20));
  return loadPoolServerConfig(config ?? null, {
    ...{ pool, model, step, host, port, cache_dir },
    files: flags.files === false ? false : undefined,
    cache_mib: mebibytes(flags.cache),
    memory_mib: mebibytes(flags.memory),
    ...(hasKey ? { api_key_env: apiKeyEnv ?? null, api_key_file: apiKeyFile ?? null } : {}),
    limits: { workers: flags.workers, queue: flags.queue, rank: flags.rank },
    log: { level: flags.logLevel },
  });
}
