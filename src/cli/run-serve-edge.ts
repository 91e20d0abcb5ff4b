/** The work and the words of `crayon serve-edge`; loaded only when it runs. */

import { once } from 'node:events';
import { CRAYON_VERSION } from '../files/package.js';
import { APP_DEFAULTS, EdgeApp } from '../serve/app.js';
import { assembleEdge, type EdgeAssembly } from '../serve/assemble.js';
import { clientKey, type EdgeConfig } from '../serve/config.js';
import { createGuard } from '../serve/http/guard.js';
import { type Listening, listen } from '../serve/http/listen.js';
import { createLog, type Logger } from '../serve/log.js';
import { createMetrics } from '../serve/metrics.js';
import { configOf, type ServeEdgeFlags } from './edge-flags.js';
import { stopSignal } from './stop-signal.js';
import type { Terminal } from './terminal.js';

export async function runServeEdge(flags: ServeEdgeFlags, terminal: Terminal): Promise<void> {
  const { stderr, env } = terminal.streams;
  const config = configOf(flags);
  const apiKey = clientKey(config, env, flags.apiKey ?? null);
  const pretty = (stderr as NodeJS.WriteStream).isTTY === true && !env.NO_COLOR;
  const log = createLog({ level: config.log.level, stream: stderr, pretty });
  const metrics = createMetrics();
  const guard = createGuard({ apiKey, host: config.host, allowedHosts: config.allowedHosts });
  const { limits, routing } = config;
  const app = new EdgeApp({ ...APP_DEFAULTS, guard, limits, routing, log, logPrompts: config.log.prompts, metrics });

  // The first SIGINT or SIGTERM asks for a graceful stop; the next one ends the process as it always does.
  const { signal, release } = stopSignal();
  const stopped = once(signal, 'abort');
  let parts: EdgeAssembly | undefined;
  let server: Listening | undefined;
  try {
    // The port first: what cannot be listened on should not cost a model's loading, and /health says "loading" meanwhile.
    server = await listen(app, { host: config.host, port: config.port });
    const loading = assembleEdge(config, {
      env,
      onStep: (step) => terminal.note(STEPS[step] ?? step),
      onServerEvent: (event) => {
        metrics.upstream(event);
        if (event.type !== 'usage') log.warn({ ...event }, 'server LLM');
      },
    });
    const first = await Promise.race([loading, stopped]);
    if (Array.isArray(first)) {
      void loading.then((late) => late.close()).catch(() => {});
    } else {
      parts = first;
      app.ready(parts);
      announce(config, parts, server, apiKey !== null, terminal);
      await stopped;
    }
    await stop(server, app, flags.stopSeconds, terminal, log);
    server = undefined;
  } finally {
    release();
    await server?.stop(0);
    await parts?.close();
  }
}

const STEPS: Record<string, string> = {
  model: 'Opening the model (a Hugging Face directory is exported to GGUF once)',
  adapters: 'Preparing the adapters',
  engine: 'Loading it into llama.cpp',
};

async function stop(server: Listening, app: EdgeApp, seconds: number, terminal: Terminal, log: Logger): Promise<void> {
  const { running } = app;
  terminal.note(running === 0 ? 'Stopping' : `Stopping once ${running} requests are done, at most ${seconds} s`);
  const ended = await server.stop(seconds * 1000);
  if (ended > 0) log.warn({ ended }, 'requests ended before they were done');
}

function announce(
  config: EdgeConfig,
  { base, facts, edge, scope, customizations }: EdgeAssembly,
  { url, host, port }: Listening,
  hasKey: boolean,
  terminal: Terminal,
): void {
  terminal.document({
    url,
    host,
    port,
    model: base,
    mode: config.routing.mode,
    gate: config.gate,
    server: config.server?.model ?? null,
    customizations: customizations !== null,
    pid: process.pid,
  });
  const thresholds = Object.entries(config.routing.thresholds)
    .map(([name, cut]) => `${name} ${cut ?? 'off'}`)
    .join(', ');
  const rows: Array<[string, string]> = [
    [
      'Model',
      `${base} (${facts.model}), context of ${edge.contextTokens} tokens${facts.threads === null ? '' : `, threads: ${facts.threads}`}`,
    ],
    ['Adapter', facts.adapter],
    ['Server', facts.server],
    ['Mode', config.server === null ? config.routing.mode : `${config.routing.mode}; thresholds: ${thresholds}`],
    ['Scope', scope === null ? 'no examples' : `${config.examples}`],
    ['Blends', customizations === null ? 'off (no pool)' : `POST ${url}/v1/customizations`],
    ['Key', hasKey ? 'required' : 'none (this machine only)'],
    ['Listens', url],
  ];
  const lines = [`crayon ${CRAYON_VERSION} serve-edge`, ...rows.map(([name, text]) => `  ${name.padEnd(8)} ${text}`)];
  const auth = hasKey ? ` -H "authorization: Bearer $KEY"` : '';
  lines.push(
    '',
    `  curl ${url}/v1/chat/completions -H 'content-type: application/json'${auth} \\`,
    `    -d '{"model": "${base}", "messages": [{"role": "user", "content": "Hello"}]}'`,
    '',
  );
  if (!terminal.quiet) terminal.streams.stderr.write(`${lines.join('\n')}\n`);
}
