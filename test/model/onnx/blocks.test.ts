import { describe, expect, it } from 'vitest';
import { HfModel } from '../../../src/hf/model.js';
import { poolLayout } from '../../../src/model/lora-layout.js';
import { Blocks, factorRanges, modulesOf, takeRows } from '../../../src/model/onnx/blocks.js';
import { fixture } from '../../helpers/fixtures.js';
import { oneThread } from '../../helpers/onnx.js';

function opened(name: string) {
  const source = HfModel.open(fixture('models', name));
  const layout = poolLayout(source, { targets: ['q_proj', 'down_proj'], r: 2 }, 3);
  const blocks = new Blocks(source, oneThread());
  source.close();
  return { blocks, layout };
}

describe('Blocks', () => {
  it('compiles once for layers of one kind', () => {
    const { blocks, layout } = opened('llama');
    const shape = { B: 2, T: 8 };
    const first = blocks.compiledBlock(0, shape, layout, true);
    expect(blocks.compiledBlock(1, shape, layout, true)).toBe(first);
    expect(first.backward).toBeDefined();
    const others = [
      blocks.compiledBlock(1, { B: 1, T: 16 }, layout, true),
      blocks.compiledBlock(1, shape, undefined, false),
      blocks.compiledBlock(1, shape, layout, false),
      blocks.compiledBlock(1, shape, layout, true, false),
    ];
    expect(new Set([first, ...others]).size).toBe(5);
    expect(others[1]!.backward).toBeUndefined();
    expect(others[3]!.backward!.graph.outputs.map(({ name }) => name)).not.toContain('dx');
    blocks.dispose();
  });

  it('compiles layers with a window apart from those without', () => {
    const { blocks, layout } = opened('gemma3');
    const { slidingLayers } = blocks.config;
    const compiled = slidingLayers!.map((_, layer) => blocks.compiledBlock(layer, { B: 1, T: 8 }, layout, false));
    const masks = slidingLayers!.map((_, layer) => blocks.layerInputs(layer, { T: 8 }, undefined).get('mask')!);
    for (const [layer, isSliding] of slidingLayers!.entries()) {
      const alike = slidingLayers!.indexOf(isSliding);
      expect(compiled[layer]).toBe(compiled[alike]);
      expect(masks[layer]).toBe(masks[alike]);
    }
    expect(new Set(compiled).size).toBe(2);
    blocks.dispose();
  });

  it('gives programs what they read, factors without a copy', () => {
    const { blocks, layout } = opened('llama');
    const parameters = new Float32Array(layout.size);
    const inputs = blocks.layerInputs(1, { T: 8 }, { layout, parameters, loraAlpha: 4 });
    const { forward } = blocks.compiledBlock(1, { B: 1, T: 8 }, layout, true);
    const missing = forward.graph.inputs.filter(({ name }) => !inputs.has(name)).map(({ name }) => name);
    expect(missing.sort()).toEqual(['gate', 'x']);
    for (const { name, shape } of forward.graph.inputs) {
      const array = inputs.get(name);
      if (array !== undefined) expect(array.length, name).toBe(shape.reduce((a, b) => a * b, 1));
    }
    const [name, module] = modulesOf(layout, 1)[0]!;
    expect(name).toBe('self_attn.q_proj');
    expect(inputs.get(`${name}.a`)!.buffer).toBe(parameters.buffer);
    expect(inputs.get(`${name}.a`)!.byteOffset).toBe(4 * factorRanges(module, 6).a[0]);
    blocks.dispose();
  });

  it.each([
    [0, []],
    [5, [[0, 5, 16]]],
    [32, [[0, 32, 32]]],
  ])('takes the head in slices of few sizes: %i rows', (P, expected) => {
    const { blocks } = opened('llama');
    expect([...blocks.headSlices(P)].map(({ from, count, size }) => [from, count, size])).toEqual(expected);
    blocks.dispose();
  });

  it('takes a long head in several slices that cover it', () => {
    const { blocks } = opened('llama');
    const P = Math.ceil(2 ** 24 / blocks.config.vocabSize) * 2 + 7;
    let next = 0;
    for (const { from, count, size } of blocks.headSlices(P)) {
      expect(from).toBe(next);
      expect(size).toBeGreaterThanOrEqual(count);
      expect(size * blocks.config.vocabSize).toBeLessThanOrEqual(2 ** 24);
      next += count;
    }
    expect(next).toBe(P);
    blocks.dispose();
  });
});

it('takeRows fills up with zeros', () => {
  const x = Float32Array.from([1, 2, 3, 4, 5, 6]);
  expect(Array.from(takeRows(x, 2, Int32Array.of(2, 0), 3))).toEqual([5, 6, 1, 2, 0, 0]);
});
