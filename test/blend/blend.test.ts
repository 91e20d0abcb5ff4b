// npx vitest run test/blend/blend.test.ts
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BlendOptions, blendAdapters } from '../../src/blend/blend.js';
import { sha256File } from '../../src/files/digest.js';
import { openPeftAdapter, type PeftAdapter } from '../../src/peft/read.js';
import { denseDelta, factorsOf, MODULES, type ModuleSpec, relativeDistance, writeRandomAdapter } from './helpers.js';

const dir = mkdtempSync(join(tmpdir(), 'crayon-blend-'));
const adapters: PeftAdapter[] = [];
const FLOAT32 = 3e-7;
let outputs = 0;

beforeAll(() => {
  for (const [n, r] of [2, 3, 1].entries()) {
    adapters.push(openPeftAdapter(writeRandomAdapter(dir, `adapter-${n}`, { seed: n, r, loraAlpha: 4 - n })));
  }
});
afterAll(() => {
  for (const adapter of adapters) adapter.close();
  rmSync(dir, { recursive: true });
});

const freshPath = (): string => join(dir, `out-${outputs++}`);

function blend(options: Partial<BlendOptions> = {}) {
  const out = freshPath();
  const result = blendAdapters({
    adapters,
    coefficients: [0.5, -0.25, 2],
    combine: 'cat',
    baseModel: 'tiny',
    out,
    ...options,
  });
  return { ...result, out };
}

/** Reads the blend back and gives its distance from the dense oracle in its worst module. */
function worstDistance(out: string, used: PeftAdapter[], coefficients: number[], modules: ModuleSpec[] = MODULES) {
  const written = openPeftAdapter(out);
  const distances = modules.map((module) =>
    relativeDistance(denseDelta([written], [1], module), denseDelta(used, coefficients, module)),
  );
  written.close();
  return Math.max(...distances);
}

describe('cat', () => {
  it('reads back as the exact sum of deltas, scale folded in', () => {
    const { out, rank, modules } = blend();
    expect(worstDistance(out, adapters, [0.5, -0.25, 2])).toBeLessThan(FLOAT32);
    expect(rank).toBe(6);
    expect(modules.every((module) => module.rank === 6 && module.relativeError === 0)).toBe(true);
    const config = JSON.parse(readFileSync(join(out, 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ r: 6, lora_alpha: 6, rank_pattern: {}, alpha_pattern: {}, use_rslora: false });
    expect(config).toMatchObject({ target_modules: ['down_proj', 'q_proj'], base_model_name_or_path: 'tiny' });
  });

  it('gives one adapter of weight one back', () => {
    const { out } = blend({ adapters: [adapters[1]!], coefficients: [1] });
    const written = openPeftAdapter(out);
    for (const { name } of MODULES) {
      const before = factorsOf(adapters[1]!, name)!;
      const after = factorsOf(written, name)!;
      expect(after.a).toEqual(before.a);
      expect(after.b).toEqual(before.b.map((value) => value * before.scale));
      expect(after.scale).toBe(1);
    }
    written.close();
  });

  it('drops adapters of coefficient zero, so that the rank shrinks', () => {
    const { out, rank } = blend({ coefficients: [0, 0.5, 0] });
    expect(rank).toBe(3);
    expect(worstDistance(out, [adapters[1]!], [0.5])).toBeLessThan(FLOAT32);
  });

  it('writes zeros and says so when every coefficient is zero', () => {
    const { out, rank, notices } = blend({ coefficients: [0, 0, 0] });
    expect(rank).toBe(1);
    expect(notices.join()).toMatch(/base model as it is/);
    const written = openPeftAdapter(out);
    expect(denseDelta([written], [1], MODULES[0]!).every((value) => value === 0)).toBe(true);
    written.close();
  });

  it('refuses a rank that is too small and points to svd', () => {
    expect(() => blend({ rank: 5 })).toThrow(
      expect.objectContaining({ code: 'bad-option', hint: expect.stringContaining('svd') }),
    );
    expect(blend({ rank: 6 }).rank).toBe(6);
  });

  it('warns above rank 64 unless a rank was asked for', () => {
    const wide = openPeftAdapter(writeRandomAdapter(dir, 'wide', { seed: 9, r: 65 }));
    expect(blend({ adapters: [wide], coefficients: [1] }).notices.join()).toMatch(/rank 65.*vLLM/);
    expect(blend({ adapters: [wide], coefficients: [1], rank: 128 }).notices).toEqual([]);
    wide.close();
  });
});

describe('svd', () => {
  it('is exact at the full rank and reports the error below it', () => {
    const exact = blend({ combine: 'svd', rank: 6 });
    expect(worstDistance(exact.out, adapters, [0.5, -0.25, 2])).toBeLessThan(FLOAT32);
    expect(exact.modules.every(({ relativeError }) => relativeError === 0)).toBe(true);

    const { out, modules } = blend({ combine: 'svd', rank: 2 });
    const written = openPeftAdapter(out);
    for (const module of MODULES) {
      const measured = relativeDistance(
        denseDelta([written], [1], module),
        denseDelta(adapters, [0.5, -0.25, 2], module),
      );
      const { relativeError, rank } = modules.find(({ name }) => name === module.name)!;
      expect(relativeError).toBeCloseTo(measured, 6);
      expect(relativeError).toBeGreaterThan(0.01);
      expect(rank).toBe(2);
    }
    written.close();
  });

  it('has the largest rank of the adapters by default', () => {
    expect(blend({ combine: 'svd' }).rank).toBe(3);
    expect(blend({ combine: 'svd', coefficients: [1, 0, 0] }).rank).toBe(2);
  });

  it('fills up with zeros when the rank exceeds the layer', () => {
    const { out, rank, modules } = blend({ combine: 'svd', rank: 40 });
    expect(rank).toBe(40);
    expect(modules.every((module) => module.rank === 6)).toBe(true);
    expect(worstDistance(out, adapters, [0.5, -0.25, 2])).toBeLessThan(FLOAT32);
  });
});

describe('linear', () => {
  it('needs equal ranks', () => {
    expect(() => blend({ combine: 'linear' })).toThrow(expect.objectContaining({ code: 'adapter-mismatch' }));
  });

  it('says in the result and in the file that it is not the same delta', () => {
    const twin = openPeftAdapter(writeRandomAdapter(dir, 'twin', { seed: 21, r: 2 }));
    const { out, notices, modules } = blend({
      adapters: [adapters[0]!, twin],
      coefficients: [0.5, 0.5],
      combine: 'linear',
    });
    expect(notices.join()).toMatch(/not the blend/);
    expect(modules.every(({ relativeError }) => relativeError > 0.1)).toBe(true);
    expect(JSON.parse(readFileSync(join(out, 'crayon.json'), 'utf8')).exact).toBe(false);
    twin.close();
  });
});

describe('adapters that differ', () => {
  it.each(['cat', 'svd', 'linear'] as const)('%s counts a missing module as zero, and says so', (combine) => {
    const partial = openPeftAdapter(
      writeRandomAdapter(dir, `partial-${combine}`, { seed: 5, r: 2, modules: MODULES.slice(0, 1) }),
    );
    const used = [adapters[0]!, partial];
    const { out, notices } = blend({
      adapters: used,
      coefficients: [1, 0.5],
      combine,
      ...(combine === 'svd' ? { rank: 4 } : {}),
    });
    expect(notices.join()).toMatch(
      /partial-\w+ has no LoRA on model\.layers\.0\.mlp\.down_proj, model\.layers\.1.*2 of 3/,
    );
    const modules = combine === 'linear' ? MODULES.slice(1) : MODULES;
    expect(worstDistance(out, used, [1, 0.5], modules)).toBeLessThan(FLOAT32);
    partial.close();
  });

  it('writes zeros where only adapters of coefficient zero have the module', () => {
    const partial = openPeftAdapter(writeRandomAdapter(dir, 'zeroed', { seed: 5, r: 2, modules: MODULES.slice(0, 1) }));
    for (const combine of ['cat', 'svd', 'linear'] as const) {
      const { modules } = blend({ adapters: [adapters[0]!, partial], coefficients: [0, 1], combine });
      expect(modules).toHaveLength(3);
      expect(modules.filter(({ rank }) => rank === 0).length).toBe(2);
    }
    partial.close();
  });

  it('names every module whose shape differs, once', () => {
    const other = MODULES.map((module) => ({ ...module, out: module.out + 1 }));
    const bad = openPeftAdapter(writeRandomAdapter(dir, 'bad-shape', { seed: 6, modules: other }));
    expect(() => blend({ adapters: [adapters[0]!, bad], coefficients: [1, 1] })).toThrow(
      expect.objectContaining({
        code: 'adapter-mismatch',
        message: expect.stringMatching(/0\.self_attn\.q_proj.*1\.self_attn\.q_proj/s),
      }),
    );
    bad.close();
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses %d and names the tensor; nothing is left', (poison) => {
    const bad = openPeftAdapter(writeRandomAdapter(dir, `poison-${poison}`, { seed: 7, poison }));
    for (const combine of ['cat', 'svd', 'linear'] as const) {
      const out = freshPath();
      expect(() => blend({ adapters: [bad], coefficients: [1], combine, out })).toThrow(
        expect.objectContaining({
          code: 'tensor-not-finite',
          message: expect.stringContaining('model.layers.1.self_attn.q_proj.lora_B.weight'),
        }),
      );
      expect(leftovers(out)).toEqual([]);
    }
    bad.close();
  });

  it('refuses a blend that leaves float32', () => {
    // svd shares the factor out to both sides, so it gets further
    for (const [combine, loraAlpha] of [
      ['cat', 1e39],
      ['linear', 1e39],
      ['svd', 1e80],
    ] as const) {
      const strong = openPeftAdapter(writeRandomAdapter(dir, `strong-${combine}`, { seed: 0, loraAlpha }));
      expect(() => blend({ adapters: [strong], coefficients: [1], combine })).toThrow(
        expect.objectContaining({ code: 'tensor-not-finite' }),
      );
      strong.close();
    }
  });
});

it.each([
  ['too few', [1, 2]],
  ['too many', [1, 2, 3, 4]],
  ['NaN', [1, Number.NaN, 0]],
  ['infinity', [1, 0, Number.POSITIVE_INFINITY]],
  ['beyond reason', [1000.5, 0, 0]],
  ['far below it', [0, -1e30, 0]],
])('refuses coefficients: %s', (_, coefficients) => {
  expect(() => blend({ coefficients })).toThrow(expect.objectContaining({ code: 'coefficients-invalid' }));
});

it.each([0, 1.5, Number.NaN])('refuses rank %d', (rank) => {
  expect(() => blend({ combine: 'svd', rank })).toThrow(expect.objectContaining({ code: 'bad-option' }));
});

/** What exists under the output's name, finished or temporary. */
function leftovers(out: string): string[] {
  return readdirSync(dir).filter((name) => name.includes(out.slice(dir.length + 1)));
}

describe('output', () => {
  it.each(['cat', 'svd'] as const)('%s gives the same bytes twice, and its digest', (combine) => {
    const [first, second] = [blend({ combine }), blend({ combine })];
    for (const name of ['adapter_model.safetensors', 'adapter_config.json', 'crayon.json']) {
      expect(readFileSync(join(first.out, name))).toEqual(readFileSync(join(second.out, name)));
    }
    expect(first.digest).toBe(second.digest);
    expect(first.digest).toBe(sha256File(join(first.out, 'adapter_model.safetensors')));
    expect(first.bytes).toBe(readFileSync(join(first.out, 'adapter_model.safetensors')).byteLength);
  });

  it('keeps provenance in crayon.json', () => {
    const { out } = blend({ provenance: { poolDigest: 'abc', embedding: 'tfidf', exampleCount: 10 } });
    expect(JSON.parse(readFileSync(join(out, 'crayon.json'), 'utf8'))).toEqual({
      format: 'crayon-blend',
      version: 1,
      baseModel: 'tiny',
      combine: 'cat',
      rank: 6,
      dtype: 'F32',
      modules: 3,
      coefficients: [0.5, -0.25, 2],
      adapters: [
        { r: 2, loraAlpha: 4 },
        { r: 3, loraAlpha: 3 },
        { r: 1, loraAlpha: 2 },
      ],
      poolDigest: 'abc',
      embedding: 'tfidf',
      exampleCount: 10,
    });
  });

  it.each([
    ['F16', 2e-3],
    ['BF16', 2e-2],
  ] as const)('stores %s', (dtype, tolerance) => {
    const { out, bytes } = blend({ dtype });
    expect(worstDistance(out, adapters, [0.5, -0.25, 2])).toBeLessThan(tolerance);
    expect(bytes).toBeLessThan(blend().bytes * 0.75);
  });

  it('refuses an existing output, and replaces it with force', () => {
    const { out } = blend();
    expect(() => blend({ out })).toThrow(expect.objectContaining({ code: 'output-exists' }));
    expect(worstDistance(out, adapters, [0.5, -0.25, 2])).toBeLessThan(FLOAT32);
    blend({ out, force: true, coefficients: [1, 0, 0] });
    expect(worstDistance(out, [adapters[0]!], [1])).toBeLessThan(FLOAT32);
  });

  it('refuses, even with force, a directory that is no blend', () => {
    const out = freshPath();
    mkdirSync(out);
    writeFileSync(join(out, 'thesis.txt'), 'years of work');
    expect(() => blend({ out, force: true })).toThrow(expect.objectContaining({ code: 'output-exists' }));
    expect(readFileSync(join(out, 'thesis.txt'), 'utf8')).toBe('years of work');
  });

  it('leaves nothing behind when it is interrupted, and reports progress until then', () => {
    const out = freshPath();
    const seen: string[] = [];
    const stop = (done: number, total: number, module: string): void => {
      seen.push(`${done}/${total} ${module}`);
      if (done === 2) throw new Error('stopped');
    };
    expect(() => blend({ out, onProgress: stop })).toThrow();
    expect(seen).toEqual(['1/3 model.layers.0.mlp.down_proj', '2/3 model.layers.0.self_attn.q_proj']);
    expect(leftovers(out)).toEqual([]);
  });
});
