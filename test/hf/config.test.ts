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
      rotaryDim: 16,
      slidingRope: null,
      rotaryLayers: null,
      maxPositionEmbeddings: 2048,
      slidingWindow: null,
      slidingLayers: null,
      tieWordEmbeddings: false,
      attentionBias: false,
      attentionOutBias: false,
      mlpBias: false,
      embeddingScale: 1,
      attentionScale: null,
      residualScale: 1,
      logitScale: 1,
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
      headDim: 16,
      slidingWindow: null,
    });
    const qwen3 = parse({ model_type: 'qwen3', num_key_value_heads: 2 });
    expect(qwen3).toMatchObject({ attentionBias: false, headDim: 128, slidingWindow: null });
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

  it.each(['proportional', 'axial', 'su'])('refuses %s', (type) => {
    expect(refusal({ rope_scaling: { rope_type: type, factor: 2 } }).code).toBe('model-unsupported');
  });

  it('takes rope_scaling before rope_parameters, as transformers does, and the theta beside them', () => {
    const parameters = { rope_type: 'linear', factor: 2, rope_theta: 500 };
    const both = { rope_parameters: parameters, rope_scaling: { type: 'dynamic', factor: 4 }, rope_theta: 2000 };
    expect(parse(both)).toMatchObject({
      ropeTheta: 2000,
      ropeScaling: { type: 'dynamic', factor: 4, originalMaxPositionEmbeddings: 2048 },
    });
    expect(parse({ ...both, rope_scaling: {} })).toMatchObject({ ropeTheta: 500, ropeScaling: { type: 'linear' } });
  });

  it('infers what yarn and longrope leave out', () => {
    const yarn = { rope_type: 'yarn', factor: 4 };
    expect(parse({ rope_parameters: yarn }).ropeScaling).toEqual({
      type: 'yarn',
      factor: 4,
      originalMaxPositionEmbeddings: 2048,
      attentionFactor: 0.1 * Math.log(4) + 1,
      betaFast: 32,
      betaSlow: 1,
      truncate: true,
    });
    const factors = Array(8).fill(2);
    const longrope = { rope_type: 'longrope', short_factor: factors, long_factor: factors };
    const beside = { rope_parameters: longrope, original_max_position_embeddings: 512 };
    expect(parse(beside).ropeScaling).toEqual({
      type: 'longrope',
      shortFactors: factors,
      longFactors: factors,
      originalMaxPositionEmbeddings: 512,
      attentionFactor: Math.sqrt(1 + Math.log(4) / Math.log(512)),
    });
  });

  it('refuses missing and impossible numbers', () => {
    expect(refusal({ rope_scaling: { type: 'linear' } }).message).toContain('factor is missing');
    expect(refusal({ rope_scaling: { type: 'yarn' } }).message).toContain('factor is missing');
    const short = { type: 'longrope', short_factor: [1, 2], long_factor: Array(8).fill(1) };
    expect(refusal({ rope_scaling: short }).message).toMatch(/short_factor .*list of 8 numbers/);
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

  it('is known layer by layer when it is on some', () => {
    expect(parse({ ...qwen, max_window_layers: 1 })).toMatchObject({ slidingWindow: 32, slidingLayers: [false, true] });
  });
});

describe('gemma3', () => {
  const gemma = { model_type: 'gemma3_text', num_hidden_layers: 7, head_dim: 16, num_key_value_heads: 1 };

  it('has the defaults of transformers', () => {
    expect(parse({ ...gemma, head_dim: undefined })).toMatchObject({
      headDim: 256,
      rotaryDim: 256,
      maxPositionEmbeddings: 131_072,
      slidingWindow: 4096,
      slidingLayers: [true, true, true, true, true, false, true],
      ropeTheta: 1e6,
      ropeScaling: null,
      slidingRope: { ropeTheta: 1e4, ropeScaling: null },
      tieWordEmbeddings: true,
      embeddingScale: 8,
      attentionScale: 1 / 16,
    });
  });

  it("reads transformers 4's keys: one theta for each kind of layer, scaling on the full ones", () => {
    const old = { rope_theta: 5e5, rope_local_base_freq: 2e4, rope_scaling: { rope_type: 'linear', factor: 8 } };
    expect(parse({ ...gemma, ...old, sliding_window_pattern: 2, query_pre_attn_scalar: 4 })).toMatchObject({
      slidingLayers: [true, false, true, false, true, false, true],
      ropeTheta: 5e5,
      ropeScaling: { type: 'linear', factor: 8 },
      slidingRope: { ropeTheta: 2e4, ropeScaling: null },
      attentionScale: 0.5,
    });
  });

  it("reads transformers 5's keys, layer by layer", () => {
    const types = ['full_attention', 'sliding_attention', 'full_attention', ...Array(4).fill('sliding_attention')];
    const rope = { full_attention: { rope_theta: 3e6 }, sliding_attention: { rope_type: 'linear', factor: 2 } };
    expect(parse({ ...gemma, layer_types: types, rope_parameters: rope })).toMatchObject({
      slidingLayers: [false, true, false, true, true, true, true],
      ropeTheta: 3e6,
      slidingRope: { ropeTheta: 1e4, ropeScaling: { type: 'linear', factor: 2 } },
    });
  });

  it('is read out of the configuration of a model that can see', () => {
    const whole = { model_type: 'gemma3', text_config: { ...base, ...gemma }, vision_config: {} };
    expect(parseModelConfig(whole, 'config.json')).toEqual(parse(gemma));
  });

  it.each([
    [{ attn_logit_softcapping: 50 }, /attn_logit_softcapping 50/],
    [{ final_logit_softcapping: 30 }, /final_logit_softcapping 30/],
    [{ use_bidirectional_attention: true }, /use_bidirectional_attention/],
    [{ hidden_activation: 'gelu' }, /hidden_activation "gelu", expected "gelu_pytorch_tanh"/],
    [{ rope_parameters: { rope_type: 'default', rope_theta: 1e6 } }, /rope_parameters with rope_type, rope_theta/],
  ])('is refused with %j', (changes, message) => {
    const error = refusal({ ...gemma, ...changes });
    expect(error.code).toBe('model-unsupported');
    expect(error.message).toMatch(message);
  });

  it('is refused with layers of other types, or of another number', () => {
    expect(refusal({ ...gemma, layer_types: Array(7).fill('chunked_attention') }).message).toMatch(/layer_types/);
    expect(refusal({ ...gemma, layer_types: ['full_attention'] }).message).toMatch(/layer_types/);
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
    { eos_token_id: [2, 1e9] },
  ])('as invalid: %j', (changes) => {
    const error = refusal(changes);
    expect(error.code).toBe('model-invalid');
    expect(error.message).toContain(Object.keys(changes)[0]);
  });

  it('with all bad values named at once', () => {
    expect(refusal({ hidden_size: -1, vocab_size: 0 }).message).toMatch(/hidden_size.*vocab_size/);
  });
});
