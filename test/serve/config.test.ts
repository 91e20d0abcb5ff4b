import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/files/json.js';
import { CORRECTNESS_FEATURES } from '../../src/routing/signals/correctness.js';
import { EDGE_SCHEMA, type EdgeOverrides, edgeConfig, loadEdgeConfig } from '../../src/serve/config.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { ROOT } from '../helpers/fixtures.js';

const read = (yaml: unknown, overrides?: JsonObject) =>
  edgeConfig(yaml, { where: 'edge.yaml', folder: '/conf', ...(overrides === undefined ? {} : { overrides }) });
const SERVER = { base_url: 'http://127.0.0.1:8000/v1/', model: 'big' };

describe('the configuration of serve-edge', () => {
  it('fills in every default', () => {
    expect(read({ model: 'm' })).toEqual({
      model: '/conf/m',
      name: null,
      adapter: null,
      promptForm: null,
      anyBase: false,
      pool: null,
      poolKeyEnv: null,
      poolCacheMib: null,
      gate: 'fixed',
      examples: null,
      clusters: null,
      cacheDir: null,
      host: '127.0.0.1',
      port: 8080,
      apiKeyEnv: null,
      apiKeyFile: null,
      allowedHosts: [],
      allowedOrigins: [],
      playground: null,
      limits: {
        ...{ bodyBytes: 2 ** 20, messages: 256, prompts: 64, echoTokens: 65_536, stops: 16, maxTokens: 1024 },
        isMaxTokensGiven: false,
        ...{ requestMs: 300_000, queue: 64, customizations: 1000, mergedCustomizations: 16, chooseSeconds: 120 },
      },
      choose: false,
      ...{ blend: 'scales', dropBelow: 0.1, gateTopK: null, gateDropBelow: 0, stateDir: null, keepExamples: false },
      memoryMib: null,
      engine: {
        threads: 'auto',
        context: null,
        sequences: 4,
        kvType: 'F16',
        stackAdapters: true,
        type: 'F16',
        gpu: 'auto',
      },
      routing: {
        mode: 'prefer_on_device',
        modePerRequest: true,
        thresholds: {
          ...{ scope: null, success: null, advantage: null, complexity: null },
          ...{ confidence: null, correctness: null, gain: null },
        },
        success: null,
        serverSuccess: null,
        serverShift: 0,
        correctnessMap: null,
        correctness: null,
        correctnessShift: 0,
        confidence: { measure: 'mean-logprob', tokens: 16 },
        load: true,
        minFreeBytes: 0,
      },
      server: null,
      log: { level: 'info', prompts: false },
    });
    expect(read({ model: 'm', server: SERVER }).server).toEqual({
      baseUrl: 'http://127.0.0.1:8000/v1',
      model: 'big',
      apiKeyEnv: null,
      prices: null,
      timeouts: { connectMs: 5000, firstByteMs: 60_000, idleMs: 30_000, totalMs: 300_000 },
      retries: 2,
      concurrency: 8,
      queue: 64,
      budget: { tokensPerDay: null, moneyPerDay: null },
      circuit: { failures: 5, halfOpenAfterMs: 30_000 },
    });
  });

  it('reads the example, whose values are the defaults', () => {
    const example = loadEdgeConfig(join(ROOT, 'configs', 'edge.yaml'));
    const defaults = read({ model: 'm' });
    const keys = [
      'engine',
      'routing',
      'log',
      'host',
      'port',
      'blend',
      'dropBelow',
      'gateTopK',
      'gateDropBelow',
      'stateDir',
      'keepExamples',
    ] as const;
    expect(example.limits).toEqual({ ...defaults.limits, isMaxTokensGiven: true });
    expect(example).toMatchObject(Object.fromEntries(keys.map((key) => [key, defaults[key]])));
    expect(example.model).toBe(join(ROOT, 'models', 'crayon-edge'));
    expect(example.examples).toBe(join(ROOT, 'suite', 'examples', 'bank.jsonl'));
  });

  it('reads the weights of a right answer`s probability, absent ones as none', () => {
    const weights = { intercept: -2, probability: 5.5, log_scope: 0.25, complexity: -0.1 };
    const { routing } = read({
      model: 'm',
      examples: 'e.jsonl',
      routing: { thresholds: { correctness: 0 }, correctness: weights },
    });
    expect(routing.thresholds.correctness).toBe(0);
    expect(routing.correctness).toEqual({ intercept: -2, probability: 5.5, logScope: 0.25, complexity: -0.1 });
    expect(read({ model: 'm', routing: { correctness: { scope: 1 } } }).routing).toMatchObject({
      thresholds: { correctness: null },
      correctness: { intercept: 0, scope: 1 },
    });
  });

  it('has a weight for every feature that the probability may be made of', () => {
    const keys = Object.keys(EDGE_SCHEMA.shape.routing.unwrap().shape.correctness.unwrap().unwrap().shape);
    const spelt = CORRECTNESS_FEATURES.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
    expect(keys).toEqual(['intercept', ...spelt]);
  });

  it('takes paths from the file’s folder, and flags over keys', () => {
    const dir = temporaryDir();
    const path = join(dir, 'edge.yaml');
    writeFileSync(path, 'model: ./m.gguf\npool: /abs/pool\nport: 1\nengine: {threads: 2, context: 64}\n');
    const config = loadEdgeConfig(path, { port: 0, engine: { threads: 'auto', type: undefined }, name: undefined });
    expect(config).toMatchObject({ model: join(dir, 'm.gguf'), pool: '/abs/pool', port: 0 });
    expect(config.engine).toMatchObject({ threads: 'auto', context: 64, type: 'F16' });
    expect(loadEdgeConfig(null, { model: 'x' }).model).toBe(join(process.cwd(), 'x'));
  });

  it('collects all that is wrong, with the nearest known key', () => {
    const { code, message } = errorOf(() =>
      read({ port: 99_999, limts: {}, engine: { therads: 1 }, routing: { mode: 'cloud' }, api_key: 'sk-secret' }),
    );
    expect(code).toBe('config-invalid');
    for (const part of [
      'model is missing',
      'port is 99999',
      'limts is not a known key, did you mean limits?',
      'engine.therads is not a known key, did you mean threads?',
      'routing.mode is "cloud"',
      'api_key is not a known key, did you mean api_key_env?',
    ]) {
      expect(message).toContain(part);
    }
    expect(message).not.toContain('sk-secret');
  });

  it('refuses a key named __proto__ like any other that it does not know, at every level', () => {
    const { message } = errorOf(() =>
      read(JSON.parse('{"__proto__":{"port":1},"engine":{"__proto__":{"threads":1}}}')),
    );
    expect(message).toContain('__proto__ is not a known key');
    expect(message).toContain('engine.__proto__ is not a known key');
  });

  it.each<[string, JsonObject]>([
    ['name', { name: 'a:b' }],
    ['gate', { gate: 'soft' }],
    ['host', { host: '' }],
    ['port', { port: -1 }],
    ['port', { port: '80' }],
    ['limits.body_bytes', { limits: { body_bytes: 1 } }],
    ['limits.request_seconds', { limits: { request_seconds: 0 } }],
    ['limits.queue', { limits: { queue: 1.5 } }],
    ['engine.threads', { engine: { threads: 0 } }],
    ['engine.threads', { engine: { threads: 'all' } }],
    ['engine.type', { engine: { type: 'Q4_K' } }],
    ['engine.gpu', { engine: { gpu: true } }],
    ['routing.thresholds.scope', { routing: { thresholds: { scope: 101 } } }],
    ['routing.thresholds.confidence', { routing: { thresholds: { confidence: Number.NaN } } }],
    ['routing.thresholds.correctness', { routing: { thresholds: { correctness: 1.1 } } }],
    ['routing.correctness.scope', { routing: { correctness: { scope: '1' } } }],
    ['routing.correctness.intercept', { routing: { correctness: { intercept: Number.POSITIVE_INFINITY } } }],
    ['routing.correctness.scop is not a known key, did you mean scope?', { routing: { correctness: { scop: 1 } } }],
    ['which needs weights in routing.correctness', { routing: { thresholds: { correctness: 0.5 } } }],
    [
      'which needs weights in routing.correctness',
      { routing: { thresholds: { correctness: 0.5 }, correctness: { intercept: 2, confidence: 0 } } },
    ],
    [
      'routing.correctness weighs the scope, which needs examples',
      { routing: { thresholds: { correctness: 0.5 }, correctness: { probability: 1, log_scope: 1 } } },
    ],
    [
      'routing.correctness_map',
      {
        routing: {
          correctness: { scope: 1 },
          correctness_map: [
            [0, 0.2],
            [0.5, 0.2],
          ],
        },
      },
    ],
    [
      'routing.correctness_map is set, which needs weights',
      {
        routing: {
          correctness_map: [
            [0, 0.2],
            [1, 0.5],
          ],
        },
      },
    ],
    ['routing.correctness_shift is set, which needs weights', { routing: { correctness_shift: 1 } }],
    ['routing.thresholds.success', { routing: { thresholds: { success: 2 } } }],
    ['routing.success', { routing: { success: [0.5, 1.5] } }],
    ['routing.thresholds.success is set, which needs a pool', { routing: { thresholds: { success: 0.5 } } }],
    [
      'routing.thresholds.success is set, which needs rates in routing.success',
      { pool: 'p', routing: { thresholds: { success: 0.5 } } },
    ],
    [
      'routing.correctness weighs the success rate of clusters, which needs a pool',
      { routing: { thresholds: { correctness: 0.5 }, success: [0.5, 0.5], correctness: { success: 1 } } },
    ],
    [
      'routing.thresholds.advantage is set, which needs rates in routing.server_success',
      { pool: 'p', routing: { thresholds: { advantage: 0.1 }, success: [0.5, 0.5] } },
    ],
    [
      'routing.thresholds.gain is set, which needs a pool, which has the clusters, or a file of them',
      {
        routing: {
          thresholds: { gain: 0 },
          success: [0.5, 0.5],
          server_success: [0.5, 0.5],
          correctness: { scope: 1 },
        },
      },
    ],
    [
      'routing.thresholds.gain is set, which needs weights in routing.correctness',
      { pool: 'p', routing: { thresholds: { gain: 0 }, success: [0.5, 0.5], server_success: [0.5, 0.5] } },
    ],
    [
      'routing.server_success has 2 rates, expected 3',
      { pool: 'p', routing: { success: [0.5, 0.5, 0.5], server_success: [0.5, 0.5] } },
    ],
    ['routing.server_shift is set, which needs rates', { routing: { server_shift: 1 } }],
    ['routing.thresholds.gain', { routing: { thresholds: { gain: -2 } } }],
    ['routing.confidence.measure', { routing: { confidence: { measure: 'gut' } } }],
    ['routing.confidence.tokens', { routing: { confidence: { tokens: 0 } } }],
    ['server.base_url', { server: { ...SERVER, base_url: 'localhost:8000' } }],
    ['server.base_url', { server: { ...SERVER, base_url: 'http://user:pw@host/v1' } }],
    ['server.base_url', { server: { model: 'x' } }],
    ['server.model', { server: { base_url: 'http://x/v1' } }],
    ['server.retries', { server: { ...SERVER, retries: 99 } }],
    ['server.timeouts.total_seconds', { server: { ...SERVER, timeouts: { total_seconds: -1 } } }],
    ['server.budget.tokens_per_day', { server: { ...SERVER, budget: { tokens_per_day: -1 } } }],
    ['log.level', { log: { level: 'loud' } }],
    ['log.prompts', { log: { prompts: 'yes' } }],
  ])('refuses a wrong %s', (key, change) => {
    const { code, message } = errorOf(() => read({ model: 'm', ...change }));
    expect([code, message.includes(key), message.includes('pw@')]).toEqual(['config-invalid', true, false]);
  });

  it.each<[string, JsonObject]>([
    ['needs a pool', { gate: 'per-query' }],
    ['leave out adapter', { gate: 'per-query', pool: 'p', adapter: 'a' }],
    ['there is no server', { routing: { mode: 'only_in_cloud' } }],
    ['needs examples', { routing: { thresholds: { scope: 5 } } }],
    ['both given', { api_key_env: 'A', api_key_file: 'b' }],
    ['expected prices beside it', { server: { ...SERVER, budget: { money_per_day: 1 } } }],
  ])('refuses what contradicts itself: %s', (part, change) => {
    expect(errorOf(() => read({ model: 'm', ...change })).message).toContain(part);
  });

  it('never shows a key that was written where a name belongs', () => {
    const key = 'sk-4711-secret';
    for (const yaml of [{ api_key_env: key }, { server: { ...SERVER, api_key_env: key } }]) {
      expect(errorOf(() => read({ model: 'm', ...yaml })).message).not.toContain(key);
    }
  });

  it('names the file that is no YAML', () => {
    const path = join(temporaryDir(), 'edge.yaml');
    writeFileSync(path, 'model: [');
    expect(errorOf(() => loadEdgeConfig(path))).toMatchObject({ code: 'yaml-invalid' });
    writeFileSync(path, '');
    expect(errorOf(() => loadEdgeConfig(path)).message).toContain('model is missing');
    writeFileSync(path, '[1]');
    expect(errorOf(() => loadEdgeConfig(path))).toMatchObject({ code: 'config-invalid' });
    expect(errorOf(() => loadEdgeConfig(`${path}.no`))).toMatchObject({ code: 'file-not-found' });
  });

  it('names the line of every problem that stands in the file', () => {
    const path = join(temporaryDir(), 'edge.yaml');
    writeFileSync(
      path,
      `# mine
model: m
portt: 1
routing:
  mode: only_in_cloud
  thresholds:
    scope: 200
engine:
  type: F16
server:
  api_key_env: sk-4711-secret
  base_url: http://me:hidden@host/v1
log: { level: info, prompts: yes please }
`,
    );
    const overrides: EdgeOverrides = { engine: { type: 'Q2' as 'F16' }, server: { base_url: 'not at all' } };
    const { message } = errorOf(() => loadEdgeConfig(path, overrides));
    for (const part of [
      'portt is not a known key, did you mean port? (line 3)',
      'routing.thresholds.scope is 200, expected a percentile from 0 to 100 (line 7)',
      'engine.type is "Q2", expected "F32" or "F16" or "Q8_0" or "Q6_K" or ', // a flag's: on no line
      'without user, password, query or fragment;',
      'server.model is missing, expected text (line 10)',
      'server.api_key_env is not the name of an environment variable (letters, digits and _; never the key itself) (line 11)',
      'log.prompts is "yes please", expected true or false (line 13)',
    ]) {
      expect(message).toContain(part);
    }
    expect(message).not.toMatch(/4711|hidden/);
    writeFileSync(path, 'model: m\nrouting:\n  mode: only_in_cloud\n');
    expect(errorOf(() => loadEdgeConfig(path)).message).toMatch(/there is no server.* \(line 3\)$/);
    writeFileSync(path, 'model: m\npool: p\nadapter: a\n');
    const { message: gate } = errorOf(() => loadEdgeConfig(path, { gate: 'per-query' }));
    expect(gate).toMatch(/leave out adapter$/);
  });
});
