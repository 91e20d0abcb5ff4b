/**
 * Converts a llama2.c checkpoint and its tokenizer into a Hugging Face directory.
 *
 *   npx tsx scripts/convert-llama2c.ts stories260K.bin tok512.bin models/stories260k
 *
 * Formats: the legacy export (version 0) of https://github.com/karpathy/llama2.c, `export.py` and `tokenizer.py`.
 * The result is a `llama` model in float32, and a tokenizer.json as transformers makes one for Llama (legacy mode).
 */

import { join } from 'node:path';
import { CrayonError, isCrayonError } from '../src/core/errors.js';
import { writeDirectoryAtomic } from '../src/files/atomic.js';
import { readSmallFile } from '../src/files/io.js';
import { decodeUtf8, writeJson } from '../src/files/json.js';
import { type TensorToWrite, writeSafetensors } from '../src/safetensors/write.js';

const MAX_BYTES = 2 ** 31;
const HEADER_INTS = 7;

interface Checkpoint {
  config: Record<string, unknown>;
  tensors: TensorToWrite[];
}

/** Reads `<model>.bin`: 7 int32, then float32 weights in a fixed order. */
export function readCheckpoint(path: string): Checkpoint {
  const bytes = readSmallFile(path, MAX_BYTES);
  if (bytes.byteLength < HEADER_INTS * 4) throw invalid(path, `${bytes.byteLength} bytes, too short for the header`);
  const header = new Int32Array(bytes.buffer, 0, HEADER_INTS) as unknown as Header;
  const [C, F, L, H, K, signedV, T] = header;
  // A negative vocabulary size says that the output matrix is not the embedding table.
  const V = Math.abs(signedV);
  const sizes = [C, F, L, H, K, V, T];
  if (sizes.some((size) => size < 1) || C % H !== 0 || H % K !== 0) {
    throw invalid(path, `header ${[...header].join(' ')} is no legacy llama2.c header`);
  }
  const D = C / H;
  const isShared = signedV > 0;
  const reader = new WeightReader(
    new Float32Array(bytes.buffer, HEADER_INTS * 4, (bytes.byteLength >> 2) - HEADER_INTS),
    path,
  );

  // 1) the weights, each kind for all layers at once
  const tensors: TensorToWrite[] = [reader.take('model.embed_tokens.weight', [V, C])];
  const perLayer = (name: string, shape: number[]): void => {
    for (let i = 0; i < L; i++) tensors.push(reader.take(`model.layers.${i}.${name}.weight`, shape));
  };
  perLayer('input_layernorm', [C]);
  perLayer('self_attn.q_proj', [H * D, C]);
  perLayer('self_attn.k_proj', [K * D, C]);
  perLayer('self_attn.v_proj', [K * D, C]);
  perLayer('self_attn.o_proj', [C, H * D]);
  perLayer('post_attention_layernorm', [C]);
  perLayer('mlp.gate_proj', [F, C]); // w1
  perLayer('mlp.down_proj', [C, F]); // w2
  perLayer('mlp.up_proj', [F, C]); // w3
  tensors.push(reader.take('model.norm.weight', [C]));
  reader.skip(T * D); // tables of cos and sin, which every reader computes itself
  if (!isShared) tensors.push(reader.take('lm_head.weight', [V, C]));
  reader.expectEnd();

  // 2) rotary pairs: neighbours (Meta) become halves of the head (Hugging Face)
  for (const tensor of tensors) {
    if (/\.(q|k)_proj\./.test(tensor.name)) tensor.data = splitHalves(tensor.data as Float32Array, D, C);
  }
  return {
    tensors,
    config: {
      architectures: ['LlamaForCausalLM'],
      attention_bias: false,
      bos_token_id: 1,
      dtype: 'float32',
      // llama2.c ends a text with BOS, which stands between two texts of its training data.
      eos_token_id: [1, 2],
      head_dim: D,
      hidden_act: 'silu',
      hidden_size: C,
      intermediate_size: F,
      max_position_embeddings: T,
      mlp_bias: false,
      model_type: 'llama',
      num_attention_heads: H,
      num_hidden_layers: L,
      num_key_value_heads: K,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      rope_scaling: null,
      tie_word_embeddings: isShared,
      vocab_size: V,
    },
  };
}

/** dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len */
type Header = [number, number, number, number, number, number, number];

class WeightReader {
  readonly #weights: Float32Array;
  readonly #path: string;
  #position = 0;

  constructor(weights: Float32Array, path: string) {
    this.#weights = weights;
    this.#path = path;
  }

  take(name: string, shape: number[]): TensorToWrite {
    const count = shape.reduce((product, size) => product * size, 1);
    const data = this.#weights.subarray(this.#position, this.#position + count);
    if (data.length < count) throw invalid(this.#path, `ends within ${name}`);
    this.#position += count;
    return { name, dtype: 'F32', shape, data };
  }

  skip(count: number): void {
    this.#position += count;
  }

  expectEnd(): void {
    if (this.#position === this.#weights.length) return;
    throw invalid(this.#path, `${this.#weights.length} weights, expected ${this.#position}`);
  }
}

/** Rows (head, pair, part) -> (head, part, pair) of a (heads * D, C) matrix. */
function splitHalves(data: Float32Array, D: number, C: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let row = 0; row < data.length / C; row++) {
    const inHead = row % D;
    const target = row - inHead + (inHead % 2) * (D / 2) + (inHead >> 1);
    out.set(data.subarray(row * C, (row + 1) * C), target * C);
  }
  return out;
}

export interface Piece {
  text: string;
  score: number;
}

/** Reads `tokenizer.bin`: int32 longest piece, then for each piece float32 score, int32 length, bytes. */
export function readPieces(path: string): Piece[] {
  const bytes = readSmallFile(path, MAX_BYTES);
  const view = new DataView(bytes.buffer);
  const pieces: Piece[] = [];
  for (let at = 4; at < bytes.byteLength; ) {
    const length = at + 8 <= bytes.byteLength ? view.getInt32(at + 4, true) : -1;
    if (length < 0 || at + 8 + length > bytes.byteLength) throw invalid(path, `piece ${pieces.length} is cut short`);
    const text = decodeUtf8(bytes.subarray(at + 8, at + 8 + length), path, 'tokenizer-invalid');
    pieces.push({ text, score: view.getFloat32(at, true) });
    at += 8 + length;
  }
  return pieces;
}

const SPECIAL = ['<unk>', '<s>', '</s>'];

/** tokenizer.json of a SentencePiece BPE vocabulary, as transformers' LlamaConverter builds it. */
export function tokenizerJson(pieces: Piece[]): unknown {
  // llama2.c writes the space of a piece as itself, and puts line feeds around BOS and EOS for printing.
  const names = pieces.map(({ text }, id) => SPECIAL[id] ?? text.replaceAll(' ', '▁'));
  const vocab = Object.fromEntries(names.map((name, id) => [name, id]));
  if (Object.keys(vocab).length !== names.length) throw new CrayonError('tokenizer-invalid', 'a piece occurs twice');
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => {
      return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
    }),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [
        { SpecialToken: { id: '<s>', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '<s>', type_id: 1 } },
        { Sequence: { id: 'B', type_id: 1 } },
      ],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab,
      merges: mergesByScore(pieces, names, vocab),
    },
  };
}

/** Every way to join two pieces into a third, the third's score in descending order. */
function mergesByScore(pieces: Piece[], names: string[], vocab: Record<string, number>): Array<[string, string]> {
  const merges: Array<{ left: string; right: string; score: number }> = [];
  for (const [id, name] of names.entries()) {
    if (id < SPECIAL.length) continue;
    const characters = [...name];
    for (let i = 1; i < characters.length; i++) {
      const left = characters.slice(0, i).join('');
      const right = characters.slice(i).join('');
      if (Object.hasOwn(vocab, left) && Object.hasOwn(vocab, right))
        merges.push({ left, right, score: pieces[id]!.score });
    }
  }
  merges.sort((a, b) => b.score - a.score || vocab[a.left]! - vocab[b.left]! || vocab[a.right]! - vocab[b.right]!);
  return merges.map(({ left, right }) => [left, right]);
}

/** Writes the directory; an existing one is refused. */
export function convertLlama2c(checkpointPath: string, tokenizerPath: string, out: string): void {
  const { config, tensors } = readCheckpoint(checkpointPath);
  const pieces = readPieces(tokenizerPath);
  if (pieces.length !== config.vocab_size) {
    throw invalid(tokenizerPath, `${pieces.length} pieces, expected ${config.vocab_size} as in ${checkpointPath}`);
  }
  writeDirectoryAtomic(out, {}, (dir) => {
    writeSafetensors(join(dir, 'model.safetensors'), tensors, { format: 'pt' });
    writeJson(join(dir, 'config.json'), config);
    writeJson(join(dir, 'tokenizer.json'), tokenizerJson(pieces));
    writeJson(join(dir, 'tokenizer_config.json'), {
      bos_token: '<s>',
      clean_up_tokenization_spaces: false,
      eos_token: '</s>',
      model_max_length: config.max_position_embeddings,
      tokenizer_class: 'PreTrainedTokenizerFast',
      unk_token: '<unk>',
    });
  });
}

function invalid(path: string, problem: string): CrayonError {
  return new CrayonError('model-invalid', `${path}: ${problem}`, {
    hint: 'Only the legacy export (version 0) of llama2.c is read.',
  });
}

if (import.meta.url === new URL(process.argv[1] ?? '', 'file://').href) {
  const [checkpoint, tokenizer, out] = process.argv.slice(2);
  try {
    if (checkpoint === undefined || tokenizer === undefined || out === undefined) {
      throw new CrayonError('bad-option', 'usage: convert-llama2c.ts <model.bin> <tokenizer.bin> <output directory>');
    }
    convertLlama2c(checkpoint, tokenizer, out);
    console.log(`${out}: written`);
  } catch (error) {
    if (!isCrayonError(error)) throw error;
    console.error(`Error: ${error.message}${error.hint ? `\n${error.hint}` : ''}`);
    process.exitCode = error.exitCode;
  }
}
