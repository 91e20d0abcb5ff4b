import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openPeftAdapter } from '../../src/peft/read.js';
import { type PeftAdapterToWrite, writePeftAdapter } from '../../src/peft/write.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

const ramp = (n: number, start: number): Float32Array => Float32Array.from({ length: n }, (_, i) => start + i / 8);

const spec: PeftAdapterToWrite = {
  baseModel: 'crayon-edge',
  r: 2,
  loraAlpha: 2,
  targetModules: ['v_proj', 'q_proj'],
  modules: [
    { name: 'model.layers.0.self_attn.v_proj', r: 2, in: 4, out: 3, a: () => ramp(8, 0), b: () => ramp(6, 1) },
    { name: 'model.layers.0.self_attn.q_proj', r: 2, in: 4, out: 5, a: () => ramp(8, 2), b: () => ramp(10, 3) },
  ],
};

describe('a written adapter', () => {
  it('reads back as it was', () => {
    const dir = join(temporaryDir(), 'adapter');
    const { bytes } = writePeftAdapter(dir, { ...spec, readme: '# Card\n', extraFiles: { 'crayon.json': '{}\n' } });
    expect(readdirSync(dir).sort()).toEqual([
      'README.md',
      'adapter_config.json',
      'adapter_model.safetensors',
      'crayon.json',
    ]);
    const adapter = openPeftAdapter(dir);
    const [q, v] = adapter.modules;
    expect(q).toEqual({ name: spec.modules[1]!.name, r: 2, in: 4, out: 5, scale: 1 });
    expect(adapter.readA(v!)).toEqual(ramp(8, 0));
    expect(adapter.readB(q!)).toEqual(ramp(10, 3));
    expect(adapter.config.baseModel).toBe('crayon-edge');
    expect(bytes).toBe(adapter.sizeBytes);
    adapter.close();
  });

  it('has every key that loaders need, and the metadata of PyTorch', () => {
    const dir = join(temporaryDir(), 'adapter');
    writePeftAdapter(dir, spec);
    const config = JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8'));
    const fromPeft = JSON.parse(readFileSync(fixture('lora', 'llama', 'adapter_config.json'), 'utf8'));
    expect(Object.keys(fromPeft)).toEqual(expect.arrayContaining(Object.keys(config)));
    expect(config).toMatchObject({
      peft_type: 'LORA',
      task_type: 'CAUSAL_LM',
      bias: 'none',
      inference_mode: true,
      rank_pattern: {},
      alpha_pattern: {},
      use_rslora: false,
      use_dora: false,
      target_modules: ['q_proj', 'v_proj'],
    });
    const head = readFileSync(join(dir, 'adapter_model.safetensors')).subarray(8, 40).toString();
    expect(head).toMatch(/^\{"__metadata__":\{"format":"pt"\}/);
  });

  it('is the same bytes for the same input, in whatever order the modules come', () => {
    const dir = temporaryDir();
    writePeftAdapter(join(dir, 'a'), spec);
    writePeftAdapter(join(dir, 'b'), {
      ...spec,
      modules: [...spec.modules].reverse(),
      targetModules: ['q_proj', 'v_proj'],
    });
    for (const file of ['adapter_config.json', 'adapter_model.safetensors']) {
      expect(readFileSync(join(dir, 'a', file)).equals(readFileSync(join(dir, 'b', file))), file).toBe(true);
    }
  });

  it.each(['F16', 'BF16'] as const)('can be stored as %s', (dtype) => {
    const dir = join(temporaryDir(), 'adapter');
    writePeftAdapter(dir, { ...spec, dtype });
    const adapter = openPeftAdapter(dir);
    expect(adapter.readA(adapter.modules[0]!)).toEqual(ramp(8, 2));
    adapter.close();
  });

  it('takes mixed ranks with a pattern, and insists that they agree', () => {
    const dir = join(temporaryDir(), 'adapter');
    const [v, q] = spec.modules;
    const modules = [v!, { ...q!, r: 1, a: () => ramp(4, 0), b: () => ramp(5, 0) }];
    writePeftAdapter(dir, { ...spec, modules, rankPattern: { q_proj: 1 }, alphaPattern: { q_proj: 1 } });
    const adapter = openPeftAdapter(dir);
    expect(adapter.modules.map(({ r, scale }) => [r, scale])).toEqual([
      [1, 1],
      [2, 1],
    ]);
    adapter.close();
    expect(() => writePeftAdapter(join(dir, 'b'), { ...spec, modules })).toThrow(/rank of .*q_proj/);
    expect(() => writePeftAdapter(join(dir, 'b'), { ...spec, targetModules: ['q_proj'] })).toThrow(
      /v_proj is not among/,
    );
  });

  it('is not there at all when a module fails', () => {
    const dir = temporaryDir();
    const fail = (): never => {
      throw new Error('no factor');
    };
    expect(() => writePeftAdapter(join(dir, 'a'), { ...spec, modules: [{ ...spec.modules[0]!, b: fail }] })).toThrow(
      'no factor',
    );
    expect(readdirSync(dir)).toEqual([]);
  });

  it('does not replace another without force', () => {
    const dir = join(temporaryDir(), 'adapter');
    writePeftAdapter(dir, spec);
    expect(errorOf(() => writePeftAdapter(dir, spec)).code).toBe('output-exists');
    writePeftAdapter(dir, { ...spec, force: true, baseModel: 'other' });
    const adapter = openPeftAdapter(dir);
    expect(adapter.config.baseModel).toBe('other');
    adapter.close();
  });
});
