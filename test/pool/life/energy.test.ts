// npx vitest run test/pool/life/energy.test.ts
// Against B A x of transformers and PEFT, dense and in float64 (scripts/fixtures/energies.py).
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HfModel } from '../../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../../src/model/backend.js';
import { openNetwork } from '../../../src/model/open-network.js';
import { openPeftAdapter } from '../../../src/peft/read.js';
import { writePeftAdapter } from '../../../src/peft/write.js';
import { adapterFactors, energies, strongestPrompts } from '../../../src/pool/life/energy.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';
import { ADAPTED_MODELS, fixture, fixtureJson } from '../../helpers/fixtures.js';

const golden = fixtureJson<Record<string, { ids: number[][]; lengths: number[]; energies: number[] }>>('energies.json');

describe.each(['wasm', 'auto'] as const)('energies on the back end %s', (backend) => {
  beforeAll(async () => {
    await chooseBackend(backend);
  });
  afterAll(() => releaseBackend());

  it.each(ADAPTED_MODELS)('are those of PEFT for %s', async (family) => {
    const source = HfModel.open(fixture('models', family));
    const adapter = openPeftAdapter(fixture('lora', family), { copies: 'later' });
    const factors = adapterFactors(adapter, source);
    adapter.close();
    const model = openNetwork(source);
    const { ids, lengths, energies: expected } = golden[family]!;
    const sequences = ids.map((row, i) => Int32Array.from(row.slice(0, lengths[i])));
    // the second adapter is the same one: each has a column of its own
    const found = await energies(model, source, [factors, factors], sequences, { skip: 1 });
    model.dispose();
    source.close();
    for (const [i, energy] of expected.entries()) {
      expect(found[2 * i]).toBeCloseTo(energy, 4);
      expect(found[2 * i + 1]).toBe(found[2 * i]);
    }
  });
});

describe('adapterFactors', () => {
  it('refuses an adapter of the feed-forward alone, and one that is not trained', () => {
    const source = HfModel.open(fixture('models', 'llama'));
    const zeros = temporaryDir();
    const { hiddenSize: C, intermediateSize: I } = source.config;
    const write = (dir: string, name: string, out: number) =>
      writePeftAdapter(dir, {
        baseModel: 'llama',
        r: 1,
        loraAlpha: 1,
        targetModules: [name.split('.').at(-1)!],
        modules: [
          {
            name,
            r: 1,
            in: C,
            out,
            a: () => new Float32Array(C).fill(1),
            b: () => new Float32Array(out).fill(out === C ? 0 : 1),
          },
        ],
      });
    for (const [name, out] of [
      ['model.layers.0.mlp.up_proj', I],
      ['model.layers.0.self_attn.q_proj', C],
    ] as const) {
      const dir = `${zeros}/${out}`;
      write(dir, name, out);
      const adapter = openPeftAdapter(dir);
      expect(errorOf(() => adapterFactors(adapter, source)).code).toBe('adapter-unsupported');
      adapter.close();
    }
    source.close();
  });
});

describe('strongestPrompts', () => {
  it('are those of an adapter that answers to them more than the others do, each by its own measure', () => {
    const n = 60;
    // adapter 0 is loud everywhere and a little louder on the first half; adapter 1 is quiet, and less so on the second
    const found = Float64Array.from({ length: 2 * n }, (_, at) => {
      const [i, a] = [Math.floor(at / 2), at % 2];
      const isHome = i < n / 2 === (a === 0);
      return (a === 0 ? 100 : 1) + (isHome ? 0.1 : 0) + 0.001 * i;
    });
    const [loud, quiet] = strongestPrompts(found, 2);
    expect(loud!.every((i) => i < n / 2)).toBe(true);
    expect(quiet!.every((i) => i >= n / 2)).toBe(true);
    expect([loud!.length, quiet!.length]).toEqual([30, 30]);
    expect(quiet![0]).toBe(59);
  });

  it('are at most 40, and ten of one that is nowhere the first', () => {
    const n = 200;
    // the first two have half of the prompts each; the third says the same of all
    const found = Float64Array.from({ length: 3 * n }, (_, at) => {
      const [i, a] = [Math.floor(at / 3), at % 3];
      return a === 2 ? 1 : i < n / 2 === (a === 0) ? 2 : 1;
    });
    expect(strongestPrompts(found, 3).map(({ length }) => length)).toEqual([40, 40, 10]);
  });
});
