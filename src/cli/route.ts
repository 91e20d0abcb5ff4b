/** `crayon route --explain`: who would answer a prompt, and why; nothing is sent to the server. */

import type { Command } from 'commander';
import { PROMPT_KINDS, Query } from '../engine/types.js';
import { type DryRun, dryRun, explain } from '../routing/dry-run.js';
import { SIGNALS } from '../routing/signals/index.js';
import { MODES, type Mode, type RoutingConfig } from '../routing/types.js';
import { assembleEngines } from '../serve/assemble.js';
import { type EdgeConfig, loadEdgeConfig } from '../serve/config.js';
import { choice, wholeNumber } from './options.js';
import { untilInterrupted } from './stop-signal.js';
import type { Terminal } from './terminal.js';

interface RouteFlags {
  explain: string;
  config: string;
  mode?: Mode;
  maxTokens?: number;
  prompt: (typeof PROMPT_KINDS)[number];
}

const HELP = `
The device's model runs; the server is not asked anything, and needs not be there. Signals that are switched off are
computed too, to show what they would say.

Examples:
  $ crayon route --explain "What is the balance of my account?" --config edge.yaml
  $ crayon route --explain "Who was Hypatia?" --config edge.yaml --mode only_on_device --json`;

const PROMPT = "the prompt as one user's message, or as a text to be continued";

export function routeCommand(command: Command, terminal: Terminal): void {
  command
    .requiredOption('--explain <prompt>', 'the prompt to decide about')
    .requiredOption('--config <file>', 'YAML of serve-edge')
    .addOption(choice('--mode <mode>', "instead of the configuration's", MODES))
    .option('--max-tokens <n>', 'tokens asked for (default: what fits, up to limits.max_tokens)', wholeNumber(1))
    .addOption(choice('--prompt <form>', PROMPT, PROMPT_KINDS, 'chat'))
    .addHelpText('after', HELP)
    .action((flags: RouteFlags) => runRoute(flags, terminal));
}

/** @throws CrayonError what the router would answer with, and what loading the model throws */
export async function runRoute(flags: RouteFlags, terminal: Terminal, assemble = assembleEngines): Promise<void> {
  const config = loadEdgeConfig(flags.config);
  // Offline: whether there is a server matters to the rule, but none is made, and no key of it is asked for.
  const parts = await assemble({ ...config, server: null, routing: { ...config.routing, mode: 'only_on_device' } });
  try {
    const { device, scope, clusters, adapters } = parts;
    const text = flags.explain;
    const query = new Query(
      flags.prompt === 'text' ? { kind: 'text', text } : { kind: 'chat', messages: [{ role: 'user', content: text }] },
    );
    const room = device.contextTokens - query.tokens(device).length;
    const most = config.limits.maxTokens;
    const maxTokens = Math.min(flags.maxTokens ?? (room < 1 ? most : room), most);
    const mode = flags.mode ?? config.routing.mode;
    const found = await untilInterrupted((signal) =>
      dryRun(
        {
          ...{ device, scope, clusters, hasServer: config.server !== null },
          ...{ config: config.routing, adapters: adapters.choose(query) },
        },
        { query, maxTokens, mode },
        signal,
      ),
    );
    show(found, config, mode, maxTokens, terminal);
  } finally {
    await parts.close();
  }
}

function show(found: DryRun, config: EdgeConfig, mode: string, maxTokens: number, terminal: Terminal): void {
  const { decision, values, promptTokens, answer } = found;
  const sentence = explain(decision);
  terminal.document({
    mode,
    explanation: sentence,
    ...decision,
    computed: { promptTokens, maxTokens, ...values },
    answer,
  });
  terminal.print(sentence);
  terminal.print();
  const row = (name: keyof DryRun['values'], cut: number | null, unit: string) => [
    name,
    values[name] === null ? '-' : String(Number(values[name].toPrecision(4))),
    cut === null ? 'off' : String(cut),
    unit,
  ];
  const routing: RoutingConfig = config.routing;
  const rows = SIGNALS.filter((signal) => signal.madeOf?.(routing) !== null).flatMap((signal) => [
    row(signal.name, routing.thresholds[signal.name] ?? null, `${signal.unit(routing)}; ${signal.toServer}: server`),
    ...Object.entries(signal.also ?? {}).map(([name, unit]) => row(name as keyof DryRun['values'], null, unit)),
  ]);
  terminal.table(
    ['signal', 'value', 'threshold', 'unit'],
    [...rows, ['prompt + answer', `${promptTokens} + ${maxTokens}`, '', 'tokens']],
    ['left', 'right', 'right', 'left'],
  );
  if (answer !== null) terminal.note(`The device begins: ${JSON.stringify(answer)}`);
  if (config.server === null) terminal.note('No server is configured: no signal can send anything anywhere.');
}
