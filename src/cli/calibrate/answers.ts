/** Both parties' answers, each asked once: those of an earlier run that was stopped, and the rest now. */

import { CrayonError } from '../../core/errors.js';
import { mean } from '../../core/stats.js';
import { type Example, loadDataset } from '../../data/dataset.js';
import { isRight } from '../../data/judge.js';
import type { JsonObject } from '../../files/json.js';
import type { RecordLog } from '../../files/resume.js';
import { checked } from '../../files/schema.js';
import {
  type CollectedRecord,
  type CollectParts,
  collectRecords,
  fitsDevice,
} from '../../routing/calibrate/collect.js';
import { NO_THRESHOLDS } from '../../routing/signals/index.js';
import type { Assemble } from '../../serve/assemble.js';
import type { EdgeConfig } from '../../serve/config.js';
import { untilInterrupted } from '../stop-signal.js';
import type { Terminal } from '../terminal.js';
import type { CalibrateFlags } from './flags.js';
import { RECORD, toLine } from './record-lines.js';
import type { ShiftableRule } from './shift.js';

export const NO_PRICES = { inputPerMillion: 0, outputPerMillion: 0, currency: '' };

/** Every example's record: those of earlier runs, and the rest asked now. */
export async function answered(
  wanted: readonly Example[],
  config: EdgeConfig,
  flags: CalibrateFlags,
  log: RecordLog,
  terminal: Terminal,
  assembled: () => ReturnType<Assemble>,
): Promise<CollectedRecord[]> {
  const byId = new Map<string, CollectedRecord>();
  for (const [i, line] of log.earlier.entries()) {
    byId.set(String(line.id), checked(RECORD, line, { where: `${log.path}:${i + 2}`, code: 'json-invalid' }));
  }
  const earlier = byId.size;
  const missing = wanted.filter(({ id }) => !byId.has(id));
  if (earlier > 0) terminal.note(`${wanted.length - missing.length} examples were answered by an earlier run.`);
  if (missing.length > 0) {
    try {
      const parts = await assembled();
      const collect = collectParts(parts, config, flags, wanted);
      const fitting = missing.filter((question) => fitsDevice(question, collect));
      if (fitting.length < missing.length) {
        terminal.warn(
          `${missing.length - fitting.length} of the examples are left out: with ${collect.maxTokens} tokens of answer they do not fit ` +
            `the device's context of ${parts.device.contextTokens}, so they go to the server whatever the thresholds.`,
        );
      }
      const parallel = flags.parallel ?? config.engine.sequences;
      await terminal.during(({ update }) => {
        const show = (note?: string) => update('answer', byId.size, earlier + fitting.length, note);
        const onRecord = (record: CollectedRecord) => {
          log.append(toLine(record));
          byId.set(record.id, record);
          show(standing(byId));
        };
        show();
        return untilInterrupted((signal) => collectRecords(fitting, collect, { parallel, signal, onRecord }));
      });
    } catch (error) {
      if (byId.size > 0) terminal.note(`The same command continues after the ${byId.size} answers in ${log.path}.`);
      throw error;
    }
  }
  if (config.pool !== null && [...byId.values()].some(({ clusters }) => clusters === null)) {
    terminal.note(
      'Answers of an earlier version lack the clusters of their prompts: with --fresh, rates are tried too.',
    );
  }
  // The answers of earlier runs are judged anew: another --match needs no new ones.
  return wanted.flatMap((question) => {
    const record = byId.get(question.id);
    if (record === undefined) return [];
    const score = (answer: string) => (isRight(answer, question, flags.match) ? 1 : 0);
    return { ...record, edgeCorrect: score(record.edgeAnswer), serverCorrect: score(record.serverAnswer) };
  });
}

/** Made when first asked for. */
export function once(make: () => ReturnType<Assemble>) {
  let made: ReturnType<Assemble> | undefined;
  return {
    get: () => (made ??= make()),
    close: async () => await (await made?.catch(() => undefined))?.close(),
  };
}

/** What answers: an earlier calibration's rule has no say, and gates are those of the pool, or of the rule that is to be shifted. */
export function askedConfig(config: EdgeConfig, rule: ShiftableRule | null): EdgeConfig {
  const unruled = { thresholds: NO_THRESHOLDS, success: null, serverSuccess: null, serverShift: 0 };
  return { ...config, clusters: rule?.clusters ?? null, routing: { ...config.routing, ...unruled } };
}

function standing(byId: ReadonlyMap<string, CollectedRecord>): string {
  const right = (side: 'edgeCorrect' | 'serverCorrect') => mean([...byId.values()].map((record) => record[side]));
  const [device, server] = [right('edgeCorrect'), right('serverCorrect')].map((share) => Math.round(100 * share));
  return `device ${device} %, server ${server} %`;
}

function collectParts(
  { device, server, scope, clusters, adapters }: Awaited<ReturnType<Assemble>>,
  config: EdgeConfig,
  { maxTokens, prompt, match, allMeasures = false }: CalibrateFlags,
  examples: readonly Example[],
): CollectParts {
  if (server === null) throw new CrayonError('config-invalid', 'no server LLM was made from the configuration');
  const longest = examples.reduce((n, { completion }) => Math.max(n, device.textTokens(completion).length), 1);
  return {
    device,
    server,
    scope,
    clusters,
    adapters: (query) => adapters.choose(query),
    confidence: config.routing.confidence,
    allMeasures,
    maxTokens: maxTokens ?? Math.min(2 * longest + 8, config.limits.maxTokens),
    prices: config.server?.prices ?? NO_PRICES,
    form: prompt,
    match,
  };
}

/** Everything that the answers and signals depend on; not the target, so that another one needs no new answers. */
export function fingerprintOf(config: EdgeConfig, flags: CalibrateFlags, data: string[]): JsonObject {
  const { model, adapter, pool, gate, examples, engine, routing, server } = config;
  return {
    model,
    adapter,
    pool,
    gate,
    examples,
    clusters: config.clusters ?? undefined,
    type: engine.type,
    context: engine.context,
    confidence: routing.confidence,
    server: { baseUrl: server!.baseUrl, model: server!.model, prices: server!.prices },
    data,
    limit: flags.limit ?? null,
    maxTokens: flags.maxTokens ?? null,
    prompt: flags.prompt,
    promptForm: config.promptForm ?? undefined,
  };
}

/** The scope profile is of these examples, and the adapter has seen them: on them both look better than they are. */
export function warnOfUsedExamples(config: EdgeConfig, examples: readonly Example[], terminal: Terminal): void {
  if (config.examples === null) return;
  const known = new Set(loadDataset(config.examples, {}).examples.map(({ prompt }) => prompt));
  const used = examples.filter(({ prompt }) => known.has(prompt)).length;
  if (used > 0) terminal.warn(`${used} of the held-out examples are among the examples of the customisation.`);
}
