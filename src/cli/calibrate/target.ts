/** `crayon calibrate --target-...`: the thresholds that gain most for a share, an accuracy or a cost, and what they are worth. */

import { writePromptClusters } from '../../blend/prompt-clusters.js';
import { calibrate } from '../../routing/calibrate/calibrate.js';
import type { CollectedRecord } from '../../routing/calibrate/collect.js';
import { byMeasure, dataByMeasure } from '../../routing/calibrate/data.js';
import { chooseMeasure } from '../../routing/calibrate/probability.js';
import type { Target } from '../../routing/calibrate/rule.js';
import type { ConfidenceMeasure } from '../../routing/signals/signal.js';
import { writeThresholds } from '../../serve/config-thresholds.js';
import type { Terminal } from '../terminal.js';
import { type CountedIn, printClusters } from './clusters.js';
import type { CalibrateFlags, CalibrationFiles } from './flags.js';
import { doubtsOf, printCalibration, printMeasures, remarkOf, weightKeys } from './report.js';

interface TargetOptions extends Pick<CalibrateFlags, 'seed' | 'resamples' | 'asProbability'> {
  target: Target;
  /** of the confidence that may be chosen, the configured one first */
  measures: readonly ConfidenceMeasure[];
  currency: string;
}

/** @throws CrayonError `write-failed`, `disk-full` */
export function meetTarget(
  counted: CountedIn<CollectedRecord>,
  { measures, currency, ...options }: TargetOptions,
  { config, out, recordsFile, force }: CalibrationFiles,
  terminal: Terminal,
): void {
  const { records, tried, taken } = counted;
  const configured = measures[0]!;
  const datas = dataByMeasure(records, measures);
  const best = datas.length > 1 ? chooseMeasure(datas) : { measure: configured, aurocs: {} };
  const { measure } = best;
  const { target, seed, resamples, asProbability } = options;
  const found = calibrate(measure === configured ? records : records.map((record) => byMeasure(record, measure)), {
    ...{ target, seed, resamples, measure, asProbability },
  });
  const clusters = found.success === null ? null : counted.clusters;
  const clustersFile = clusters && out.replace(/(\.ya?ml)?$/i, '.clusters.safetensors');
  if (clustersFile !== null) writePromptClusters(clustersFile, clusters!);
  writeThresholds(config, out, {
    thresholds: { ...found.thresholds },
    weights: found.correctness === null ? null : weightKeys(found.correctness),
    map: found.correctnessMap,
    rates: found.success,
    serverRates: found.serverSuccess,
    clusters: clustersFile,
    ...(measure !== configured && { measure }),
    remarks: [remarkOf(found)],
    force,
  });
  const counts = { taken, tried, file: clustersFile };
  terminal.document({ out, recordsFile, currency, clusters: counts, ...best, ...found });
  printMeasures(best, configured, terminal);
  printClusters(counted, terminal);
  printCalibration(found, currency, terminal);
  for (const doubt of doubtsOf(found)) terminal.warn(doubt);
}
