/** Which tensor gets which type: cases read off llama.cpp's own quantiser (scripts/peers/compare_quantised.py compares whole files). */

import { describe, expect, it } from 'vitest';
import { GGUF_FILE_TYPE_NAMES, type GgufFileType, storedTypes } from '../../src/gguf/file-types.js';

const MODEL = { architecture: 'llama', numLayers: 16, numHeads: 8, numKvHeads: 2 };

/** A model of so many layers, tensors in an order that is not the layers'. */
function tensorsOf(layers: number, columns: number, isTied: boolean) {
  const order = Array.from({ length: layers }, (_, i) => layers - 1 - i);
  const layer = (i: number) => [
    { name: `blk.${i}.attn_norm.weight`, shape: [columns] },
    { name: `blk.${i}.attn_v.weight`, shape: [64, columns] },
    { name: `blk.${i}.attn_v.bias`, shape: [64] },
    { name: `blk.${i}.attn_q.weight`, shape: [64, columns] },
    { name: `blk.${i}.ffn_down.weight`, shape: [columns, 512] },
  ];
  const head = isTied ? [] : [{ name: 'output.weight', shape: [99, columns] }];
  return [{ name: 'token_embd.weight', shape: [99, columns] }, ...order.flatMap(layer), ...head];
}

function typesOf(type: GgufFileType, columns = 256, isTied = false, model = MODEL) {
  const tensors = tensorsOf(model.numLayers, columns, isTied);
  const types = storedTypes(type, tensors, model);
  return new Map(tensors.map(({ name }, i) => [name, types[i]!]));
}

/** Layers in which a tensor has a type. */
const layersWith = (types: Map<string, string>, tensor: string, type: string) =>
  [...types]
    .flatMap(([name, found]) => {
      const [, layer] = new RegExp(`^blk\\.(\\d+)\\.${tensor}\\.weight$`).exec(name) ?? [];
      return layer !== undefined && found === type ? [Number(layer)] : [];
    })
    .sort((a, b) => a - b);

describe('storedTypes', () => {
  it.each(['Q4_K_M', 'Q5_K_M'] as const)('%s gives more bits to the first, the last and every third layer', (type) => {
    const types = typesOf(type);
    for (const tensor of ['attn_v', 'ffn_down']) {
      expect(layersWith(types, tensor, 'Q6_K')).toEqual([0, 1, 4, 7, 10, 13, 14, 15]);
      expect(layersWith(types, tensor, type.slice(0, 4))).toEqual([2, 3, 5, 6, 8, 9, 11, 12]);
    }
    expect(layersWith(types, 'attn_q', type.slice(0, 4))).toHaveLength(16);
    expect(types.get('blk.3.attn_norm.weight')).toBe('F32');
    expect(types.get('blk.3.attn_v.bias')).toBe('F32');
  });

  it('Q4_K_S raises the first four attn_v and the first eighth of ffn_down; Q5_K_S none', () => {
    expect(layersWith(typesOf('Q4_K_S'), 'attn_v', 'Q5_K')).toEqual([0, 1, 2, 3]);
    expect(layersWith(typesOf('Q4_K_S'), 'ffn_down', 'Q5_K')).toEqual([0, 1]);
    expect(layersWith(typesOf('Q5_K_S'), 'ffn_down', 'Q5_K')).toHaveLength(16);
  });

  it('gives the head Q6_K, and the embeddings where they are the head', () => {
    for (const type of ['Q4_0', 'Q5_1', 'Q4_K_M', 'Q5_K_S', 'Q6_K'] as const) {
      expect(typesOf(type, 256, true).get('token_embd.weight')).toBe('Q6_K');
      expect(typesOf(type).get('output.weight')).toBe('Q6_K');
    }
    expect(typesOf('Q4_K_M').get('token_embd.weight')).toBe('Q4_K');
    expect(typesOf('Q8_0').get('output.weight')).toBe('Q8_0');
  });

  it.each([
    ['Q4_K_M', 96, 'Q5_0', 'Q8_0', 'Q8_0'],
    ['Q5_K_M', 96, 'Q5_1', 'Q8_0', 'Q8_0'],
    ['Q6_K', 96, 'Q8_0', 'Q8_0', 'Q8_0'],
    ['Q4_0', 96, 'Q4_0', 'Q4_0', 'Q8_0'],
    ['Q4_K_M', 40, 'F16', 'F16', 'F16'],
    ['Q8_0', 40, 'F16', 'F16', 'F16'],
  ] as const)('%s with rows of %i falls back: most %s, raised %s, head %s', (type, columns, most, raised, head) => {
    const types = typesOf(type, columns, true);
    expect(types.get('blk.2.attn_q.weight')).toBe(most);
    expect(types.get('blk.0.attn_v.weight')).toBe(raised);
    expect(types.get('token_embd.weight')).toBe(head);
  });

  it('raises attn_v of models with 80 layers that share values', () => {
    const large = { architecture: 'llama', numLayers: 80, numHeads: 64, numKvHeads: 8 };
    expect(layersWith(typesOf('Q4_K_M', 256, false, large), 'attn_v', 'Q4_K')).toEqual([]);
    expect(layersWith(typesOf('Q4_K_M', 256, false, large), 'attn_v', 'Q5_K').length).toBeGreaterThan(30);
    const alone = { ...large, numKvHeads: 64 };
    expect(layersWith(typesOf('Q4_K_M', 256, false, alone), 'attn_v', 'Q4_K').length).toBeGreaterThan(30);
  });

  it('stores all vectors in F32, whatever the file', () => {
    for (const type of GGUF_FILE_TYPE_NAMES) expect(typesOf(type).get('blk.0.attn_norm.weight')).toBe('F32');
  });
});
