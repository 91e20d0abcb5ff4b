/** From a configuration to parts that answer, with the embedded model and the shipped pool. */

import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hearingWarnings } from '../../src/core/warning.js';
import type { LlamaCppOptions } from '../../src/engine/llama/engine.js';
import { GREEDY } from '../../src/engine/types.js';
import type { JsonObject } from '../../src/files/json.js';
import { cachedModelGguf } from '../../src/gguf/cache.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { openPool } from '../../src/pool/pool.js';
import { assembleEdge, type EdgeAssembly } from '../../src/serve/assemble.js';
import { openBaseModel, openEmbedder } from '../../src/serve/base-model.js';
import { edgeConfig } from '../../src/serve/config.js';
import type { Customization } from '../../src/serve/customizations/customizations.js';
import type { BlendOrder } from '../../src/serve/customizations/maker.js';
import { fileServer } from '../helpers/file-server.js';
import { temporaryRoot } from '../helpers/files.js';
import { fixture, ROOT } from '../helpers/fixtures.js';
import { createScriptedEngine, type ScriptedEngine } from '../helpers/scripted.js';
import { textQuery } from './helpers.js';

const EDGE = join(ROOT, 'models', 'crayon-edge');
const POOL = join(ROOT, 'models', 'crayon-edge-pool');
const BANK = 'Bank: the banker in the counter has cherry and peach since the deposit. Team:';
const BANK_EXAMPLES = [
  BANK,
  'Bank: the banker in the treasury has plum, cherry and apple before the audit. Team:',
  'Bank: the teller in the vault has lemon and pear after the loan. Team:',
];

/** The one adapter of a customisation. */
const adapterOf = (made: Pick<Customization, 'serve'>) => made.serve().adapters.choose(textQuery(BANK))[0]!;

const dir = temporaryRoot();
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const tokenizer = loadTokenizer(EDGE);
const config = (more: JsonObject = {}) =>
  edgeConfig(
    { model: EDGE, cache_dir: join(dir, 'cache'), state_dir: false, engine: { type: 'F32' }, ...more },
    { where: 'test', folder: ROOT },
  );

/** Scripted answers, the real tokens. */
const opened: LlamaCppOptions[] = [];
const openDevice = async (options: LlamaCppOptions) => {
  opened.push(options);
  const device = createScriptedEngine({ name: options.name, answers: 'Red' });
  return { ...device, textTokens: (text: string) => Int32Array.from(tokenizer.encode(text, { addBos: false })) };
};
const assemble = (more: JsonObject = {}) => assembleEdge(config(more), { env: {}, openDevice });

describe('assembleEdge', () => {
  it('fetches a pool by address, with a key, and keeps its customisations under the address', async () => {
    const server = await fileServer(POOL);
    const state = join(dir, 'state');
    const more = { pool: server.url, pool_key_env: 'POOL_KEY', gate: 'per-query', state_dir: null };
    const env = { POOL_KEY: 'secret', XDG_STATE_HOME: state };
    const parts = await assembleEdge(config(more), { env, openDevice });
    expect(parts.pool!.manifest).toEqual(openPool(POOL).manifest);
    expect(parts.adapters.list()).toHaveLength(6);
    await parts.close();
    expect(server.asked.every(({ headers }) => headers.authorization === 'Bearer secret')).toBe(true);
    expect(readdirSync(join(state, 'crayon', 'customizations'))).toHaveLength(1);
    await server.close();
    await (await assembleEdge(config(more), { env, openDevice })).close(); // offline
    expect(readdirSync(join(state, 'crayon', 'customizations'))).toHaveLength(1);
    await expect(assembleEdge(config(more), { env: {}, openDevice })).rejects.toMatchObject({ code: 'config-invalid' });
  });

  it('opens a bare model', async () => {
    const parts = await assemble();
    expect(parts).toMatchObject({ base: 'crayon-edge', server: null, scope: null, customizations: null, pool: null });
    expect(parts.embedder).toMatchObject({ kind: 'first-attention', d: 192 });
    expect(parts.adapters.list()).toEqual([]);
    expect(opened.at(-1)!.model).toBe(cachedModelGguf(EDGE, { cacheDir: join(dir, 'cache'), type: 'F32' }));
    await parts.close();
  });

  it('exports an adapter to the cache, known by its digest', async () => {
    const adapter = join(POOL, 'adapters', '0');
    const parts = await assemble({ adapter });
    const [chosen] = parts.adapters.choose(textQuery('anything'));
    expect(chosen!.path).toBe(join(dir, 'cache', `${chosen!.id}.lora.gguf`));
    expect(existsSync(chosen!.path)).toBe(true);
    expect(parts.adapters.list()).toEqual([{ id: 0, path: '0', scale: 1 }]);
    await parts.close();
    const byFile = await assemble({ adapter: chosen!.path });
    expect(byFile.adapters.choose(textQuery('x'))).toMatchObject([{ path: chosen!.path, scale: 1 }]);
    await byFile.close();
  });

  it('gives the router the configured adapter for queries that name none', async () => {
    const parts = await assemble({ adapter: join(POOL, 'adapters', '0') });
    const query = textQuery('anything');
    const chosen = parts.adapters.choose(query);
    const request = { ...GREEDY, query, maxTokens: 2, signal: new AbortController().signal };
    for await (const _ of parts.router.route(request));
    expect(chosen).toHaveLength(1);
    expect((parts.device as unknown as ScriptedEngine).requests[0]!.request.adapters).toEqual(chosen);
    await parts.close();
  });

  it('refuses an adapter of another base model, unless any base is asked for', async () => {
    const model = join(dir, 'changed');
    cpSync(EDGE, model, { recursive: true });
    const bytes = readFileSync(join(model, 'model.safetensors'));
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(join(model, 'model.safetensors'), bytes);
    const adapter = join(POOL, 'adapters', '0');
    await expect(assemble({ model, adapter })).rejects.toMatchObject({ code: 'adapter-mismatch' });
    await expect(assemble({ model, pool: POOL })).rejects.toMatchObject({ code: 'pool-mismatch' });
    for (const more of [{ adapter }, { pool: POOL }]) {
      const warnings: string[] = [];
      const parts = await hearingWarnings(
        (text) => warnings.push(text),
        () => assemble({ model, any_base: true, ...more }),
      );
      expect(warnings.join()).toMatch(/another base model .*any base was asked for/);
      await parts.close();
    }
  });

  it('weighs a pool’s adapters for each prompt', async () => {
    const parts = await assemble({ pool: POOL, gate: 'per-query' });
    const scales = (text: string) => parts.adapters.choose(textQuery(text)).map(({ scale }) => scale);
    const bank = scales(BANK);
    expect(bank.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    expect(Math.max(...bank)).toBeGreaterThan(0.5);
    expect(scales(BANK)).toEqual(bank);
    expect(scales('Reverse these words: red green blue')).not.toEqual(bank);
    expect(parts.embedder!.kind).toBe('tfidf');
    await parts.close();
    const few = await assemble({ pool: POOL, gate: 'per-query', gate_drop_below: 0.99 });
    expect(few.adapters.choose(textQuery(BANK))).toMatchObject([{ scale: 1 }]);
    expect(bank.length).toBeGreaterThan(3);
    await few.close();
    const three = await assemble({ pool: POOL, gate: 'per-query', gate_top_k: 3 });
    const kept = three.adapters.choose(textQuery(BANK)).map(({ scale }) => scale);
    expect(kept).toHaveLength(3);
    expect(kept.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    await three.close();
  });

  it('measures scope against the examples', async () => {
    const parts = await assemble({ pool: POOL, examples: 'suite/examples/bank.jsonl' });
    const inside = parts.scope!(textQuery(BANK))!;
    const outside = parts.scope!(textQuery('Der Mond ist aufgegangen'))!;
    expect(inside.similarity).toBeGreaterThan(outside.similarity + 0.3);
    expect(inside.percentile).toBeGreaterThan(outside.percentile);
    await parts.close();
  });

  it('knows of which of the pool’s clusters a query is, whatever the gate, and that a stray is of none', async () => {
    const parts = await assemble({ pool: POOL });
    const N = parts.pool!.manifest.N;
    const bank = Array.from(parts.clusters!(textQuery(BANK))!);
    expect(bank).toHaveLength(N + 1);
    expect([Math.max(...bank) > 0.5, bank[N]]).toEqual([true, 0]);
    expect(parts.clusters!(textQuery('Der Mond ist aufgegangen'))![N]).toBe(1);
    await parts.close();
    const bare = await assemble({});
    expect(bare.clusters).toBe(null);
    await bare.close();
  });

  it('refuses rates of another pool, by their number', async () => {
    const rates = { pool: POOL, routing: { success: [0.5, 0.5] } };
    await expect(assemble(rates)).rejects.toMatchObject({
      code: 'config-invalid',
      message: expect.stringMatching(/routing\.success has 2 rates, expected \d+: those of the clusters of /),
    });
  });

  it('reads the same embedding from a GGUF as from the directory', async () => {
    const of = ({ text }: { text: string }) => Int32Array.from(tokenizer.encode(text, { addBos: false }));
    const tokens = { of, aside: async () => expect.unreachable() };
    const gguf = cachedModelGguf(EDGE, { cacheDir: join(dir, 'cache'), type: 'F32' });
    const bases = [EDGE, gguf].map((path) => openBaseModel(path, { cacheDir: join(dir, 'cache'), type: 'F32' }));
    try {
      const [a, b] = bases.map((base) => openEmbedder(base, null, tokens).embed(BANK).vector);
      for (const [i, x] of a!.entries()) expect(b![i]).toBeCloseTo(x, 5);
      const pool = openPool(POOL);
      expect(openEmbedder(bases[1]!, pool, tokens).d).toBe(pool.manifest.embedding.dim);
    } finally {
      for (const base of bases) base.close();
    }
  });

  it('gives an empty text no direction', async () => {
    const parts = await assemble();
    expect(parts.embedder!.embed(' ')).toEqual({ vector: new Float32Array(192), tokens: 0 });
    await parts.close();
  });

  it.each<[string, string, JsonObject]>([
    ['a pool of another model', 'pool-mismatch', { model: fixture('models', 'llama'), pool: POOL }],
    ['an adapter of another model', 'adapter-mismatch', { adapter: fixture('lora', 'llama') }],
    [
      'an unset variable for the server’s key',
      'config-invalid',
      { server: { base_url: 'http://x/v1', model: 'm', api_key_env: 'NOT_SET' } },
    ],
    ['no pool there', 'file-not-found', { pool: 'nowhere' }],
  ])('refuses %s, and closes what it opened', async (_, code, more) => {
    await expect(assemble(more)).rejects.toMatchObject({ code });
  });

  it('keeps the spending of a budget in the cache', async () => {
    const server = { base_url: 'http://127.0.0.1:1/v1', model: 'm', budget: { tokens_per_day: 5 } };
    const parts = await assemble({ server });
    expect(parts.server!.state!().budget).toMatchObject({ tokensPerDay: 5, inputTokens: 0 });
    await parts.close();
  });
});

describe('blends at run time', () => {
  let parts: EdgeAssembly;
  beforeAll(async () => {
    parts = await assemble({ pool: POOL });
  });
  afterAll(() => parts.close());
  const never = new AbortController().signal;
  const order: BlendOrder = {
    ...{ topK: null, temperature: null, estimator: 'similarity', form: 'cat' },
    ...{ coefficients: null, examples: null },
  };
  const examples = BANK_EXAMPLES.map((prompt) => ({ prompt }));

  it('makes an adapter from examples while the event loop turns', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 5);
    const made = await parts.customizations!.create({ ...order, examples }, 'bank', never);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(3);
    expect(made).toMatchObject({ name: 'bank', examples: 3, coverage: { verdict: expect.any(String) } });
    expect(made.coefficients).toHaveLength(6);
    expect(made.coefficients.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    expect(made.serve().scope!(textQuery(BANK))!.similarity).toBeGreaterThan(0.5);
    expect(existsSync(adapterOf(made).path)).toBe(true);
  });

  it('gives equal blends one file, which goes with the last of them', async () => {
    const coefficients = [0.5, 0.5, 0, 0, 0, 0];
    const blends = parts.customizations!;
    const [a, b] = await Promise.all([1, 2].map(() => blends.create({ ...order, coefficients }, null, never)));
    expect(adapterOf(a!)).toEqual(adapterOf(b!));
    expect(a!.id).not.toBe(b!.id);
    blends.delete(a!.id);
    expect(existsSync(adapterOf(b!).path)).toBe(true);
    blends.delete(b!.id);
    expect(existsSync(adapterOf(b!).path)).toBe(false);
    const again = await blends.create({ ...order, coefficients }, null, never);
    expect(adapterOf(again)).toEqual(adapterOf(a!));
    expect(existsSync(adapterOf(again).path)).toBe(true);
  });

  it('keeps a deleted blend’s file until the requests that use it have ended', async () => {
    const blends = parts.customizations!;
    const made = await blends.create({ ...order, coefficients: [0, 0, 0, 0, 0, 1] }, null, never);
    const [{ id }, adapter] = [made, adapterOf(made)];
    const [one, two] = [blends.get(id).serve().hold(), blends.get(id).serve().hold()];
    blends.delete(id);
    expect(() => blends.delete(id)).toThrow(expect.objectContaining({ status: 404 }));
    one();
    one(); // ends once
    expect(existsSync(adapter.path)).toBe(true);
    two();
    expect(existsSync(adapter.path)).toBe(false);
  });

  it('uses top-k and temperature', async () => {
    const sharp = { ...order, examples, topK: 1 };
    const { coefficients } = await parts.customizations!.create(sharp, null, never);
    expect(coefficients.filter((c) => c !== 0)).toHaveLength(1);
    const warm = await parts.customizations!.create({ ...order, examples, temperature: 1000 }, null, never);
    for (const c of warm.coefficients) expect(c).toBeCloseTo(1 / 6, 3);
    const measured = await parts.customizations!.create({ ...order, examples, standardise: true }, null, never);
    expect(measured.similarities).toEqual(warm.similarities);
    expect(Math.max(...measured.coefficients)).toBeGreaterThan(1 / 3);
    parts.customizations!.delete(measured.id);
  });

  it('gives a user of two tasks both by the mean of the gates', async () => {
    const mixed = [...examples, { prompt: 'Kitchen order for Hugo: eggs, ham, fish. Serve:' }];
    const of = async (estimator: BlendOrder['estimator']) => {
      const sharp = { ...order, examples: mixed, temperature: 0.005, estimator };
      const made = await parts.customizations!.create(sharp, null, never);
      parts.customizations!.delete(made.id);
      return made;
    };
    const [fixed, both] = [await of('similarity'), await of('mean-gate')];
    const shares = (made: { coefficients: number[] }) => made.coefficients.filter((c) => c > 0.2).length;
    expect([shares(fixed), shares(both)]).toEqual([1, 2]);
  });

  it.each<[string, object, Partial<BlendOrder>]>([
    ['a wrong number of coefficients', { code: 'coefficients-invalid' }, { coefficients: [1, 2] }],
    ['a coefficient beyond reason', { code: 'coefficients-invalid' }, { coefficients: [1e30, 0, 0, 0, 0, 0] }],
    ['NaN', { code: 'coefficients-invalid' }, { coefficients: [Number.NaN, 0, 0, 0, 0, 0] }],
    // Of coefficients that all but cancel, the largest would be scaled up to 4e5.
    [
      'what top_k makes of them',
      { code: 'coefficients-invalid' },
      { coefficients: [0.1, 0.1, 0.2, 9, -8.99999, 0], topK: 2 },
    ],
    ['a prompt without tokens', { code: 'example-invalid' }, { examples: [...examples, { prompt: ' ' }] }],
    ['more adapters than there are', { status: 400, param: 'top_k' }, { examples, topK: 7 }],
  ])('refuses %s, and blends on', async (_, error, change) => {
    const blends = parts.customizations!;
    await expect(blends.create({ ...order, ...change }, null, never)).rejects.toMatchObject(error);
    const made = await blends.create({ ...order, coefficients: [0, 1, 0, 0, 0, 0] }, null, never);
    expect(adapterOf(made).id).toMatch(/^[0-9a-f]+$/);
  });

  it('warns of coefficients that are all zero, as the command line does', async () => {
    const zero = await parts.customizations!.create({ ...order, coefficients: [0, 0, 0, 0, 0, 0] }, null, never);
    expect(zero.notices).toEqual([expect.stringContaining('All coefficients are zero')]);
    const vanishing = await parts.customizations!.create(
      { ...order, coefficients: [1e-300, 0, 0, 0, 0, 0] },
      null,
      never,
    );
    expect(vanishing.notices).toEqual(zero.notices);
    const one = await parts.customizations!.create({ ...order, coefficients: [1, 0, 0, 0, 0, 0] }, null, never);
    expect(one.notices).toEqual([]);
  });

  it('drops a blend that nobody waits for', async () => {
    const gone = AbortSignal.abort();
    await expect(parts.customizations!.create({ ...order, examples }, null, gone)).rejects.toMatchObject({
      code: 'interrupted',
    });
  });

  it('leaves nothing when it closes', async () => {
    const other = await assemble({ pool: POOL });
    const made = await other.customizations!.create({ ...order, coefficients: [1, 0, 0, 0, 0, 0] }, null, never);
    await other.close();
    expect(existsSync(adapterOf(made).path)).toBe(false);
  });
});
