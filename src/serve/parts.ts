/** What a server is made of: its settings, and its parts once the model is loaded, which assemble.ts makes, and tests by hand. */

import type { ServerState } from '../engine/server/options.js';
import type { DeviceEngine, Engine } from '../engine/types.js';
import type { Pool } from '../pool/pool.js';
import type { Router } from '../routing/router.js';
import type { ScopeFunction } from '../routing/signals/scope.js';
import type { ClusterFunction } from '../routing/signals/success.js';
import type { TextEmbedder } from './base-model.js';
import type { EdgeConfig } from './config.js';
import type { AdapterSet } from './customizations/adapter-set.js';
import type { Customizations } from './customizations/customizations.js';
import type { Cors } from './http/cors.js';
import type { Guard } from './http/guard.js';
import type { Logger } from './log.js';
import type { Metrics } from './metrics.js';
import type { ModelFile } from './model-file.js';
import type { PageSource } from './playground/routes.js';

/** What the app is told apart from its parts: limits, log, clock. */
export interface AppSettings {
  guard: Guard;
  cors: Cors;
  limits: EdgeConfig['limits'];
  routing: Pick<EdgeConfig['routing'], 'mode' | 'modePerRequest'>;
  /** Whether customisations are chosen by evidence where the request does not say. */
  choose: EdgeConfig['choose'];
  /** The page at `/`; null or absent for none. */
  playground?: PageSource | null;
  log: Logger;
  /** Whether the examples of customisations are kept with them. */
  keepExamples: EdgeConfig['keepExamples'];
  /** Whether prompts may be logged, where the mode allows. */
  logPrompts: boolean;
  metrics: Metrics;
  /** Silence after which a stream gets a comment. */
  keepAliveMs: number;
  /** Milliseconds since 1970. */
  now: () => number;
  newId: () => string;
}

/** The engine of the server LLM, with what it says of itself where it does. */
export type ServerEngine = Engine & { state?: () => ServerState };

export interface ServeParts {
  /** What the base model with the adapter it was started with is called. */
  base: string;
  device: DeviceEngine;
  server: ServerEngine | null;
  router: Router;
  adapters: AdapterSet;
  /** Scope scores of the adapter that the server was started with; null where no examples are known. */
  scope: ScopeFunction | null;
  /** A query's gate over the pool's clusters; null or absent without a pool. */
  clusters?: ClusterFunction | null;
  /** Null or absent without one. */
  pool?: Pick<Pool, 'manifest'> | null;
  /** Null where the model's embedding cannot be read. */
  embedder: TextEmbedder | null;
  /** Null without a pool. */
  customizations: Customizations | null;
  /** What the model's file says of itself; absent where there is none to read. */
  file?: ModelFile;
  close(): Promise<void>;
}
