import { describe, expect, it } from 'vitest';
import { parseModelConfig } from '../../src/hf/config.js';
import { errorOf } from '../helpers/files.js';

const base = { hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 100 };
const parse = (changes: Record<string, unknown>) =>
  parseModelConfig({ model_type: 'llama', ...base, ...changes }, 'config.json');
const refusal = (changes: Record<string, unknown>) => errorOf(() => parse(changes));

describe('defaults', () => {
  // expected: what transformers' configuration classes give for the same keys
  it('are those of llama', () => {
    expect(parse({})).toEqual({
      modelType: 'llama',
      hiddenSize: 64,
      intermediateSize: 128,
      numLayers: 2,
      numHeads: 4,
      numKvHeads: 4,
      headDim: 16,
      vocabSize: 100,
      rmsNormEps: 1e-6,
      ropeTheta: 10000,
      ropeScaling: null,
      maxPositionEmbeddings: 2048,
      slidingWindow: null,
      tieWordEmbeddings: false,
      attentionBias: false,
      attentionOutBias: false,
      mlpBias: false,
      qkNorm: false,
      bosTokenId: null,
      eosTokenIds: [],
    });
  });

  it('are those of mistral: a window, 8 key and value heads', () => {
    const config = parse({ model_type: 'mistral', num_attention_heads: 16 });
    expect(config).toMatchObject({ numKvHeads: 8, slidingWindow: 4096, headDim: 4, attentionBias: false });
    expect(parse({ model_type: 'mistral', num_key_value_heads: null, sliding_window: null })).toMatchObject({
      numKvHeads: 4,
      slidingWindow: null,
    });
  });

  it('are those of qwen2 and qwen3: biases, norms, head size', () => {
    const qwen2 = parse({ model_type: 'qwen2', num_key_value_heads: 2, sliding_window: 32 });
    expect(qwen2).toMatchObject({
      attentionBias: true,
      attentionOutBias: false,
      qkNorm: false,
      headDim: 16,
      slidingWindow: null,
    });
    const qwen3 = parse({ model_type: 'qwen3', num_key_value_heads: 2 });
    expect(qwen3).toMatchObject({ attentionBias: false, qkNorm: true, headDim: 128, slidingWindow: null });
  });

  it('know that llama biases are on all four projections', () => {
    expect(parse({ attention_bias: true, mlp_bias: true })).toMatchObject({
      attentionBias: true,
      attentionOutBias: true,
      mlpBias: true,
    });
  });
});

describe('rotary embedding', () => {
  const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  const expected = {
    type: 'llama3',
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositionEmbeddings: 8192,
  };

  it('reads the keys of transformers 4', () => {
    const config = parse({ rope_theta: 5e5, rope_scaling: { rope_type: 'llama3', ...llama3 } });
    expect(config).toMatchObject({ ropeTheta: 5e5, ropeScaling: expected });
    expect(parse({ rope_scaling: { type: 'linear', factor: 2 } }).ropeScaling).toEqual({ type: 'linear', factor: 2 });
    expect(parse({ rope_scaling: null }).ropeScaling).toBeNull();
  });

  it('reads the keys of transformers 5', () => {
    const config = parse({ rope_parameters: { rope_type: 'llama3', rope_theta: 5e5, ...llama3 } });
    expect(config).toMatchObject({ ropeTheta: 5e5, ropeScaling: expected });
    expect(parse({ rope_parameters: { rope_type: 'default', rope_theta: 1e6 } })).toMatchObject({
      ropeTheta: 1e6,
      ropeScaling: null,
    });
  });

  it.each(['yarn', 'dynamic', 'longrope'])('refuses %s', (type) => {
    expect(refusal({ rope_scaling: { rope_type: type, factor: 2 } }).code).toBe('model-unsupported');
  });

  it('refuses missing and impossible numbers', () => {
    expect(refusal({ rope_scaling: { type: 'linear' } }).message).toContain('factor is missing');
    const turned = { ...llama3, rope_type: 'llama3', high_freq_factor: 1 };
    expect(refusal({ rope_scaling: turned }).message).toContain('high_freq_factor');
  });
});

describe('a sliding window of qwen', () => {
  const qwen = { model_type: 'qwen2', num_key_value_heads: 2, use_sliding_window: true, sliding_window: 32 };

  it('counts when it is on all layers, and not when it is on none', () => {
    expect(parse({ ...qwen, max_window_layers: 0 }).slidingWindow).toBe(32);
    expect(parse({ ...qwen, max_window_layers: 2 }).slidingWindow).toBeNull();
    expect(parse({ ...qwen, layer_types: ['sliding_attention', 'sliding_attention'] }).slidingWindow).toBe(32);
  });

  it('is refused when it is on some layers', () => {
    expect(refusal({ ...qwen, max_window_layers: 1 }).code).toBe('model-unsupported');
  });
});

describe('token ids', () => {
  it('may be one or several', () => {
    expect(parse({ bos_token_id: 1, eos_token_id: [2, 3] })).toMatchObject({ bosTokenId: 1, eosTokenIds: [2, 3] });
    expect(parse({ bos_token_id: null, eos_token_id: 2 })).toMatchObject({ bosTokenId: null, eosTokenIds: [2] });
  });
});

describe('a configuration is refused', () => {
  it.each([
    [
      'of another model type, with the list of those known',
      { model_type: 'gpt2' },
      /"gpt2", expected llama, mistral, qwen2, qwen3/,
    ],
    ['without a model type', { model_type: undefined }, /missing/],
    ['with another activation', { hidden_act: 'gelu' }, /gelu/],
    ['of quantised weights', { quantization_config: { bits: 4 } }, /quantised/],
    ['with a partly rotary head', { partial_rotary_factor: 0.5 }, /partial_rotary_factor/],
  ])('as unsupported: %s', (_name, changes, message) => {
    const error = refusal(changes);
    expect(error.code).toBe('model-unsupported');
    expect(error.message).toMatch(message);
  });

  it.each([
    { hidden_size: undefined },
    { hidden_size: 0 },
    { vocab_size: 1.5 },
    { num_hidden_layers: '2' },
    { num_hidden_layers: 1e9 },
    { num_attention_heads: 3, head_dim: 16, num_key_value_heads: 2 },
    { head_dim: 7 },
    { rms_norm_eps: -1 },
    { rope_theta: 0 },
    { tie_word_embeddings: 1 },
    { eos_token_id: 'x' },
  ])('as invalid: %j', (changes) => {
    const error = refusal(changes);
    expect(error.code).toBe('model-invalid');
    expect(error.message).toContain(Object.keys(changes)[0]);
  });

  it('with all bad values named at once', () => {
    expect(refusal({ hidden_size: -1, vocab_size: 0 }).message).toMatch(/hidden_size.*vocab_size/);
  });
});
