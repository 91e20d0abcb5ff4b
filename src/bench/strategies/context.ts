/** What a strategy has to work with, and what it makes of it. */

import type { Answerer, LoadedModel } from '../answers.js';
import type { BenchConfig } from '../config.js';
import type { PoolStore } from '../pools.js';
import type { BenchRunDirectory } from '../run-directory.js';

export interface BenchContext {
  config: BenchConfig;
  base: LoadedModel;
  /** opened when it is first asked for */
  server: () => LoadedModel;
  pools: PoolStore;
  directory: BenchRunDirectory;
  signal: AbortSignal | undefined;
}

export interface Customised {
  answerer: Answerer;
  /** from the examples to something that can answer */
  ms: number;
  /** what leaves the device for it */
  bytesToServer: number;
  /** numbers of the adapters that are on the device */
  parameters: number;
  coefficients?: number[];
}
