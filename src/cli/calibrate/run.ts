/** A calibration: its inputs checked, both parties asked, and what is wanted made of their answers. */

import { CrayonError } from '../../core/errors.js';
import { loadDataset, noExamples } from '../../data/dataset.js';
import { RecordLog } from '../../files/resume.js';
import type { CollectedRecord } from '../../routing/calibrate/collect.js';
import { MIN_RECORDS } from '../../routing/calibrate/data.js';
import type { RiskTarget } from '../../routing/calibrate/risk.js';
import type { Target } from '../../routing/calibrate/rule.js';
import { CONFIDENCE_MEASURES } from '../../routing/signals/signal.js';
import { assembleEngines } from '../../serve/assemble.js';
import { loadEdgeConfig } from '../../serve/config.js';
import { refuseExisting } from '../../serve/config-thresholds.js';
import type { Terminal } from '../terminal.js';
import { answered, askedConfig, fingerprintOf, NO_PRICES, once, warnOfUsedExamples } from './answers.js';
import { type CountedIn, chooseClusters } from './clusters.js';
import type { CalibrateFlags, CalibrationFiles } from './flags.js';
import { guaranteeRisk, refuseTooFew } from './risk.js';
import { LEAST_SHIFTED, ruleOf, shiftRule } from './shift.js';
import { meetTarget } from './target.js';

/** Everything that can be refused before anybody is asked. */
function readInputs(flags: CalibrateFlags) {
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

  const digests = loaded.flatMap((set) => set.sources.map((source) => source.sha256));
  return { risk, target, rule, config, currency, out, examples, digests };
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
  const { risk, target, rule, config, currency, out, examples, digests } = readInputs(flags);
  warnOfUsedExamples(config, examples, terminal);
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
  const { measure } = config.routing.confidence;
  // An earlier run's records may lack some measures: those that all have are tried.
  const measures = [measure, ...CONFIDENCE_MEASURES.filter((other) => flags.allMeasures && other !== measure)];
  const files: CalibrationFiles = { config: flags.config, out, recordsFile: log.path, force: flags.force };
  const how = { measures, currency, seed: flags.seed };
  if (rule !== null) shiftRule(rule, counted.records, { ...files, from: flags.from! }, terminal);
  else if (target === null) guaranteeRisk(counted.records, { ...how, ...risk! }, files, terminal);
  else meetTarget(counted, { ...how, ...flags, target }, files, terminal);
  terminal.print(`Written to ${out}; the answers are in ${log.path}.`);
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
