/** The flags of `crayon calibrate`, read, and what its outcomes are written to. */

import type { Match } from '../../data/judge.js';
import type { PROMPT_KINDS } from '../../engine/types.js';
import type { DataFlags } from '../options.js';

export interface CalibrateFlags extends DataFlags {
  config: string;
  targetShare?: number;
  targetAccuracy?: number;
  targetCost?: number;
  maxRisk?: number;
  confidence?: number;
  from?: string;
  asProbability?: boolean;
  questionClusters: boolean;
  out?: string;
  records?: string;
  maxTokens?: number;
  prompt: (typeof PROMPT_KINDS)[number];
  match: Match;
  allMeasures?: boolean;
  parallel?: number;
  resamples: number;
  fresh: boolean;
  force: boolean;
}

/** What an outcome is written to and made of. */
export interface CalibrationFiles {
  /** of the edge, as it is */
  config: string;
  out: string;
  recordsFile: string;
  force: boolean;
}
