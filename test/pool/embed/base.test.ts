/** The first-attention embedding from a GGUF file beside that of the Hugging Face directory it was made from. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GgufWriteType } from '../../../src/gguf/encodings.js';
import { GGML_TYPES, type GgmlType } from '../../../src/gguf/format.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { GgufFile } from '../../../src/gguf/read.js';
import { ggufTokenizer } from '../../../src/gguf/vocabulary/tokenizer.js';
import { HfModel } from '../../../src/hf/model.js';
import { loadTokenizer, type Tokenizer } from '../../../src/hf/tokenizer.js';
import { type FirstAttentionSource, firstAttentionSource } from '../../../src/pool/embed/base.js';
import { firstAttentionEmbedder } from '../../../src/pool/embed/kinds/first-attention.js';
import { float32ToBfloat16, float32ToFloat16 } from '../../../src/safetensors/half-floats.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';
import { fixture, fixtureJson, fixtureTensors, relativeDifference } from '../../helpers/fixtures.js';
import { floatEntry, ggufModel, ggufPath, stringEntry, uintEntry } from '../../helpers/gguf.js';
import { quantiseForTest } from '../../helpers/gguf-quantise.js';

/** Rows (head, part, pair) -> (head, pair, part): what llama.cpp's converter does to Llama's query matrix. */
function permute(data: Float32Array, headDim: number, columns: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let row = 0; row < data.length / columns; row++) {
    const [head, inHead] = [Math.floor(row / headDim), row % headDim];
    const [part, pair] = [Math.floor(inHead / (headDim / 2)), inHead % (headDim / 2)];
    out.set(data.subarray(row * columns, (row + 1) * columns), (head * headDim + 2 * pair + part) * columns);
  }
  return out;
}

type Change = { architecture?: string; metadata?: Buffer[]; weights?: Partial<Record<string, Float32Array>> };

/** A GGUF of the three tensors (four with a bias), matrices in `type`, vectors in F32 as llama.cpp keeps them. */
function ggufOf(source: FirstAttentionSource, type: GgmlType, architecture: string, change: Change = {}): string {
  const { hiddenSize: C, numHeads: heads, headDim, rmsNormEps, vocabSize } = source;
  const inFileOrder = (data: Float32Array, columns: number): Float32Array =>
    architecture === 'llama' ? permute(data, headDim, columns) : data;
  const all = Int32Array.from({ length: vocabSize }, (_, i) => i);
  const bias = source.queryBias();
  const tensors = [
    { name: 'token_embd.weight', shape: [vocabSize, C], type, data: source.embeddingRows(all) },
    { name: 'blk.0.attn_norm.weight', shape: [C], type: 'F32' as const, data: source.inputNorm() },
    { name: 'blk.0.attn_q.weight', shape: [heads * headDim, C], type, data: inFileOrder(source.queryWeight(), C) },
    ...(bias === null
      ? []
      : [{ name: 'blk.0.attn_q.bias', shape: [heads * headDim], type: 'F32' as const, data: inFileOrder(bias, 1) }]),
  ].map(({ name, shape, type: kind, data }) => {
    return { name, shape, type: GGML_TYPES[kind].id, bytes: encode(kind, change.weights?.[name] ?? data) };
  });
  const a = change.architecture ?? architecture;
  const metadata = change.metadata ?? [
    stringEntry('general.architecture', a),
    uintEntry(`${a}.embedding_length`, C),
    uintEntry(`${a}.attention.head_count`, heads),
    uintEntry(`${a}.attention.key_length`, headDim),
    floatEntry(`${a}.attention.layer_norm_rms_epsilon`, rmsNormEps),
  ];
  return ggufPath(ggufModel(metadata, tensors));
}

function encode(type: GgmlType, data: Float32Array): Uint8Array {
  if (type === 'F32') return new Uint8Array(data.slice().buffer);
  if (type !== 'F16' && type !== 'BF16') return quantiseForTest(type, data);
  const words = new Uint16Array(data.length);
  (type === 'F16' ? float32ToFloat16 : float32ToBfloat16)(data, words);
  return new Uint8Array(words.buffer);
}

/** Real prompts of six tasks. */
function promptsFor(tokenizer: Tokenizer): Int32Array[] {
  return ['date-iso', 'dbpedia-topic', 'intent', 'key-value-json', 'sentiment', 'route-bank'].flatMap((task) => {
    const lines = readFileSync(join('suite', task, 'test.jsonl'), 'utf8')
      .split('\n')
      .slice(0, 10);
    return lines.map((line) => Int32Array.from(tokenizer.encode(JSON.parse(line).prompt, { addBos: false })));
  });
}

/** Smallest cosine of corresponding unit rows. */
function smallestCosine(x: Float32Array, y: Float32Array, d: number): number {
  let smallest = 1;
  for (let i = 0; i < x.length; i += d) {
    let dot = 0;
    for (let j = i; j < i + d; j++) dot += x[j]! * y[j]!;
    smallest = Math.min(smallest, dot);
  }
  return smallest;
}

function embedFile(path: string, prompts: Int32Array[]): Float32Array {
  const file = GgufFile.open(path);
  const rows = firstAttentionEmbedder(file).embed(prompts);
  file.close();
  return rows;
}

/** The first `width` columns of a model's weights: real weights and tokens at a width that K-quants can hold. */
function narrowed(source: FirstAttentionSource, width: number): FirstAttentionSource {
  const columns = (data: Float32Array): Float32Array => {
    const rows = data.length / source.hiddenSize;
    const out = new Float32Array(rows * width);
    for (let i = 0; i < rows; i++) {
      out.set(data.subarray(i * source.hiddenSize, i * source.hiddenSize + width), i * width);
    }
    return out;
  };
  return {
    ...source,
    hiddenSize: width,
    embeddingRows: (tokens) => columns(source.embeddingRows(tokens)),
    inputNorm: () => source.inputNorm().slice(0, width),
    queryWeight: () => columns(source.queryWeight()),
  };
}

describe('the embedding of a GGUF in F32', () => {
  it.each([
    ['llama', 'llama'],
    ['mistral', 'llama'],
    ['qwen2', 'qwen2'],
    ['qwen3', 'qwen3'],
  ])('%s: equals PyTorch', (name, architecture) => {
    const golden = fixtureJson<{ ids: number[][]; promptLengths: number[] }>('golden', `${name}.json`);
    const expected = fixtureTensors('golden', `${name}.safetensors`).get('embedding.first-attention')!;
    const prompts = golden.ids.map((row, b) => Int32Array.from(row.slice(0, golden.promptLengths[b]!)));
    const model = HfModel.open(fixture('models', name));
    const path = ggufOf(firstAttentionSource(model), 'F32', architecture);
    model.close();
    expect(relativeDifference(embedFile(path, prompts), expected)).toBeLessThan(1e-5);
  });

  it('of a Llama with a query bias has it in the order of the rows', () => {
    const model = HfModel.open(fixture('models', 'qwen2'));
    const source = firstAttentionSource(model);
    expect(source.queryBias()?.some((x) => x !== 0)).toBe(true);
    const prompts = [Int32Array.of(9, 10, 11), Int32Array.of(12)];
    const expected = firstAttentionEmbedder(source).embed(prompts);
    const path = ggufOf(source, 'F32', 'llama');
    model.close();
    expect(relativeDifference(embedFile(path, prompts), expected)).toBeLessThan(1e-6);
  });

  it('of rows in the wrong order is another one', () => {
    const model = HfModel.open(fixture('models', 'llama'));
    const source = firstAttentionSource(model);
    const prompts = [Int32Array.of(9, 10, 11)];
    const expected = firstAttentionEmbedder(source).embed(prompts);
    const path = ggufOf(source, 'F32', 'llama', { weights: { 'blk.0.attn_q.weight': source.queryWeight() } });
    model.close();
    expect(smallestCosine(embedFile(path, prompts), expected, expected.length)).toBeLessThan(0.9);
  });
});

describe('the embedding of a quantised GGUF', { tags: 'slow' }, () => {
  it.each<[string, GgmlType, number]>([
    ['crayon-edge', 'F16', 0.999999],
    ['crayon-edge', 'BF16', 0.9999],
    ['crayon-edge', 'Q8_0', 0.999],
    ['crayon-edge', 'Q4_0', 0.98],
  ])('%s in %s has a cosine above with the unquantised one over real prompts', (name, type, least) => {
    const model = HfModel.open(join('models', name));
    const source = firstAttentionSource(model);
    const prompts = promptsFor(loadTokenizer(join('models', name)));
    const embedder = firstAttentionEmbedder(source);
    const cosine = smallestCosine(
      embedFile(ggufOf(source, type, 'llama'), prompts),
      embedder.embed(prompts),
      embedder.d,
    );
    model.close();
    expect(cosine).toBeGreaterThan(least);
  });

  it.each<[GgmlType, number]>([
    ['Q8_0', 0.999],
    ['Q6_K', 0.999],
    ['Q5_K', 0.99],
    ['Q4_K', 0.98],
  ])('256 columns of crayon-server in %s: above %d', (type, least) => {
    const model = HfModel.open('models/crayon-server');
    const source = narrowed(firstAttentionSource(model), 256);
    const prompts = promptsFor(loadTokenizer('models/crayon-server'));
    const embedder = firstAttentionEmbedder(source);
    const cosine = smallestCosine(
      embedFile(ggufOf(source, type, 'llama'), prompts),
      embedder.embed(prompts),
      embedder.d,
    );
    model.close();
    expect(cosine).toBeGreaterThan(least);
  });
});

describe('a model that crayon exported', { tags: 'slow' }, () => {
  it.each<[GgufWriteType, number]>([
    ['F32', 0.9999999],
    ['Q8_0', 0.999],
  ])('in %s embeds real prompts like its directory, by its own tokenizer', (type, least) => {
    const dir = join('models', 'crayon-edge');
    const out = join(temporaryDir(), 'edge.gguf');
    exportModelGguf({ model: dir, out, type, force: false });
    const file = GgufFile.open(out);
    const model = HfModel.open(dir);
    const prompts = promptsFor(loadTokenizer(dir));
    const theirs = promptsFor(ggufTokenizer(file));
    expect(theirs).toEqual(prompts);
    const embedder = firstAttentionEmbedder(model);
    const cosine = smallestCosine(firstAttentionEmbedder(file).embed(theirs), embedder.embed(prompts), embedder.d);
    model.close();
    file.close();
    expect(cosine).toBeGreaterThan(least);
  });
});

describe('a GGUF without such an embedding is refused', () => {
  const small = (): FirstAttentionSource => {
    const model = HfModel.open(fixture('models', 'llama'));
    const source = firstAttentionSource(model);
    const copy = {
      ...source,
      norm: source.inputNorm(),
      query: source.queryWeight(),
      rows: source.embeddingRows(Int32Array.from({ length: source.vocabSize }, (_, i) => i)),
    };
    model.close();
    return { ...copy, inputNorm: () => copy.norm, queryWeight: () => copy.query, embeddingRows: () => copy.rows };
  };
  const refusal = (path: string, tokens = [1]) =>
    errorOf(() => embedFile(path, [Int32Array.from(tokens)])) as { code: string; message: string };

  it('when its architecture is another', () => {
    const error = refusal(ggufOf(small(), 'F32', 'llama', { architecture: 'gemma2' }));
    expect(error.code).toBe('gguf-unsupported');
    expect(error.message).toContain('architecture "gemma2"');
  });

  it('when a size is missing or a tensor has another', () => {
    const source = small();
    expect(refusal(ggufOf(source, 'F32', 'llama', { metadata: [] })).message).toContain('no general.architecture');
    const bare = [stringEntry('general.architecture', 'llama')];
    expect(refusal(ggufOf(source, 'F32', 'llama', { metadata: bare })).message).toContain(
      'has no llama.embedding_length',
    );
    const wrong = [
      ...bare,
      uintEntry('llama.embedding_length', source.hiddenSize),
      uintEntry('llama.attention.head_count', source.numHeads + 1),
      uintEntry('llama.attention.key_length', source.headDim),
      floatEntry('llama.attention.layer_norm_rms_epsilon', 1e-5),
    ];
    const error = refusal(ggufOf(source, 'F32', 'llama', { metadata: wrong }));
    expect(error).toMatchObject({ code: 'gguf-invalid' });
    expect(error.message).toMatch(/"blk.0.attn_q.weight" has shape \[48,\d+\], expected \[60,/);
  });

  it('when a weight is not finite, or a token beyond its table', () => {
    const source = small();
    const norm = source.inputNorm().slice();
    norm[3] = Number.NaN;
    const path = ggufOf(source, 'F32', 'llama', { weights: { 'blk.0.attn_norm.weight': norm } });
    expect(refusal(path)).toMatchObject({ code: 'tensor-not-finite' });
    expect(refusal(path).message).toContain('"blk.0.attn_norm.weight"');
    expect(refusal(ggufOf(source, 'F32', 'llama'), [source.vocabSize]).code).toBe('gguf-invalid');
  });
});
