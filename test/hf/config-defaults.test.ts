/** What transformers' configuration classes fill in where config.json has sizes alone (scripts/fixtures/identity.py). */

import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/files/json.js';
import { parseModelConfig } from '../../src/hf/config.js';
import { fixtureJson } from '../helpers/fixtures.js';

interface Case {
  name: string;
  config: JsonObject;
  filled: Record<string, unknown>;
}

const CASES = fixtureJson<Case[]>('identity', 'defaults.json');

/** What each key of transformers' is among ours; those that a family lacks are not compared. */
function oursOf(config: ReturnType<typeof parseModelConfig>): Record<string, unknown> {
  const { slidingWindow, slidingLayers, numLayers, rotaryLayers, slidingRope } = config;
  const windows = slidingLayers ?? Array.from({ length: numLayers }, () => slidingWindow !== null);
  const rope = { rope_theta: config.ropeTheta, rope_type: config.ropeScaling?.type ?? 'default' };
  return {
    num_key_value_heads: config.numKvHeads,
    head_dim: config.headDim,
    rms_norm_eps: config.rmsNormEps,
    max_position_embeddings: config.maxPositionEmbeddings,
    tie_word_embeddings: config.tieWordEmbeddings,
    attention_bias: config.attentionBias,
    mlp_bias: config.mlpBias,
    sliding_window: slidingWindow,
    layer_types: windows.map((has) => (has && slidingWindow !== null ? 'sliding_attention' : 'full_attention')),
    query_pre_attn_scalar: config.attentionScale && Math.round(config.attentionScale ** -2),
    embedding_multiplier: config.embeddingScale,
    attention_multiplier: config.attentionScale,
    residual_multiplier: config.residualScale,
    logits_scaling: 1 / config.logitScale,
    no_rope_layers: (rotaryLayers ?? []).map(Number),
    rope_parameters: slidingRope === null ? rope : { full_attention: rope, sliding_attention: expect.anything() },
  };
}

describe('a config.json with sizes alone', () => {
  it.each(CASES.map((one) => [one.name, one] as const))('%s', (_, { config, filled }) => {
    const ours = oursOf(parseModelConfig(config, 'config.json'));
    const { partial_rotary_factor: _partial, ...rope } = filled.rope_parameters as JsonObject;
    const expected = { ...filled, rope_parameters: rope };
    const compared = Object.keys(ours).filter((key) => Object.hasOwn(filled, key));
    expect(compared.length).toBeGreaterThan(4);
    const of = (values: Record<string, unknown>) => Object.fromEntries(compared.map((key) => [key, values[key]]));
    if ('full_attention' in rope) {
      expect(Object.keys(rope).sort()).toEqual(['full_attention', 'sliding_attention']);
      ours.rope_parameters = {
        full_attention: (ours.rope_parameters as JsonObject).full_attention,
        sliding_attention: rope.sliding_attention,
      };
    }
    expect(of(ours)).toEqual(of(expected));
  });
});
