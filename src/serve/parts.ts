/** What a server is made of once its model is loaded; assemble.ts makes it from a configuration, tests by hand. */

import type { ServerState } from '../engine/server/options.js';
import type { AdapterScale, EdgeEngine, Engine, Query } from '../engine/types.js';
import type { Router } from '../routing/router.js';
import type { ScopeFunction } from '../routing/signals/scope.js';
import type { AdapterSet } from './customizations/adapter-set.js';
import type { Customizations } from './customizations/customizations.js';
import type { TextEmbedder } from './embedder.js';

/** The engine of the server LLM, with what it says of itself where it does. */
export type ServerEngine = Engine & { state?: () => ServerState };

export interface ServeParts {
  /** what the base model with the adapter it was started with is called */
  base: string;
  edge: EdgeEngine;
  server: ServerEngine | null;
  router: Router;
  adapters: AdapterSet;
  /** scope scores of the adapter that the server was started with; null where no examples are known */
  scope: ScopeFunction | null;
  /** null where the model's embedding cannot be read */
  embedder: TextEmbedder | null;
  /** null without a pool */
  customizations: Customizations | null;
  close(): Promise<void>;
}

/** What a model name stands for. */
export interface ServedModel {
  name: string;
  adapters(query: Query): AdapterScale[];
  scope: ScopeFunction | null;
  /** to be called when the request has ended */
  release(): void;
}
