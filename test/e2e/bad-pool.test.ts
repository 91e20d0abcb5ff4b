/** What inspect, blend and score say about a pool that was damaged or tampered with. */

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { PoolManifest } from '../../src/pool/pool.js';
import { fixture } from '../helpers/fixtures.js';
import {
  buildArgs,
  copyOf,
  crayon,
  editJson,
  LLAMA,
  pokeF32,
  type Refusal,
  records,
  refusal,
  scratch,
  succeed,
  writeJsonl,
} from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const out = at('out');
const data = writeJsonl(at('train.jsonl'), records(12));
const mine = writeJsonl(at('mine.jsonl'), records(4));
let copies = 0;

beforeAll(async () => {
  await succeed(buildArgs(data, at('pool')));
  await succeed(buildArgs(data, at('lexical'), '--embedding', 'tfidf'));
});

/** A copy of a pool to spoil. */
const spoiled = (name = 'pool') => copyOf(at(name), at(`spoiled-${copies++}`));

async function blend(pool: string, ...more: string[]): Promise<Refusal> {
  const error = await refusal(['blend', '--pool', pool, '--examples', mine, '--out', out, ...more]);
  expect(existsSync(out)).toBe(false);
  return error;
}

/** The manifest changed by `change`: what blend, inspect and score say of it, all the same. */
async function tampered(change: (manifest: PoolManifest) => void, from = 'pool'): Promise<Refusal> {
  const pool = spoiled(from);
  editJson(join(pool, 'pool.json'), change);
  const error = await blend(pool);
  expect(await refusal(['inspect', pool])).toEqual(error);
  expect(await refusal(['score', '--model', LLAMA, '--pool', pool, '--data', mine, '--backend', 'wasm'])).toEqual(
    error,
  );
  return error;
}

describe('a pool that is none', () => {
  it.each([
    ['not there', () => at('nowhere'), 'file-not-found', 'no such'],
    ['a model', () => LLAMA, 'path-not-recognised', 'pool.json'],
    ['an adapter', () => join(at('pool'), 'adapters', '0'), 'path-not-recognised', 'pool.json'],
  ])('%s', async (_, path, code, words) => {
    const error = await blend(path());
    expect(error).toMatchObject({ code, exit: 3 });
    expect(error.message).toContain(path());
    expect(error.message).toContain(words);
  });
});

describe('pool.json', () => {
  it('that is no JSON', async () => {
    const pool = spoiled();
    truncateSync(join(pool, 'pool.json'), 100);
    expect(await blend(pool)).toMatchObject({ code: 'json-invalid', exit: 3 });
  });

  it('of a later version', async () => {
    const error = await tampered((m) => Object.assign(m, { version: 2 }));
    expect(error).toMatchObject({ code: 'pool-invalid', exit: 3 });
    expect(error.message).toContain('version');
  });

  it('with several wrong values: all of them in one message', async () => {
    const error = await tampered((m) => {
      m.tau = -1;
      m.embedding.kind = 'astrology';
      m.base.digest = 'x';
    });
    expect(error.code).toBe('pool-invalid');
    for (const words of ['tau', 'embedding.kind', 'base.digest']) expect(error.message).toContain(words);
  });

  it('with another N than it has adapters', async () => {
    const error = await tampered((m) => {
      m.N = 4;
    });
    expect(error.message).toContain('3 clusters and 3 adapters, expected N = 4');
  });

  it('with another embedding size than the centroids', async () => {
    const error = await tampered((m) => {
      m.embedding.dim = 40;
    });
    expect(error).toMatchObject({ code: 'pool-invalid', exit: 3 });
    expect(error.message).toMatch(/"centroids" is \[3,48\], expected \[3,40\]/);
  });

  it.each(['../elsewhere', '/etc', 'adapters/../..', 'C:\\pool'])('with an adapter at %s', async (path) => {
    const error = await tampered((m) => {
      m.adapters[1]!.dir = path;
    });
    expect(error).toMatchObject({ code: 'pool-invalid', exit: 3 });
    expect(error.message).toContain('adapters[1].dir');
  });

  it.each(['last-hidden', 'hidden:1', 'hidden:99'])('that says %s where it was first-attention', async (kind) => {
    const pool = spoiled();
    editJson<PoolManifest>(join(pool, 'pool.json'), (m) => {
      m.embedding.kind = kind;
    });
    const error = await blend(pool, '--backend', 'wasm');
    expect(error).toMatchObject({ code: 'pool-invalid', exit: 3 });
    expect(error.message).toContain(kind);
    const score = ['score', '--model', LLAMA, '--pool', pool, '--data', mine, '--backend', 'wasm'];
    expect(await refusal(score)).toEqual(error);
  });

  it('with the digest of another base model', async () => {
    const pool = spoiled();
    editJson<PoolManifest>(join(pool, 'pool.json'), (m) => {
      m.base.digest = '0'.repeat(64);
    });
    expect(await blend(pool)).toMatchObject({ code: 'pool-mismatch', exit: 3 });
  });
});

describe('centroids.safetensors', () => {
  it('that is missing', async () => {
    const pool = spoiled();
    rmSync(join(pool, 'centroids.safetensors'));
    const error = await blend(pool);
    expect(error).toMatchObject({ code: 'file-not-found', exit: 3 });
    expect(error.message).toContain('centroids.safetensors');
  });

  it.each(['centroids', 'mean'])('with a NaN in the %s', async (tensor) => {
    const pool = spoiled();
    pokeF32(join(pool, 'centroids.safetensors'), tensor, 7, Number.NaN);
    const error = await blend(pool);
    expect(error).toMatchObject({ code: 'pool-invalid', exit: 3 });
    expect(error.message).toContain(`"${tensor}" has NaN or infinity`);
  });

  it('with an infinity in the document frequencies', async () => {
    const pool = spoiled('lexical');
    pokeF32(join(pool, 'centroids.safetensors'), 'idf', 7, Number.POSITIVE_INFINITY);
    expect(await blend(pool)).toMatchObject({ code: 'pool-invalid', exit: 3 });
  });

  it('that is cut short', async () => {
    const pool = spoiled();
    truncateSync(join(pool, 'centroids.safetensors'), 300);
    expect(await blend(pool)).toMatchObject({ code: 'safetensors-invalid', exit: 3 });
  });
});

describe('an adapter of the pool', () => {
  const weights = (pool: string, n: number) => join(pool, 'adapters', String(n), 'adapter_model.safetensors');
  const factor = (layer: number, half: 'A' | 'B') =>
    `base_model.model.model.layers.${layer}.self_attn.q_proj.lora_${half}.weight`;

  it('that is missing', async () => {
    const pool = spoiled();
    rmSync(join(pool, 'adapters', '1'), { recursive: true });
    const error = await blend(pool);
    expect(error).toMatchObject({ code: 'file-not-found', exit: 3 });
    expect(error.message).toContain(join(pool, 'adapters', '1'));
    expect(error.hint).toBeDefined();
  });

  it.each([
    ['cat', Number.NaN],
    ['svd', Number.POSITIVE_INFINITY],
    ['linear', Number.NEGATIVE_INFINITY],
  ])('with a value that is not finite, blended by %s', async (combine, value) => {
    const pool = spoiled();
    pokeF32(weights(pool, 1), factor(1, 'B'), 3, value);
    const error = await blend(pool, '--combine', combine);
    expect(error).toMatchObject({ code: 'tensor-not-finite', exit: 3 });
    expect(error.message).toContain(weights(pool, 1));
    expect(error.message).toContain(factor(1, 'B'));
  });

  it('with several bad tensors: all of them in one message', async () => {
    const pool = spoiled();
    const bad = [factor(0, 'A'), factor(0, 'B'), factor(1, 'A')];
    for (const tensor of bad) pokeF32(weights(pool, 2), tensor, 0, Number.NaN);
    const error = await blend(pool);
    for (const tensor of bad) expect(error.message).toContain(tensor);
  });

  it('of another model: all modules in one message', async () => {
    const pool = spoiled();
    rmSync(join(pool, 'adapters', '1'), { recursive: true });
    cpSync(fixture('lora', 'qwen3'), join(pool, 'adapters', '1'), { recursive: true });
    editJson<PoolManifest>(join(pool, 'pool.json'), (m) => {
      Object.assign(m.adapters[1]!, { r: 4, loraAlpha: 8 });
    });
    const error = await blend(pool);
    expect(error).toMatchObject({ code: 'adapter-mismatch', exit: 3 });
    expect(error.message).toContain('model.layers.0.self_attn.q_proj is 32 -> 64');
    expect(error.message).toContain('32 -> 48');
  });

  it('whose rank is not the one in pool.json', async () => {
    const pool = spoiled();
    editJson<{ r: number }>(join(pool, 'adapters', '0', 'adapter_config.json'), (config) => {
      config.r = 3;
    });
    const error = await blend(pool);
    expect(error.exit).toBe(3);
    expect(error.message).toContain(join(pool, 'adapters', '0'));
    expect(error.message).toMatch(/\b3\b.*\b2\b/);
  });

  it('that is a link out of the pool', async () => {
    const pool = spoiled();
    rmSync(join(pool, 'adapters', '0'), { recursive: true });
    symlinkSync(join(at('pool'), 'adapters', '0'), join(pool, 'adapters', '0'));
    const error = await blend(pool);
    expect(error).toMatchObject({ code: 'pool-invalid', exit: 3 });
    expect(error.message).toContain('leads out of the pool');
  });

  it('with a pickle instead of safetensors', async () => {
    const pool = spoiled();
    rmSync(weights(pool, 0));
    writeFileSync(join(pool, 'adapters', '0', 'adapter_model.bin'), 'x');
    const error = await blend(pool);
    expect(error.exit).toBe(3);
    expect(`${error.message} ${error.hint}`).toContain('safetensors');
  });

  it('that was changed since is found by inspect --verify', async () => {
    const pool = spoiled();
    pokeF32(weights(pool, 2), factor(0, 'A'), 0, 0.5);
    expect((await crayon(['inspect', pool])).code).toBe(0);
    const error = await refusal(['inspect', pool, '--verify']);
    expect(error).toMatchObject({ code: 'pool-invalid', exit: 3 });
    expect(error.message).toContain('adapters/2/adapter_model.safetensors');
  });
});

describe('options of blend', () => {
  it.each([
    [['--top-k', '4'], 'bad-option', 'top-k 4, expected a whole number from 1 to 3'],
    [['--combine', 'cat', '--rank', '3'], 'bad-option', 'rank 3 is too small'],
    [['--coefficients', '1,0,0'], 'bad-option', '--examples'],
  ])('%j', async (options, code, words) => {
    const error = await blend(at('pool'), ...options);
    expect(error).toMatchObject({ code, exit: 2 });
    expect(error.message).toContain(words);
  });

  it('too few coefficients', async () => {
    const error = await refusal(['blend', '--pool', at('pool'), '--coefficients', '1,0', '--out', out]);
    expect(error).toMatchObject({ code: 'coefficients-invalid', exit: 3 });
    expect(error.message).toContain('2 coefficients for 3 adapters');
  });

  it('neither examples nor coefficients', async () => {
    const error = await refusal(['blend', '--pool', at('pool'), '--out', out]);
    expect(error).toMatchObject({ code: 'bad-option', exit: 2 });
    expect(error.hint).toContain('--coefficients');
    expect(existsSync(out)).toBe(false);
  });
});

describe('a pool for blend without its base model', () => {
  it('blends by hand all the same', async () => {
    const pool = spoiled();
    editJson<PoolManifest>(join(pool, 'pool.json'), (m) => {
      m.base.name = 'gone';
    });
    await succeed(['blend', '--pool', pool, '--coefficients', '0.5,0.5,0', '--out', at('by-hand')]);
  });

  it('finds the model beside the pool', async () => {
    const pool = spoiled();
    mkdirSync(join(pool, 'base'));
    const files = [
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
      'chat_template.jinja',
    ];
    for (const name of files) {
      writeFileSync(join(pool, 'base', name), readFileSync(join(LLAMA, name)));
    }
    editJson<PoolManifest>(join(pool, 'pool.json'), (m) => {
      m.base.name = 'base';
    });
    await succeed(['blend', '--pool', pool, '--examples', mine, '--out', at('beside')]);
    // As a pool that is shipped with its base has it, from wherever the command runs.
    cpSync(join(pool, 'base'), join(pool, '..', 'neighbour'), { recursive: true });
    editJson<PoolManifest>(join(pool, 'pool.json'), (m) => {
      m.base.name = 'models/neighbour';
    });
    await succeed(['blend', '--pool', pool, '--examples', mine, '--out', at('neighbouring')]);
  });
});
