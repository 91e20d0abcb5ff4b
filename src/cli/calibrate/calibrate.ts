/**
 * `crayon calibrate`: routing thresholds from held-out examples that the device and the server both answer, and a
 * configuration with them.
 */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { writePromptClusters } from '../../blend/prompt-clusters.js';
import { CrayonError } from '../../core/errors.js';
import { loadDataset, noExamples } from '../../data/dataset.js';
import { MATCHES } from '../../data/judge.js';
import { PROMPT_KINDS } from '../../engine/types.js';
import { RecordLog } from '../../files/resume.js';
import { calibrate } from '../../routing/calibrate/calibrate.js';
import type { CollectedRecord } from '../../routing/calibrate/collect.js';
import { byMeasure, dataByMeasure, MIN_RECORDS } from '../../routing/calibrate/data.js';
import { chooseMeasure } from '../../routing/calibrate/probability.js';
import { type RiskTarget, riskThresholds } from '../../routing/calibrate/risk.js';
import type { Target } from '../../routing/calibrate/rule.js';
import { CONFIDENCE_MEASURES } from '../../routing/signals/signal.js';
import { assembleEngines } from '../../serve/assemble.js';
import { loadEdgeConfig } from '../../serve/config.js';
import { refuseExisting, writeThresholds } from '../../serve/config-thresholds.js';
import { choice, dataOptions, decimal, wholeNumber } from '../options.js';
import type { Terminal } from '../terminal.js';
import { answered, askedConfig, fingerprintOf, NO_PRICES, once, warnOfUsedExamples } from './answers.js';
import { type CountedIn, chooseClusters, printClusters } from './clusters.js';
import type { CalibrateFlags } from './flags.js';
import { doubtsOf, printCalibration, printMeasures, remarkOf, weightKeys } from './report.js';
import { calibrateRisk, printRisk, refuseTooFew, riskRemark } from './risk.js';
import { LEAST_SHIFTED, ruleOf, shiftRule } from './shift.js';

const HELP = `
Both sources answer every example once; the answers are kept in a file, so a stopped run continues, and another target
needs no new answers. An answer is right when it equals the example's completion, white space around it aside; with
--match start it may go on afterwards, and counts as the longest of the choices that it starts with. Which signals are
worth having is decided by cross-validation; one that does not help stays off. The probability that the device's answer
is right, made of several signals, is tried too, and is taken where no plain thresholds come near it. So are the rates
at which the device and the server are right in each cluster, of the pool or of the questions themselves: what the
server gets wrong too is not worth sending. Clusters of the questions are kept in a file beside the configuration.

The examples must be held out: not those that the adapter was blended from.

Examples:
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --target-share 0.2
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --target-accuracy 0.9 --out device.calibrated.yaml
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --target-cost 0.5
  $ crayon calibrate --config edge.yaml --data held-out.jsonl --max-risk 0.1 --confidence 0.95
  $ crayon calibrate --config new-user.yaml --data ten-examples.jsonl --from edge.calibrated.yaml`;

const ACCURACY = 'at least this accuracy, 0 to 1, with the fewest queries to the server';
const RISK = 'at most this part of the answers that the device keeps is wrong, guaranteed, between 0 and 1';
const COST = 'at most this much for 1000 queries, in the currency of the prices';
const FROM = 'the rule of this calibrated YAML, of other users, shifted by a few examples of a new one';
const AS_PROBABILITY = 'only a cut of the probability of a right answer, which --from can carry to other users';
const QUESTION_CLUSTERS = "count rates in the pool's clusters alone, not in clusters of the questions either";
const PROMPT = "put each example as one user's message, or as a text to be continued";
const MATCH = 'right is an answer that equals the right one, or that starts with it';
const MEASURES = 'record the confidence by every measure, token margin and entropy too, and choose among them';

export function calibrateCommand(command: Command, terminal: Terminal): void {
  command.requiredOption('--config <file>', 'YAML of serve-edge, with a server');
  dataOptions(command, 'held-out examples: JSONL, JSON or CSV, or a YAML', 'test')
    .addOption(
      new Option('--target-share <share>', 'at most this part of the queries to the server, 0 to 1')
        .argParser(part)
        .conflicts(['targetAccuracy', 'targetCost', 'maxRisk']),
    )
    .addOption(
      new Option('--target-accuracy <accuracy>', ACCURACY).argParser(part).conflicts(['targetCost', 'maxRisk']),
    )
    .addOption(new Option('--target-cost <money>', COST).argParser(decimal(0, true)).conflicts(['maxRisk']))
    .addOption(new Option('--max-risk <rate>', RISK).argParser(within))
    .addOption(new Option('--confidence <level>', 'of --max-risk, between 0 and 1 (default: 0.95)').argParser(within))
    .addOption(new Option('--from <file>', FROM).conflicts(['targetShare', 'targetAccuracy', 'targetCost', 'maxRisk']))
    .option('--as-probability', AS_PROBABILITY, false)
    .option('--no-question-clusters', QUESTION_CLUSTERS)
    .option('--out <file>', 'where the configuration with thresholds goes (default: <config>.calibrated.yaml)')
    .option('--records <file>', 'where the answers are kept (default: <out>.records.jsonl)')
    .option('--max-tokens <n>', 'of one answer (default: twice the longest right answer, and 8)', wholeNumber(1))
    .addOption(choice('--prompt <form>', PROMPT, PROMPT_KINDS, 'chat'))
    .addOption(choice('--match <rule>', MATCH, MATCHES, 'exact'))
    .option('--all-measures', MEASURES, false)
    .option('--parallel <n>', 'examples at a time (default: engine.sequences)', wholeNumber(1))
    .option('--seed <n>', 'seed of folds and intervals', wholeNumber(0), 0)
    .option('--resamples <n>', 'resamples of the intervals', wholeNumber(100), 2000)
    .option('--fresh', 'ask again what an earlier run has asked', false)
    .option('--force', 'replace an existing --out', false)
    .addHelpText('after', HELP)
    .action((flags: CalibrateFlags) => runCalibrate(flags, terminal));
}

function part(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1)) {
    throw new InvalidArgumentError(`"${text}" is not a number from 0 to 1.`);
  }
  return value;
}

function within(text: string): number {
  const value = part(text);
  if (value > 0 && value < 1) return value;
  throw new InvalidArgumentError(`"${text}" is not a number between 0 and 1.`);
}

/**
 * @throws CrayonError `bad-option` without exactly one target, `config-invalid` without a server, `dataset-too-small`,
 *   `output-exists`, `checkpoint-mismatch`, what the engines throw
 */
export async function runCalibrate(
  flags: CalibrateFlags,
  terminal: Terminal,
  assemble = assembleEngines,
): Promise<void> {
  const risk = riskOf(flags);
  const target = risk === null && flags.from === undefined ? targetOf(flags) : null;
  const config = loadEdgeConfig(flags.config);
  const { server } = config;
  if (server === null) {
    throw new CrayonError('config-invalid', `${flags.config}: has no server, expected one to compare the device with`, {
      hint: 'Give it server.base_url and server.model.',
    });
  }
  const { inputPerMillion, outputPerMillion, currency } = server.prices ?? NO_PRICES;
  if (target?.kind === 'cost' && inputPerMillion + outputPerMillion === 0) {
    throw new CrayonError('config-invalid', `${flags.config}: has no server.prices, which --target-cost needs`, {
      hint: 'Give server.prices.input_per_million and output_per_million.',
    });
  }
  const rule = flags.from === undefined ? null : ruleOf(flags.from, config, flags.config);
  const out = flags.out ?? flags.config.replace(/(\.ya?ml)?$/i, '.calibrated.yaml');
  refuseExisting(out, flags.force);
  const loaded = flags.data.map((path) => loadDataset(path, flags));
  const examples = loaded.flatMap((set) => set.examples);
  if (examples.length === 0) throw noExamples(flags.data);
  if (risk !== null) refuseTooFew(examples.length, risk);
  const least = rule === null ? MIN_RECORDS : LEAST_SHIFTED;
  if (examples.length < least) {
    throw new CrayonError('dataset-too-small', `${examples.length} examples, expected at least ${least}`);
  }
  warnOfUsedExamples(config, examples, terminal);

  const digests = loaded.flatMap((set) => set.sources.map((source) => source.sha256));
  const { records: path = `${out}.records.jsonl`, fresh } = flags;
  const asked = askedConfig(config, rule);
  const log = new RecordLog(path, fingerprintOf(asked, flags, digests), { fresh });
  const questions = examples.map((example, i) => ({ ...example, id: `${i}:${example.id}` }));
  const edge = once(() => assemble(asked));
  let counted: CountedIn<CollectedRecord>;
  try {
    const found = await answered(questions, asked, flags, log, terminal, edge.get);
    // The guarantee asks that the answers which test it had no say in anything.
    const isFree = target !== null && flags.questionClusters && found.length >= MIN_RECORDS;
    const embedder = isFree ? (await edge.get()).embedder : null;
    counted = chooseClusters(found, questions, { embedder, form: flags.prompt, seed: flags.seed });
  } finally {
    await edge.close();
  }
  const { records } = counted;
  const { measure } = config.routing.confidence;
  const written = () => terminal.print(`Written to ${out}; the answers are in ${log.path}.`);
  if (rule !== null) {
    const files = { config: flags.config, out, from: flags.from!, recordsFile: log.path };
    shiftRule(rule, records, files, flags.force, terminal);
    return written();
  }
  // An earlier run's records may lack some measures: those that all have are tried.
  const others = CONFIDENCE_MEASURES.filter((other) => flags.allMeasures && other !== measure);
  const measures = [measure, ...others];
  if (target === null) {
    const found = calibrateRisk(records, measures, { ...risk!, seed: flags.seed });
    const { data: _, cuts: __, weights, rates, fitting, testing, ...plan } = found.plan;
    const thresholds = riskThresholds(found.plan, found);
    writeThresholds(flags.config, out, {
      thresholds: { ...thresholds },
      weights: weights === null ? null : weightKeys(weights),
      rates,
      serverRates: null,
      clusters: null,
      ...(plan.measure !== measure && { measure: plan.measure }),
      remarks: [riskRemark(found, risk!)],
      force: flags.force,
    });
    terminal.document({
      ...{
        out,
        recordsFile: log.path,
        currency,
        target: { kind: 'risk', ...risk },
        thresholds,
        correctness: weights,
        success: rates,
      },
      ...{ records: records.length, ...found, plan: { ...plan, fitting: fitting.length, testing: testing.length } },
    });
    printRisk(found, risk!, terminal);
    return written();
  }
  const datas = dataByMeasure(records, measures);
  const best = datas.length > 1 ? chooseMeasure(datas) : { measure, aurocs: {} };
  const found = calibrate(
    best.measure === measure ? records : records.map((record) => byMeasure(record, best.measure)),
    { target, seed: flags.seed, resamples: flags.resamples, measure: best.measure, asProbability: flags.asProbability },
  );
  const clusters = found.success === null ? null : counted.clusters;
  const clustersFile = clusters && out.replace(/(\.ya?ml)?$/i, '.clusters.safetensors');
  if (clustersFile !== null) writePromptClusters(clustersFile, clusters!);
  writeThresholds(flags.config, out, {
    thresholds: { ...found.thresholds },
    weights: found.correctness === null ? null : weightKeys(found.correctness),
    map: found.correctnessMap,
    rates: found.success,
    serverRates: found.serverSuccess,
    clusters: clustersFile,
    ...(best.measure !== measure && { measure: best.measure }),
    remarks: [remarkOf(found)],
    force: flags.force,
  });
  const { tried, taken } = counted;
  terminal.document({
    out,
    recordsFile: log.path,
    currency,
    clusters: { taken, tried, file: clustersFile },
    ...best,
    ...found,
  });
  printMeasures(best, measure, terminal);
  printClusters(counted, terminal);
  printCalibration(found, currency, terminal);
  for (const doubt of doubtsOf(found)) terminal.warn(doubt);
  written();
}

function targetOf({ targetShare, targetAccuracy, targetCost }: CalibrateFlags): Target {
  if (targetShare !== undefined) return { kind: 'share', value: targetShare };
  if (targetAccuracy !== undefined) return { kind: 'accuracy', value: targetAccuracy };
  if (targetCost !== undefined) return { kind: 'cost', value: targetCost };
  throw new CrayonError('bad-option', 'no target, expected --target-share, -accuracy, -cost, --max-risk or --from', {
    hint: 'For instance --target-share 0.2: a fifth of the queries may go to the server.',
  });
}

function riskOf({ maxRisk, confidence }: CalibrateFlags): RiskTarget | null {
  if (maxRisk !== undefined) return { risk: maxRisk, confidence: confidence ?? 0.95 };
  if (confidence === undefined) return null;
  throw new CrayonError('bad-option', '--confidence is of --max-risk, which is not given');
}
