/** A configuration to the parts of a server: engines, adapters, scope, router. `calibrate` and `route` use it too. */

import { basename, join } from 'node:path';
import { checkAdapterBase } from '../blend/adapter-record.js';
import { type ClusterGateParts, clusterGate } from '../blend/cluster-gate.js';
import { EXAMPLE_LIMITS } from '../blend/coefficients.js';
import { readPromptClusters } from '../blend/prompt-clusters.js';
import { CrayonError, messageOf } from '../core/errors.js';
import { gate, keepFew } from '../core/gate.js';
import { warn } from '../core/warning.js';
import { loadDataset } from '../data/dataset.js';
import { type LlamaCppOptions, openLlamaCppEngine } from '../engine/llama/engine.js';
import { budgetJournal } from '../engine/server/budget-journal.js';
import { warnOfChanges } from '../engine/server/dialect.js';
import { openOpenAiEngine, type ServerEvent } from '../engine/server/engine.js';
import type { ServerConfig } from '../engine/server/options.js';
import type { DeviceEngine } from '../engine/types.js';
import { ensureDirectory } from '../files/atomic.js';
import { sha256, sha256File } from '../files/digest.js';
import { fileSize } from '../files/io.js';
import { cachedAdapterGguf, cachedAdapterGgufs, defaultCacheDir } from '../gguf/cache.js';
import { ggufString } from '../gguf/format.js';
import { GgufFile } from '../gguf/read.js';
import { formText } from '../hf/prompt-form.js';
import { refuseOtherBase } from '../pool/embed/space.js';
import { membersOf, openPool, type Pool } from '../pool/pool.js';
import { type PoolPlace, poolPlace } from '../remote/place.js';
import { Router } from '../routing/router.js';
import type { ScopeFunction } from '../routing/signals/scope.js';
import type { ClusterFunction } from '../routing/signals/success.js';
import {
  type BaseModel,
  type EmbeddedTokens,
  embeddedTokens,
  embedPrompts,
  openBaseModel,
  openEmbedder,
  scopeOf,
  type TextEmbedder,
  warmUp,
} from './base-model.js';

import type { EdgeConfig } from './config.js';
import { fixedAdapters, gatedAdapters, type NamedAdapter } from './customizations/adapter-set.js';
import { type Customizations, createCustomizations } from './customizations/customizations.js';
import { createBlendMaker, type MakerParts } from './customizations/maker.js';
import { defaultStateDir, openUserFiles, type UserFiles } from './customizations/user-files.js';
import { type Environment, fromEnvironment, serverKey } from './keys.js';
import { type ModelFile, modelFile } from './model-file.js';
import type { ServeParts, ServerEngine } from './parts.js';
import { servedForm } from './prompt-form.js';

export interface AssembleOptions {
  /** Where keys are looked up. */
  env?: Environment;
  /** Called before each step that may take a while. */
  onStep?: (step: string) => void;
  onServerEvent?: (event: ServerEvent) => void;
  /** The device's engine, where it is not to be llama.cpp: for tests. */
  openDevice?: (options: LlamaCppOptions) => Promise<DeviceEngine & { threads?: number }>;
  /** Without POST /v1/customizations: for commands that serve nobody. */
  withoutCustomizations?: boolean;
}

export interface EdgeAssembly extends ServeParts {
  pool: Pool | null;
  /** For the start-up summary: what is used, by name. */
  facts: { model: string; adapter: string; promptForm: string; server: string; threads: number | null };
}

/** Makes the engines that a configuration names, for commands that serve nobody; tests give scripted ones. */
export type Assemble = (
  config: EdgeConfig,
) => Promise<Pick<ServeParts, 'device' | 'server' | 'scope' | 'clusters' | 'embedder' | 'adapters' | 'close'>>;

export const assembleEngines: Assemble = (config) =>
  assembleEdge(config, { withoutCustomizations: true, onServerEvent: warnOfChanges('The server LLM') });

/**
 * Opens everything that a configuration names. The caller closes the result.
 *
 * @throws CrayonError what the parts throw; what was opened is closed again
 *
 * @example
 * const parts = await assembleEdge(loadEdgeConfig('configs/edge.yaml'));
 * for await (const event of parts.router.route(request)) ...
 */
export async function assembleEdge(config: EdgeConfig, options: AssembleOptions = {}): Promise<EdgeAssembly> {
  const { env = process.env, onStep = () => {}, openDevice = openLlamaCppEngine } = options;
  const open: Array<() => unknown> = [];
  const close = async () => {
    for (const one of open.splice(0).reverse()) await one();
  };
  try {
    const cacheDir = config.cacheDir ?? defaultCacheDir();
    const server = config.server && openServer(config.server, cacheDir, env, options.onServerEvent);
    if (server !== null) open.push(() => server.close());
    onStep('model');
    const base = openBaseModel(config.model, { cacheDir, type: config.engine.type });
    open.push(() => base.close());
    const place = config.pool === null ? null : await edgePool(config.pool, config, cacheDir, env);
    const pool = place && openPool(place.dir);
    onStep('adapters');
    checkAdapter(config, base);
    const withBlends = pool !== null && options.withoutCustomizations !== true;
    const usesPool = withBlends || config.gate === 'per-query';
    if (pool !== null && usesPool) refuseOtherBase(pool, base.source(), config.anyBase); // before its adapters do not fit
    if (usesPool) await place?.members(); // any of them may be asked for
    const members = pool !== null && usesPool ? poolMembers(pool, config.model, cacheDir) : [];
    const named = config.gate === 'per-query' ? members : namedAdapter(config, cacheDir);
    onStep('engine');
    const name = config.name ?? base.name;
    const { context: contextTokens, sequences, threads, gpu, kvType: cacheType, stackAdapters } = config.engine;
    const { queue } = config.limits;
    const { file, template } = readHeader(base.gguf);
    const { form, chatTemplate, system, isKnown } = servedForm(config, template, pool);
    const prompts = { chatTemplate, system };
    const device = await openDevice({
      model: base.gguf,
      name,
      contextTokens,
      sequences,
      threads,
      gpu,
      queue,
      cacheDir,
      adapters: named.flatMap(({ path }) => (path === config.adapter ? [path] : [])), // those of the cache are ours
      endTokens: base.endTokens,
      cacheType,
      memoryBytes: config.memoryMib && 2 ** 20 * config.memoryMib,
      adapterBytes: sizeOf([...named, ...members]),
      stacked: stackAdapters ? members : [],
      ...prompts,
    });
    open.push(() => device.close());
    await warmUp(
      device,
      named.map(({ id, path }) => ({ id, path, scale: 1 / named.length })),
    );
    const embedder = embedderFor(config, base, pool, embeddedTokens(device, form));
    const isGated = config.gate === 'per-query' && pool !== null && embedder !== null;
    const adapters = isGated
      ? gatedAdapters(
          named,
          {
            centroids: pool.centroids,
            weigh: (cosines) =>
              keepFew(gate(cosines, pool.manifest.tau), { topK: config.gateTopK, dropBelow: config.gateDropBelow }),
          },
          embedder,
        )
      : fixedAdapters(named);
    const scope = await examplesScope(config, embedder);
    const clusters = embedder && clustersOf(pool, embedder, config);
    const customizations =
      withBlends && embedder !== null
        ? await customizationsOf(config, { pool, members, embedder, base: base.path, device }, env)
        : null;
    open.push(() => customizations?.close());
    return {
      base: name,
      device,
      server,
      router: new Router({
        device,
        server,
        config: config.routing,
        scope,
        clusters,
        adapters: (query) => adapters.choose(query),
      }),
      adapters,
      scope,
      clusters,
      embedder,
      customizations,
      file,
      pool,
      facts: {
        model: config.model,
        adapter:
          config.gate === 'per-query'
            ? `${named.length} of ${config.pool}, weighed for each prompt`
            : (config.adapter ?? 'none'),
        promptForm: `${formText(form)}${isKnown ? '' : '; the adapter does not say, and prompt_form chooses'}`,
        server: config.server === null ? 'none' : `${config.server.model} at ${config.server.baseUrl}`,
        threads: device.threads ?? null,
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The pool that a configuration names, of which the members are still to be fetched where it is elsewhere. */
async function edgePool(pool: string, config: EdgeConfig, cacheDir: string, env: Environment): Promise<PoolPlace> {
  const { poolKeyEnv: variable, poolCacheMib } = config;
  const key = variable === null ? null : fromEnvironment(variable, env, 'pool_key_env');
  return await poolPlace(pool, {
    key,
    cacheDir,
    cacheBytes: poolCacheMib === null ? undefined : 2 ** 20 * poolCacheMib,
  });
}

function readHeader(gguf: string): { file: ModelFile; template: string | null } {
  const opened = GgufFile.open(gguf);
  try {
    return { file: modelFile(opened), template: ggufString(opened, 'tokenizer.chat_template') ?? null };
  } finally {
    opened.close();
  }
}

function openServer(
  server: ServerConfig,
  folder: string,
  env: Environment,
  onEvent?: (event: ServerEvent) => void,
): ServerEngine {
  const { apiKeyEnv: _, ...options } = server;
  const { budget, baseUrl, model } = options;
  let budgetStore = null;
  // Only a budget needs a memory; its file is the endpoint's and model's own.
  if (budget.tokensPerDay !== null || budget.moneyPerDay !== null) {
    ensureDirectory(folder);
    budgetStore = budgetJournal(join(folder, `budget-${sha256(`${baseUrl} ${model}`).slice(0, 16)}.json`));
  }
  return openOpenAiEngine({ ...options, apiKey: serverKey(server, env), budgetStore, onEvent });
}

/** Customisations, with those that were kept. */
async function customizationsOf(
  { blend, dropBelow, gateTopK, limits, stateDir, pool: place }: EdgeConfig,
  parts: Omit<MakerParts, 'form' | 'dropBelow' | 'gateTopK'>,
  env: Environment,
): Promise<Customizations> {
  const files = stateDir === false ? null : userFiles(stateDir, place!, parts.base, env);
  const maker = createBlendMaker({ ...parts, form: blend === 'merged' ? 'cat' : 'scales', dropBelow, gateTopK });
  const customizations = createCustomizations(maker, limits, files);
  await customizations.restore();
  return customizations;
}

/** A directory that the configuration names is needed; the usual one may be another server's, or not to be written. */
function userFiles(stateDir: string | null, pool: string, base: string, env: Environment): UserFiles | null {
  if (stateDir !== null) return openUserFiles(stateDir);
  try {
    return openUserFiles(defaultStateDir(pool, base, env));
  } catch (error) {
    warn(`${messageOf(error)}: customisations will be gone when this server ends. Name a directory: state_dir.`);
    return null;
  }
}

/** A pool's adapters as files that llama.cpp reads, each known by its digest; made once, then found in the cache. */
function poolMembers(pool: Pool, model: string, cacheDir: string): NamedAdapter[] {
  const dirs = membersOf(pool.manifest).map(({ dir }) => dir);
  const found = cachedAdapterGgufs(
    dirs.map((dir) => join(pool.dir, dir)),
    model,
    { cacheDir },
  );
  return found.map((one, n) => ({ ...one, name: `${basename(pool.dir)}/${dirs[n]}` }));
}

/** Of the files, each counted once. */
const sizeOf = (adapters: readonly NamedAdapter[]): number =>
  [...new Set(adapters.map(({ path }) => path))].reduce((sum, path) => sum + fileSize(path), 0);

/** The configured adapter likewise, where there is one. */
function namedAdapter({ adapter, model }: EdgeConfig, cacheDir: string): NamedAdapter[] {
  if (adapter === null) return [];
  const name = basename(adapter);
  if (/\.gguf$/i.test(adapter)) return [{ id: sha256File(adapter).slice(0, 16), path: adapter, name }];
  return [{ ...cachedAdapterGguf(adapter, model, { cacheDir }), name }];
}

/** A GGUF that llama.cpp runs and crayon does not compute with has no digests: nothing is known of it then. */
function checkAdapter({ adapter, anyBase }: EdgeConfig, base: BaseModel): void {
  if (adapter === null) return;
  let source: ReturnType<BaseModel['source']>;
  try {
    source = base.source();
  } catch (error) {
    if (error instanceof CrayonError) return;
    throw error;
  }
  checkAdapterBase(adapter, source, anyBase);
}

/** The embedding is needed by some parts only; where none of them is used, a model that has none may still be served. */
function embedderFor(
  config: EdgeConfig,
  base: BaseModel,
  pool: Pool | null,
  tokens: EmbeddedTokens,
): TextEmbedder | null {
  try {
    return openEmbedder(base, pool, tokens, config.anyBase);
  } catch (error) {
    if (pool !== null || config.examples !== null || !(error instanceof CrayonError)) throw error;
    return null;
  }
}

/**
 * Of a file of clusters, else of the pool's; null where there are none.
 *
 * @throws CrayonError `config-invalid` for rates that are of other clusters
 */
function clustersOf(pool: Pool | null, embedder: TextEmbedder, config: EdgeConfig): ClusterFunction | null {
  const named = config.clusters === null ? null : namedClusters(config.clusters, embedder);
  const from: (ClusterGateParts & { place: string }) | null =
    named ?? (pool && { ...pool, place: `the clusters of ${pool.dir}` });
  if (from === null) return null;
  const { success, serverSuccess } = config.routing;
  const wanted = from.manifest.N + 1;
  for (const [key, rates] of Object.entries({ success, server_success: serverSuccess })) {
    if (rates === null || rates.length === wanted) continue;
    throw new CrayonError(
      'config-invalid',
      `routing.${key} has ${rates.length} rates, expected ${wanted}: those of ${from.place}, and that of strays`,
      { hint: 'Rates are of the clusters that they were counted in: run `crayon calibrate` again with these.' },
    );
  }
  const gate = clusterGate(from);
  return (query) => gate(query.vector(embedder));
}

function namedClusters(path: string, { kind, d }: TextEmbedder) {
  const clusters = readPromptClusters(path);
  const { embedding } = clusters;
  if (embedding.kind !== kind || embedding.d !== d) {
    throw new CrayonError(
      'config-invalid',
      `${path}: its clusters are of ${embedding.kind} in ${embedding.d} dimensions, expected ${kind} in ${d}, as prompts are embedded here`,
      { hint: 'Run `crayon calibrate` again with this model and pool.' },
    );
  }
  return { ...clusters, place: `the clusters of ${path}` };
}

async function examplesScope(
  { examples: path }: EdgeConfig,
  embedder: TextEmbedder | null,
): Promise<ScopeFunction | null> {
  if (path === null || embedder === null) return null;
  const { examples } = loadDataset(path);
  const { min } = EXAMPLE_LIMITS; // more than a blend takes do no harm here
  if (examples.length < min) {
    throw new CrayonError('examples-count', `${path} has ${examples.length} examples, expected at least ${min}`, {
      hint: 'Scope is measured against them: a few more of the task are needed.',
    });
  }
  return scopeOf(await embedPrompts(examples, embedder), embedder);
}
