/**
 * Base models of real shapes with random weights, for what depends on shapes alone: config.json, weights in bfloat16, and the embedded
 * model's tokenizer, its vocabulary filled up with tokens that no text in ASCII has.
 */

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRandom } from '../src/core/random.js';
import { writeDirectoryAtomic } from '../src/files/atomic.js';
import { isDirectory } from '../src/files/io.js';
import { type JsonObject, readJsonObject, writeJson } from '../src/files/json.js';
import { parseModelConfig } from '../src/hf/config.js';
import { expectedShapes } from '../src/hf/model.js';
import { float32ToBfloat16 } from '../src/safetensors/half-floats.js';
import { writeSafetensors } from '../src/safetensors/write.js';

/** What is not the same in the two config.json; the token ids are those of the embedded model's tokenizer. */
const COMMON = { hidden_act: 'silu', tie_word_embeddings: true, bos_token_id: 0, eos_token_id: 1 };

/** config.json by the name of the model that it has the shapes of. */
export const SHAPES = {
  'qwen2.5-0.5b': {
    ...COMMON,
    model_type: 'qwen2',
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    vocab_size: 151_936,
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
    max_position_embeddings: 32_768,
    use_sliding_window: false,
  },
  'qwen3-0.6b': {
    ...COMMON,
    model_type: 'qwen3',
    hidden_size: 1024,
    intermediate_size: 3072,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    head_dim: 128,
    vocab_size: 151_936,
    rms_norm_eps: 1e-6,
    rope_theta: 1_000_000,
    max_position_embeddings: 40_960,
    use_sliding_window: false,
  },
  'llama-3.2-1b': {
    ...COMMON,
    model_type: 'llama',
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    vocab_size: 128_256,
    rms_norm_eps: 1e-5,
    rope_theta: 500_000,
    rope_scaling: {
      rope_type: 'llama3',
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
    max_position_embeddings: 131_072,
  },
};

/** The directory of a base of these shapes within `cache`, made when it is first asked for. */
export function shapedBase(name: keyof typeof SHAPES, cache: string, embedded: string): string {
  const dir = join(cache, name);
  if (!isDirectory(dir)) {
    writeDirectoryAtomic(dir, {}, (inside) => {
      const file: JsonObject = SHAPES[name];
      writeJson(join(inside, 'config.json'), file);
      copyFileSync(join(embedded, 'tokenizer_config.json'), join(inside, 'tokenizer_config.json'));
      const tokenizer = readJsonObject(join(embedded, 'tokenizer.json'));
      fillVocabulary(tokenizer.model as BpeModel, SHAPES[name].vocab_size);
      writeJson(join(inside, 'tokenizer.json'), tokenizer);
      writeWeights(inside, file);
    });
  }
  return dir;
}

/** Norms of 1, and else small numbers from one sequence, which is repeated: they are not worth the time to draw each. */
function writeWeights(dir: string, file: JsonObject): void {
  const random = createRandom(0, 'bench-memory');
  const numbers = new Uint16Array(1_000_003);
  float32ToBfloat16(
    Float32Array.from(numbers, () => 0.02 * random.normal()),
    numbers,
  );
  const ones = new Uint16Array(1);
  float32ToBfloat16(Float32Array.of(1), ones);
  const weights = [...expectedShapes(parseModelConfig(file, 'config.json'))].map(([name, shape]) => ({
    name,
    dtype: 'BF16' as const,
    shape,
    data: () => {
      const length = shape.reduce((a, b) => a * b);
      if (name.includes('norm')) return new Uint16Array(length).fill(ones[0]!);
      const data = new Uint16Array(length);
      for (let at = 0; at < length; at += numbers.length) data.set(numbers.subarray(0, length - at), at);
      return data;
    },
  }));
  writeSafetensors(join(dir, 'model.safetensors'), weights, { format: 'pt' });
}

interface BpeModel {
  vocab: Record<string, number>;
  merges: Array<[string, string]>;
}

/** Adds pairs and triples of the letters that stand for bytes beyond ASCII, by merges of the lowest rank. */
function fillVocabulary({ vocab, merges }: BpeModel, size: number): void {
  const letters = Object.keys(vocab).filter((token) => /^[\u00a1-\u00ff]$/.test(token));
  let count = Object.keys(vocab).length;
  let heads = letters;
  while (count < size) {
    const made: string[] = [];
    for (const head of heads) {
      for (const letter of letters) {
        const token = head + letter;
        if (count === size || Object.hasOwn(vocab, token)) continue;
        vocab[token] = count++;
        merges.push([head, letter]);
        made.push(token);
      }
    }
    heads = made;
  }
}
