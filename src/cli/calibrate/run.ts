/** The work of `crayon calibrate`: answers from both sources, thresholds from the answers, a configuration with them. */

import * as z from 'zod';
import { CrayonError } from '../../core/errors.js';
import { type Example, loadDataset, noExamples } from '../../data/dataset.js';
import { isRight, type Match } from '../../data/judge.js';
import type { JsonObject } from '../../files/json.js';
import { RecordLog } from '../../files/resume.js';
import { checked, text } from '../../files/schema.js';
import { type Calibration, calibrate } from '../../routing/calibrate/calibrate.js';
import {
  type CollectedRecord,
  type CollectParts,
  collectRecords,
  fitsDevice,
  type Question,
} from '../../routing/calibrate/collect.js';
import { MIN_RECORDS } from '../../routing/calibrate/data.js';
import type { Target } from '../../routing/calibrate/rule.js';
import { recordedSignals } from '../../routing/signals/index.js';
import { type EdgeConfig, loadEdgeConfig } from '../../serve/config.js';
import { refuseExisting, writeThresholds } from '../../serve/config-thresholds.js';
import { type Assemble, assembled } from '../assembled.js';
import { untilInterrupted } from '../stop-signal.js';
import type { Terminal } from '../terminal.js';
import { doubtsOf, printCalibration, remarkOf, weightKeys } from './report.js';

export interface CalibrateFlags {
  config: string;
  data: string[];
  dataDir?: string;
  split: string;
  limit?: number;
  targetShare?: number;
  targetAccuracy?: number;
  targetCost?: number;
  out?: string;
  records?: string;
  maxTokens?: number;
  prompt: 'chat' | 'text';
  match: Match;
  parallel?: number;
  seed: number;
  resamples: number;
  fresh: boolean;
  force: boolean;
}

const NO_PRICES = { inputPerMillion: 0, outputPerMillion: 0, currency: '' };

/**
 * @throws CrayonError `bad-option` without exactly one target, `config-invalid` without a server, `dataset-too-small`,
 *   `output-exists`, `checkpoint-mismatch`, what the engines throw
 */
export async function runCalibrate(flags: CalibrateFlags, terminal: Terminal, assemble = assembled): Promise<void> {
  const target = targetOf(flags);
  const config = loadEdgeConfig(flags.config);
  const { server } = config;
  if (server === null) {
    throw new CrayonError('config-invalid', `${flags.config}: has no server, expected one to compare the device with`, {
      hint: 'Give it server.base_url and server.model.',
    });
  }
  const { inputPerMillion, outputPerMillion, currency } = server.prices ?? NO_PRICES;
  if (target.kind === 'cost' && inputPerMillion + outputPerMillion === 0) {
    throw new CrayonError('config-invalid', `${flags.config}: has no server.prices, which --target-cost needs`, {
      hint: 'Give server.prices.input_per_million and output_per_million.',
    });
  }
  const out = flags.out ?? flags.config.replace(/(\.ya?ml)?$/i, '.calibrated.yaml');
  refuseExisting(out, flags.force);
  const { dataDir, split, limit, seed } = flags;
  const loaded = flags.data.map((path) => loadDataset(path, { dataDir, split, limit, seed }));
  const examples = loaded.flatMap((set) => set.examples);
  if (examples.length === 0) throw noExamples(flags.data);
  if (examples.length < MIN_RECORDS) {
    throw new CrayonError('dataset-too-small', `${examples.length} examples, expected at least ${MIN_RECORDS}`);
  }
  warnOfUsedExamples(config, examples, terminal);

  const log = new RecordLog(
    flags.records ?? `${out}.records.jsonl`,
    fingerprintOf(
      config,
      flags,
      loaded.flatMap((set) => set.sources.map((source) => source.sha256)),
    ),
    { fresh: flags.fresh },
  );
  const records = await answered(examples, config, flags, log, terminal, assemble);
  const { measure } = config.routing.confidence;
  const found = calibrate(records, { target, seed, resamples: flags.resamples, measure });
  writeThresholds(flags.config, out, {
    thresholds: { ...found.thresholds },
    weights: found.correctness === null ? null : weightKeys(found.correctness),
    remarks: [remarkOf(found)],
    force: flags.force,
  });
  show(found, out, log.path, currency, terminal);
}

/** Every example's record: those of earlier runs, and the rest asked now. */
async function answered(
  examples: readonly Example[],
  config: EdgeConfig,
  flags: CalibrateFlags,
  log: RecordLog,
  terminal: Terminal,
  assemble: Assemble,
): Promise<CollectedRecord[]> {
  const byId = new Map(log.earlier.map((line, i) => [String(line.id), recordAt(line, `${log.path}:${i + 2}`)]));
  const wanted = examples.map((example, i) => ({ ...example, id: `${i}:${example.id}` }));
  const missing = wanted.filter(({ id }) => !byId.has(id));
  if (byId.size > 0) terminal.note(`${wanted.length - missing.length} examples were answered by an earlier run.`);
  if (missing.length > 0) {
    const parts = await assemble(config);
    try {
      const collect = collectParts(parts, config, flags, examples);
      const fitting = missing.filter((question) => fitsDevice(question, collect));
      if (fitting.length < missing.length) {
        terminal.warn(
          `${missing.length - fitting.length} of the examples are left out: with ${collect.maxTokens} tokens of answer they do not fit ` +
            `the device's context of ${parts.edge.contextTokens}, so they go to the server whatever the thresholds.`,
        );
      }
      await ask(fitting, collect, flags.parallel ?? config.engine.sequences, { byId, log, terminal });
    } finally {
      await parts.close();
    }
  }
  // The answers of earlier runs are judged anew: another --match needs no new ones.
  return wanted.flatMap((question) => {
    const record = byId.get(question.id);
    return record === undefined ? [] : judged(record, question, flags.match);
  });
}

function recordAt(line: JsonObject, where: string): CollectedRecord {
  return checked(RECORD, line, { where, code: 'json-invalid' });
}

function judged(record: CollectedRecord, question: Question, match: Match): CollectedRecord {
  const score = (answer: string) => (isRight(answer, question, match) ? 1 : 0);
  return { ...record, edgeCorrect: score(record.edgeAnswer), serverCorrect: score(record.serverAnswer) };
}

async function ask(
  questions: readonly Question[],
  collect: CollectParts,
  parallel: number,
  { byId, log, terminal }: { byId: Map<string, CollectedRecord>; log: RecordLog; terminal: Terminal },
): Promise<void> {
  const progress = terminal.progress();
  const earlier = byId.size;
  const onRecord = (record: CollectedRecord) => {
    log.append(toLine(record));
    byId.set(record.id, record);
    progress.update('answer', byId.size, earlier + questions.length, standing(byId));
  };
  progress.update('answer', earlier, earlier + questions.length);
  try {
    await untilInterrupted((signal) => collectRecords(questions, collect, { parallel, signal, onRecord }));
    progress.end();
  } catch (error) {
    progress.end(true);
    if (byId.size > 0) terminal.note(`The same command continues after the ${byId.size} answers in ${log.path}.`);
    throw error;
  }
}

function standing(byId: ReadonlyMap<string, CollectedRecord>): string {
  let [edge, server] = [0, 0];
  for (const { edgeCorrect, serverCorrect } of byId.values()) {
    edge += edgeCorrect;
    server += serverCorrect;
  }
  const share = (right: number) => `${Math.round((100 * right) / byId.size)} %`;
  return `device ${share(edge)}, server ${share(server)}`;
}

function collectParts(
  { edge, server, scope, adapters }: Awaited<ReturnType<Assemble>>,
  config: EdgeConfig,
  { maxTokens, prompt, match }: CalibrateFlags,
  examples: readonly Example[],
): CollectParts {
  if (server === null) throw new CrayonError('config-invalid', 'no server LLM was made from the configuration');
  const longest = examples.reduce((n, { completion }) => Math.max(n, edge.textTokens(completion).length), 1);
  return {
    edge,
    server,
    scope,
    adapters: (query) => adapters.choose(query),
    confidence: config.routing.confidence,
    maxTokens: maxTokens ?? Math.min(2 * longest + 8, config.limits.maxTokens),
    prices: config.server?.prices ?? NO_PRICES,
    form: prompt,
    match,
  };
}

function targetOf({ targetShare, targetAccuracy, targetCost }: CalibrateFlags): Target {
  if (targetShare !== undefined) return { kind: 'share', value: targetShare };
  if (targetAccuracy !== undefined) return { kind: 'accuracy', value: targetAccuracy };
  if (targetCost !== undefined) return { kind: 'cost', value: targetCost };
  throw new CrayonError('bad-option', 'no target, expected --target-share, --target-accuracy or --target-cost', {
    hint: 'For instance --target-share 0.2: a fifth of the queries may go to the server.',
  });
}

/** Everything that the answers and signals depend on; not the target, so that another one needs no new answers. */
function fingerprintOf(config: EdgeConfig, flags: CalibrateFlags, data: string[]): JsonObject {
  const { model, adapter, pool, gate, examples, engine, routing, server } = config;
  return {
    model,
    adapter,
    pool,
    gate,
    examples,
    type: engine.type,
    context: engine.context,
    confidence: routing.confidence,
    server: { baseUrl: server!.baseUrl, model: server!.model, prices: server!.prices },
    data,
    limit: flags.limit ?? null,
    maxTokens: flags.maxTokens ?? null,
    prompt: flags.prompt,
  };
}

/** The scope profile is of these examples, and the adapter has seen them: on them both look better than they are. */
function warnOfUsedExamples(config: EdgeConfig, examples: readonly Example[], terminal: Terminal): void {
  if (config.examples === null) return;
  const known = new Set(loadDataset(config.examples, {}).examples.map(({ prompt }) => prompt));
  const used = examples.filter(({ prompt }) => known.has(prompt)).length;
  if (used > 0) terminal.warn(`${used} of the held-out examples are among the examples of the customisation.`);
}

/** A signal's value, of which `toLine` writes as text what JSON cannot hold. One that is newer than the line is null. */
const measured = z
  .union([z.number(), z.enum(['Infinity', '-Infinity', 'NaN'])])
  .transform(Number)
  .nullable()
  .default(null);

const RECORD = z.object({
  id: text,
  ...recordedSignals(() => measured),
  edgeCorrect: z.number(),
  serverCorrect: z.number(),
  tokens: z.object({ edge: z.number(), serverPrompt: z.number(), serverCompletion: z.number() }),
  serverCost: z.number(),
  edgeAnswer: z.string(),
  serverAnswer: z.string(),
});

/** JSON has no infinities: an answer without a token has the confidence "-Infinity". */
function toLine(record: CollectedRecord): object {
  const plain = (x: number | null) => (x === null || Number.isFinite(x) ? x : String(x));
  return { ...record, ...recordedSignals((name) => plain(record[name] ?? null)) };
}

function show(found: Calibration, out: string, records: string, currency: string, terminal: Terminal): void {
  terminal.document({ out, recordsFile: records, currency, ...found });
  printCalibration(found, currency, terminal);
  for (const doubt of doubtsOf(found)) terminal.warn(doubt);
  terminal.print(`Written to ${out}; the answers are in ${records}.`);
}
