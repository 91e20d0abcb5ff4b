/** The first-attention embedding from a GGUF file beside that of the Hugging Face directory it was made from. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GgufModel } from '../../../../src/gguf/base.js';
import { encodeGgufTensor } from '../../../../src/gguf/encodings.js';
import type { GgufFileType } from '../../../../src/gguf/file-types.js';
import { exportModelGguf } from '../../../../src/gguf/model.js';
import { GGML_TYPES, type GgmlType, type GgufWriteType } from '../../../../src/gguf/types.js';
import { HfModel } from '../../../../src/hf/model.js';
import { loadTokenizer, type Tokenizer } from '../../../../src/hf/tokenizer.js';
import type { EmbeddingBase } from '../../../../src/pool/embed/kind.js';
import { firstAttentionEmbedder } from '../../../../src/pool/embed/kinds/first-attention.js';
import { float32ToBfloat16 } from '../../../../src/safetensors/half-floats.js';
import { errorOf, temporaryDir } from '../../../helpers/files.js';
import { fixture, fixtureJson, fixtureTensors, relativeDifference } from '../../../helpers/fixtures.js';
import { floatEntry, ggufModel, ggufPath, stringEntry, uintEntry } from '../../../helpers/gguf.js';

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

const LAYER = 'model.layers.0';
const QUERY = `${LAYER}.self_attn.q_proj.weight`;
const TABLE = 'model.embed_tokens.weight';

/** A model of one layer: the three tensors of the embedding (four with biases) in `type`, vectors in F32, the rest zeros. */
function ggufOf(source: EmbeddingBase, type: GgmlType, architecture: string, change: Change = {}): string {
  const { hiddenSize: C, numHeads, numKvHeads, headDim: D, rmsNormEps, vocabSize, attentionBias } = source.config;
  const qkNorm = architecture === 'qwen3';
  const [d, k, I] = [numHeads * D, numKvHeads * D, 32];
  const inFileOrder = (data: Float32Array, columns: number): Float32Array =>
    architecture === 'llama' ? permute(data, D, columns) : data;
  const all = Int32Array.from({ length: vocabSize }, (_, i) => i);
  const of = (name: string, shape: number[], kind: GgmlType = 'F32', data?: Float32Array) => ({
    name,
    shape,
    kind,
    data,
  });
  const tensors = [
    of('token_embd.weight', [vocabSize, C], type, source.readRowsF32(TABLE, all)),
    of('blk.0.attn_norm.weight', [C], 'F32', source.readF32(`${LAYER}.input_layernorm.weight`)),
    of('blk.0.attn_q.weight', [d, C], type, inFileOrder(source.readF32(QUERY), C)),
    ...(attentionBias
      ? [
          of('blk.0.attn_q.bias', [d], 'F32', inFileOrder(source.readF32(`${LAYER}.self_attn.q_proj.bias`), 1)),
          of('blk.0.attn_k.bias', [k]),
          of('blk.0.attn_v.bias', [k]),
        ]
      : []),
    ...(qkNorm ? [of('blk.0.attn_q_norm.weight', [D]), of('blk.0.attn_k_norm.weight', [D])] : []),
    of('blk.0.attn_k.weight', [k, C]),
    of('blk.0.attn_v.weight', [k, C]),
    of('blk.0.attn_output.weight', [C, d]),
    of('blk.0.ffn_norm.weight', [C]),
    of('blk.0.ffn_gate.weight', [I, C]),
    of('blk.0.ffn_up.weight', [I, C]),
    of('blk.0.ffn_down.weight', [C, I]),
    of('output_norm.weight', [C]),
  ].map(({ name, shape, kind, data }) => {
    const zeros = new Float32Array(shape.reduce((a, b) => a * b));
    return { name, shape, type: GGML_TYPES[kind].id, bytes: encode(kind, change.weights?.[name] ?? data ?? zeros) };
  });
  const a = change.architecture ?? architecture;
  const metadata = change.metadata ?? [
    stringEntry('general.architecture', a),
    uintEntry(`${a}.block_count`, 1),
    uintEntry(`${a}.context_length`, 64),
    uintEntry(`${a}.embedding_length`, C),
    uintEntry(`${a}.feed_forward_length`, I),
    uintEntry(`${a}.attention.head_count`, numHeads),
    uintEntry(`${a}.attention.head_count_kv`, numKvHeads),
    uintEntry(`${a}.attention.key_length`, D),
    floatEntry(`${a}.attention.layer_norm_rms_epsilon`, rmsNormEps),
  ];
  return ggufPath(ggufModel(metadata, tensors));
}

function encode(type: GgmlType, data: Float32Array): Uint8Array {
  if (type !== 'BF16') return encodeGgufTensor(type as GgufWriteType, data, 'a tensor');
  const words = new Uint16Array(data.length);
  float32ToBfloat16(data, words);
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
  const file = GgufModel.open(path);
  const rows = firstAttentionEmbedder(file).embed(prompts);
  file.close();
  return rows;
}

/** The first `width` columns of a model's weights: real weights and tokens at a width that K-quants can hold. */
function narrowed({ config, readF32, readRowsF32 }: EmbeddingBase, width: number): EmbeddingBase {
  const columns = (data: Float32Array): Float32Array => {
    const rows = data.length / config.hiddenSize;
    const out = new Float32Array(rows * width);
    for (let i = 0; i < rows; i++) {
      out.set(data.subarray(i * config.hiddenSize, i * config.hiddenSize + width), i * width);
    }
    return out;
  };
  return {
    config: { ...config, hiddenSize: width },
    readF32: (name) => columns(readF32(name)),
    readRowsF32: (name, tokens) => columns(readRowsF32(name, tokens)),
  };
}

/** A model's methods as functions. */
function sourceOf(model: HfModel): EmbeddingBase {
  return {
    config: model.config,
    readF32: (name) => model.readF32(name),
    readRowsF32: (name, rows) => model.readRowsF32(name, rows),
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
    const path = ggufOf(model, 'F32', architecture);
    model.close();
    expect(relativeDifference(embedFile(path, prompts), expected)).toBeLessThan(1e-5);
  });

  it('of a Llama with a query bias has it in the order of the rows', () => {
    const model = HfModel.open(fixture('models', 'qwen2'));
    expect(model.readF32(`${LAYER}.self_attn.q_proj.bias`).some((x) => x !== 0)).toBe(true);
    const prompts = [Int32Array.of(9, 10, 11), Int32Array.of(12)];
    const expected = firstAttentionEmbedder(model).embed(prompts);
    const path = ggufOf(model, 'F32', 'llama');
    model.close();
    expect(relativeDifference(embedFile(path, prompts), expected)).toBeLessThan(1e-6);
  });

  it('of rows in the wrong order is another one', () => {
    const model = HfModel.open(fixture('models', 'llama'));
    const prompts = [Int32Array.of(9, 10, 11)];
    const expected = firstAttentionEmbedder(model).embed(prompts);
    const path = ggufOf(model, 'F32', 'llama', { weights: { 'blk.0.attn_q.weight': model.readF32(QUERY) } });
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
    const source = sourceOf(model);
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
    const source = narrowed(sourceOf(model), 256);
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
  it.each<[GgufFileType, number]>([
    ['F32', 0.9999999],
    ['Q8_0', 0.999],
  ])('in %s embeds real prompts like its directory, by its own tokenizer', (type, least) => {
    const dir = join('models', 'crayon-edge');
    const out = join(temporaryDir(), 'edge.gguf');
    exportModelGguf({ model: dir, out, type, force: false });
    const file = GgufModel.open(out);
    const model = HfModel.open(dir);
    const prompts = promptsFor(loadTokenizer(dir));
    const theirs = promptsFor(file.tokenizer());
    expect(theirs).toEqual(prompts);
    const embedder = firstAttentionEmbedder(model);
    const cosine = smallestCosine(firstAttentionEmbedder(file).embed(theirs), embedder.embed(prompts), embedder.d);
    model.close();
    file.close();
    expect(cosine).toBeGreaterThan(least);
  });
});

describe('a GGUF without such an embedding is refused', () => {
  const withModel = <T>(work: (model: HfModel) => T): T => {
    const model = HfModel.open(fixture('models', 'llama'));
    const result = work(model);
    model.close();
    return result;
  };
  const refusal = (change: Change, tokens = [1]) => {
    const path = withModel((model) => ggufOf(model, 'F32', 'llama', change));
    return errorOf(() => embedFile(path, [Int32Array.from(tokens)])) as { code: string; message: string };
  };

  it('when its architecture is another', () => {
    const error = refusal({ architecture: 'gpt2' });
    expect(error.code).toBe('gguf-unsupported');
    expect(error.message).toContain('architecture "gpt2"');
  });

  it('when a weight is not finite, or a token beyond its table', () => {
    const norm = withModel((model) => model.readF32(`${LAYER}.input_layernorm.weight`));
    norm[3] = Number.NaN;
    const error = refusal({ weights: { 'blk.0.attn_norm.weight': norm } });
    expect(error).toMatchObject({ code: 'tensor-not-finite' });
    expect(error.message).toContain('"blk.0.attn_norm.weight"');
    const { vocabSize } = withModel(({ config }) => config);
    expect(refusal({}, [vocabSize]).code).toBe('gguf-invalid');
  });
});
