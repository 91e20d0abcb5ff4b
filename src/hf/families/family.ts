/**
 * What is known of a family of models: each is one object in a file here, listed in families.ts. The block they share is
 * self-attention with rotary positions and a gated feed-forward, each on a residual; where they differ is data.
 */

import type { JsonObject } from '../../files/json.js';
import type { ConfigReader } from '../config-reader.js';
import { type Rope, readRope, ropeParameters } from '../rope.js';

/** What is read of a config.json. */
export interface ModelConfig extends Rope {
  /** see families.ts */
  modelType: string;
  /** C */
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  /** H, query heads */
  numHeads: number;
  /** Key and value heads; divides numHeads. */
  numKvHeads: number;
  /** D; not always hiddenSize / numHeads. */
  headDim: number;
  /** V */
  vocabSize: number;
  rmsNormEps: number;
  /** Leading numbers of a head that its position turns. */
  rotaryDim: number;
  /** The rotary embedding of the layers with a window, where it is another one (gemma3). */
  slidingRope: Rope | null;
  /** Which layers have a rotary embedding; null for all (smollm3). */
  rotaryLayers: readonly boolean[] | null;
  maxPositionEmbeddings: number;
  /** Layers see this many tokens back, itself included; null for all of them. */
  slidingWindow: number | null;
  /** Which layers have the window; null for all. */
  slidingLayers: readonly boolean[] | null;
  /** The output matrix is the embedding table. */
  tieWordEmbeddings: boolean;
  /** q, k and v projections have a bias. */
  attentionBias: boolean;
  /** The o projection has a bias. */
  attentionOutBias: boolean;
  mlpBias: boolean;
  /** Embeddings are multiplied by it before the first block. */
  embeddingScale: number;
  /** What q . k is multiplied by; null: 1 / sqrt(D). */
  attentionScale: number | null;
  /** What attention and feed-forward add to the residual is multiplied by it. */
  residualScale: number;
  /** Logits are multiplied by it. */
  logitScale: number;
  bosTokenId: number | null;
  eosTokenIds: number[];
}

export interface ModelFamily {
  /** `model_type` of config.json */
  readonly modelType: string;
  /** Of transformers' configuration class, for keys that a config.json leaves out. */
  readonly defaults: {
    /** null: as many as query heads */
    numKvHeads: number | null;
    /** null: hidden size / query heads */
    headDim: number | null;
    maxPositionEmbeddings: number;
    /** false where not given */
    tieWordEmbeddings?: boolean;
    /** 1e-6 where not given */
    rmsNormEps?: number;
    /** 10,000 where not given */
    ropeTheta?: number;
  };
  readonly block: BlockForm;
  /** The activation's key and its names in config.json; the first is the default. */
  readonly activation: { readonly key: string; readonly names: readonly string[] };
  /** Its heads may be turned in part (partial_rotary_factor). */
  readonly hasPartialRotary?: boolean;
  /** Which projections have a bias: q, k and v; o; the feed-forward ones. */
  biases(read: ConfigReader): Pick<ModelConfig, 'attentionBias' | 'attentionOutBias' | 'mlpBias'>;
  /** How far layers see back. */
  window(read: ConfigReader): Pick<ModelConfig, 'slidingWindow' | 'slidingLayers'>;
  /** The rotary embedding; ropeOfAllLayers where not given. @throws CrayonError `model-unsupported` */
  rope?(read: ConfigReader, context: RopeContext): RopeOfLayers;
  /** Factors that are not 1, and the attention's where it is not the root of the head's size. */
  scales?(read: ConfigReader): Partial<Scales>;
  /** Options of transformers that the forward pass does not have, in words. */
  unsupported?(json: JsonObject): string[];
  readonly gguf: GgufArchitecture;
}

type Scales = Pick<ModelConfig, 'embeddingScale' | 'attentionScale' | 'residualScale' | 'logitScale'>;
export type RopeOfLayers = Pick<
  ModelConfig,
  'ropeTheta' | 'ropeScaling' | 'rotaryDim' | 'slidingRope' | 'rotaryLayers'
>;

export interface RopeContext extends Pick<ModelConfig, 'headDim' | 'maxPositionEmbeddings'> {
  path: string;
  /** of the family */
  defaultTheta: number;
}

/** What a block is made of. Names are those of the checkpoint, within a layer. */
export interface BlockForm {
  /** RMSNorms before and after the attention and the feed-forward; null where there is none. */
  readonly norms: Readonly<Record<'attentionIn' | 'attentionOut' | 'mlpIn' | 'mlpOut', string | null>>;
  /** What is added to a stored norm weight before it multiplies: 1 in Gemma. */
  readonly normOffset: 0 | 1;
  /** RMSNorm of queries and keys: head by head, over all heads together, or none. */
  readonly qkNorm: 'head' | 'width' | null;
  readonly activation: 'silu' | 'gelu-tanh';
  /** The projections that LoRA can target. Those of one list read the same input; one alone holds the parts one below another. */
  readonly projections: {
    /** queries, keys, values */
    readonly attentionIn: readonly string[];
    readonly attentionOut: string;
    /** gate, up */
    readonly mlpIn: readonly string[];
    readonly mlpOut: string;
  };
}

/** Llama's block, and what most of its kin are made of. */
export const LLAMA_BLOCK: BlockForm = {
  norms: { attentionIn: 'input_layernorm', attentionOut: null, mlpIn: 'post_attention_layernorm', mlpOut: null },
  normOffset: 0,
  qkNorm: null,
  activation: 'silu',
  projections: {
    attentionIn: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
    attentionOut: 'self_attn.o_proj',
    mlpIn: ['mlp.gate_proj', 'mlp.up_proj'],
    mlpOut: 'mlp.down_proj',
  },
};

/** `swish` is transformers' other name of SiLU. */
export const SILU = { key: 'hidden_act', names: ['silu', 'swish'] } as const;

export const NO_BIAS = () => ({ attentionBias: false, attentionOutBias: false, mlpBias: false });
export const NO_WINDOW = () => ({ slidingWindow: null, slidingLayers: null });

/** The same rotary embedding of whole heads in every layer. */
export function ropeOfAllLayers(read: ConfigReader, context: RopeContext): RopeOfLayers {
  const { headDim: dim } = context;
  const { original_max_position_embeddings: original } = read.json;
  const rope = readRope(read, ropeParameters(read.json), { ...context, dim, original });
  return { ...rope, rotaryDim: dim, slidingRope: null, rotaryLayers: null };
}

/** How llama.cpp runs a family. */
export interface GgufArchitecture {
  /** `general.architecture`; families may share one */
  readonly name: string;
  /**
   * llama.cpp's rotary embedding turns neighbouring rows (2j, 2j + 1) of a head, transformers' rows (j, j + D/2): the rows
   * of q and k are reordered (`permute` of its converter's LlamaModel). Else both are the same.
   */
  readonly reordersHeads: boolean;
  /** It reads a bias of the o projection, and `rope_freqs.weight` of rope type llama3. */
  readonly hasOutBias: boolean;
  readonly hasRopeFactors: boolean;
  /** It reads `rope_factors_long.weight` and `rope_factors_short.weight` of rope type longrope. */
  readonly hasLongRope: boolean;
  /** It limits attention to the window; else only contexts within the window are exact. */
  readonly hasWindow: boolean;
  /** llama.cpp's names of a layer's modules where they are not Llama's. */
  readonly modules?: Readonly<Record<string, string>>;
  /** What its file has added to the norms' weights. */
  readonly normOffset?: number;
  /**
   * Reading a file as a base model: the keys of config.json that its metadata stand for, beyond those that gguf/base-config.ts
   * makes for all architectures (sizes, eps, rotary embedding, context, ties), which are given. What is not read here is
   * refused there.
   */
  config?(keys: GgufKeys, common: JsonObject): JsonObject;
  /** Hyperparameters beyond Llama's, by their key after the architecture's name: uint32 or float32. */
  metadata?(config: ModelConfig): GgufHyperparameters;
  /** What it would compute otherwise than transformers, in words. */
  differs?(config: ModelConfig): string[];
}

export type GgufHyperparameters = Record<string, { whole: number } | { real: number }>;

/** A GGUF file's metadata by their keys without `<architecture>.`; undefined where a key or a tensor is absent. */
export interface GgufKeys {
  /** as the decimal that was written: 1e-6, not the float32 next to it */
  number(key: string): number | undefined;
  numbers(key: string): readonly number[] | undefined;
  text(key: string): string | undefined;
  flag(key: string): boolean | undefined;
  /** by llama.cpp's name */
  hasTensor(name: string): boolean;
  tensor(name: string): Float32Array | undefined;
}
