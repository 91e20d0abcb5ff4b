/** The app over scripted engines, without a socket. */

import { Writable } from 'node:stream';
import { onTestFinished } from 'vitest';
import { Query } from '../../src/engine/types.js';
import type { JsonObject } from '../../src/files/json.js';
import { Router } from '../../src/routing/router.js';
import { createEdgeApp, type EdgeApp } from '../../src/serve/app.js';
import type { TextEmbedder } from '../../src/serve/base-model.js';
import { edgeConfig } from '../../src/serve/config.js';
import { type AdapterSet, fixedAdapters } from '../../src/serve/customizations/adapter-set.js';
import { createCustomizations } from '../../src/serve/customizations/customizations.js';
import type { BlendMaker, BlendOrder } from '../../src/serve/customizations/maker.js';
import type { Blend } from '../../src/serve/customizations/record.js';
import type { UserFiles } from '../../src/serve/customizations/user-files.js';
import { createCors } from '../../src/serve/http/cors.js';
import { createGuard } from '../../src/serve/http/guard.js';
import { createLog } from '../../src/serve/log.js';
import { createMetrics } from '../../src/serve/metrics.js';
import type { ModelFile } from '../../src/serve/model-file.js';
import type { ServeParts, ServerEngine } from '../../src/serve/parts.js';
import type { PageSource } from '../../src/serve/playground/routes.js';
import { createScriptedEngine, type ScriptedEngine, type ScriptedOptions } from '../helpers/scripted.js';

export const ADAPTER = { id: 'aaaa', path: '/secret/place/aaaa.lora.gguf', name: 'my-adapter' };

export interface TestAppOptions {
  device?: Partial<ScriptedOptions>;
  /** null: none; an engine as it is */
  server?: Partial<ScriptedOptions> | ServerEngine | null;
  /** keys of the YAML */
  config?: JsonObject;
  apiKey?: string | null;
  adapters?: AdapterSet;
  parts?: Partial<ServeParts>;
  maker?: BlendMaker;
  files?: UserFiles;
  keepAliveMs?: number;
  /** where the page's files come from; none by default */
  playground?: PageSource;
  logPrompts?: boolean;
  logLevel?: string;
  /** do not load yet */
  isLoading?: boolean;
}

export interface TestApp {
  app: EdgeApp;
  device: ScriptedEngine;
  /** the scripted one, where it is scripted */
  server: ScriptedEngine;
  parts: ServeParts;
  /** everything that was logged, line by line */
  log: string[];
  records(): Array<Record<string, unknown>>;
  ready(): void;
  get(path: string, init?: RequestInit): Promise<Response>;
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
}

/** Times and ids are fixed, so that answers are exact. */
export function testApp(options: TestAppOptions = {}): TestApp {
  const { config: yaml = {}, apiKey = null, isLoading = false, keepAliveMs = 15_000 } = options;
  const device = createScriptedEngine({ name: 'edge', answers: 'one two three', ...options.device });
  const isEngine = (value: object): value is ServerEngine => 'generate' in value;
  const given = options.server === undefined ? {} : options.server;
  const server =
    given === null
      ? null
      : isEngine(given)
        ? given
        : createScriptedEngine({ name: 'big', answers: 'from afar', ...given });
  const config = edgeConfig({ model: 'base', ...yaml }, { where: 'test', folder: '.' });
  const log: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      log.push(chunk.toString('utf8'));
      done();
    },
  });
  let count = 0;
  const app = createEdgeApp({
    guard: createGuard({ apiKey, host: config.host, allowedHosts: config.allowedHosts }),
    cors: createCors(config.allowedOrigins),
    limits: config.limits,
    routing: config.routing,
    choose: config.choose,
    keepExamples: config.keepExamples,
    playground: options.playground ?? null,
    log: createLog({ level: options.logLevel ?? 'debug', stream, pretty: false }),
    logPrompts: options.logPrompts ?? false,
    metrics: createMetrics(),
    keepAliveMs,
    now: () => 1_700_000_000_000,
    newId: () => `req_${++count}`,
  });
  const maker = options.maker ?? fakeMaker().maker;
  const parts: ServeParts = {
    base: 'edge',
    device,
    server,
    router: new Router({ device, server, config: config.routing, scope: options.parts?.scope ?? null }),
    adapters: options.adapters ?? fixedAdapters([ADAPTER]),
    scope: null,
    embedder: null,
    customizations: createCustomizations(maker, config.limits, options.files, () => 1_700_000_000_000),
    close: async () => {},
    ...options.parts,
  };
  if (!isLoading) app.ready(parts);
  const get = (path: string, init: RequestInit = {}) =>
    app.handle(new Request(`http://localhost${path}`, withHost(init)));
  return {
    app,
    device,
    server: server as ScriptedEngine,
    parts,
    log,
    records: () => log.map((line) => JSON.parse(line)),
    ready: () => app.ready(parts),
    get,
    post: (path, body, init = {}) =>
      get(path, {
        method: 'POST',
        body: typeof body === 'string' ? body : JSON.stringify(body),
        ...init,
        headers: { 'content-type': 'application/json', ...init.headers },
      }),
  };
}

function withHost(init: RequestInit): RequestInit {
  return { ...init, headers: { host: 'localhost:8080', ...init.headers } };
}

/** A server section for configurations whose mode asks for one. */
export const SERVER = { base_url: 'http://127.0.0.1:1/v1', model: 'big' };

/** A text embedder made of what embeds one text. */
export function textEmbedder(embed: (text: string) => { vector: Float32Array; tokens: number }): TextEmbedder {
  return { d: 2, kind: 'test', embed, embedAside: async (list) => list.map(({ text }) => embed(text)) };
}

/** What a served GGUF says of itself. */
export const edgeModelFile: ModelFile = {
  ...{ sizeBytes: 84_000_000, digest: 'd'.repeat(64), family: 'llama', parameters: 134_515_008, quantization: 'Q4_1' },
  metadata: { 'general.architecture': 'llama', 'llama.block_count': 30, 'llama.context_length': 8192 },
};

export const textQuery = (text: string) => new Query({ kind: 'text', text });

export const user = (content: string) => [{ role: 'user', content }];

export interface FakeMaker {
  maker: BlendMaker;
  orders: BlendOrder[];
  /** ids of the blends whose files were deleted */
  removed: string[];
}

/** Blends nothing: the i-th blend is adapter `blend-<i>`. */
export function fakeMaker(before: (order: BlendOrder) => void | Promise<void> = () => {}): FakeMaker {
  const orders: BlendOrder[] = [];
  const removed: string[] = [];
  let served = 0;
  const maker: BlendMaker = {
    pool: 'a'.repeat(64),
    form: 'scales',
    carry: () => ({ why: 'it was made with another pool than the one that is served' }),
    make: async (order, signal) => {
      await before(order);
      orders.push(order);
      const blend: Blend = {
        form: order.form ?? 'scales',
        coefficients: order.coefficients ?? [0.75, 0.25],
        similarities: order.examples === null ? null : [0.9, 0.1],
        coverage: null,
        examples: order.examples?.length ?? 0,
        notices: [],
        ms: 12,
        choice: null,
        profile: null,
        ...(order.shown && { shown: order.shown }),
      };
      return maker.restore(blend, signal);
    },
    restore: async (blend) => {
      const id = `blend-${served++}`;
      let holders = 0;
      const hold = () => {
        holders++;
        return () => {
          if (--holders === 0) removed.push(id);
        };
      };
      const adapters = fixedAdapters([{ id, path: `/secret/place/${id}.lora.gguf`, name: id }]);
      return { ...blend, adapters, scope: null, hold, remove: hold() };
    },
    close: () => {},
  };
  return { maker, orders, removed };
}

/** A promise and the functions that settle it. */
export function gate(): { opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** Waits until `check` holds; fails after a while. */
export async function until(check: () => boolean, what: string, ms = 5000): Promise<void> {
  const end = performance.now() + ms;
  while (!check()) {
    if (performance.now() > end) throw new Error(`waited ${ms} ms for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The data of each event of a stream that has ended. */
export function sseData(text: string): string[] {
  return text
    .split('\n\n')
    .filter((event) => event.startsWith('data: '))
    .map((event) => event.slice('data: '.length));
}

/** Closes something when the test is over. */
export function closing<T>(value: T, close: (value: T) => unknown): T {
  onTestFinished(async () => {
    await close(value);
  });
  return value;
}
