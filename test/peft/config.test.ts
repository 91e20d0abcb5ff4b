import { describe, expect, it } from 'vitest';
import {
  firstMatches,
  fullMatches,
  loraScale,
  parsePeftConfig,
  ranksAndAlphas,
  targetedModules,
} from '../../src/peft/config.js';
import { errorOf } from '../helpers/files.js';
import { processorMs } from '../helpers/processor.js';

const plain = { peft_type: 'LORA', r: 8, lora_alpha: 16, target_modules: ['q_proj', 'v_proj'] };
const parse = (changes: Record<string, unknown>) => parsePeftConfig({ ...plain, ...changes }, 'adapter_config.json');
const refusal = (changes: Record<string, unknown>) => errorOf(() => parse(changes));

const q0 = 'model.layers.0.self_attn.q_proj';
const q1 = 'model.layers.1.self_attn.q_proj';
const v0 = 'model.layers.0.self_attn.v_proj';
const up = 'model.layers.0.mlp.up_proj';

describe('an adapter_config.json', () => {
  it('needs nothing but its type: the rest has PEFT defaults', () => {
    expect(parsePeftConfig({ peft_type: 'LORA' }, 'c')).toEqual({
      baseModel: null,
      taskType: null,
      r: 8,
      loraAlpha: 8,
      useRslora: false,
      rankPattern: {},
      alphaPattern: {},
      targetModules: null,
      excludeModules: null,
      layersToTransform: null,
      layersPattern: [],
      fanInFanOut: false,
      ensureWeightTying: false,
    });
  });

  it('may have options of training and initialisation, which do not matter here', () => {
    const config = parse({
      lora_dropout: 0.1,
      init_lora_weights: 'gaussian',
      eva_config: null,
      loftq_config: {},
      new_key: 1,
    });
    expect(config.r).toBe(8);
  });

  it.each([
    ['DoRA', { use_dora: true }, /DoRA/],
    ['biases', { bias: 'lora_only' }, /bias "lora_only"/],
    ['a bias on lora_B', { lora_bias: true }, /bias on lora_B/],
    ['trained tokens', { trainable_token_indices: [1, 2] }, /trainable_token_indices/],
    ['bare parameters', { target_parameters: ['experts'] }, /target_parameters/],
    ['PiSSA, which changes the base', { init_lora_weights: 'pissa_niter_4' }, /pissa_niter_4/],
    ['OLoRA, which changes the base', { init_lora_weights: 'olora' }, /olora/],
    ['activated LoRA', { alora_invocation_tokens: [5] }, /alora/],
    ['replicated layers', { layer_replication: [[0, 2]] }, /layer_replication/],
    ['QALoRA', { use_qalora: true }, /QALoRA/],
    ['another method', { peft_type: 'LOHA' }, /"LOHA"/],
    ['no method', { peft_type: undefined }, /missing/],
  ])('is refused for %s', (_name, changes, message) => {
    const error = refusal(changes);
    expect(error.code).toBe('adapter-unsupported');
    expect(error.message).toMatch(message);
  });

  it('has all its unsupported options named at once', () => {
    expect(refusal({ use_dora: true, bias: 'all' }).message).toMatch(/DoRA.*bias/);
  });

  it.each([
    { r: 0 },
    { r: 2.5 },
    { r: '8' },
    { lora_alpha: '16' },
    { lora_alpha: Number.POSITIVE_INFINITY },
    { rank_pattern: { q_proj: 0 } },
    { rank_pattern: ['q_proj'] },
    { alpha_pattern: { q_proj: 'x' } },
    { target_modules: [1] },
    { use_rslora: 'yes' },
    { layers_to_transform: [-1] },
    { fan_in_fan_out: 1 },
  ])('is refused for the bad value %j', (changes) => {
    const error = refusal(changes);
    expect(error.code).toBe('adapter-invalid');
    expect(error.message).toContain(Object.keys(changes)[0]);
  });
});

describe('ranks and scales', () => {
  it('follow the first pattern that matches, in the order of the file', () => {
    const config = parse({ rank_pattern: { 'layers.0.*': 4, q_proj: 2 }, alpha_pattern: { v_proj: 6 } });
    expect(ranksAndAlphas(config, [q0, q1, v0, up], 'c')).toEqual([
      { r: 4, loraAlpha: 16 },
      { r: 2, loraAlpha: 16 },
      { r: 4, loraAlpha: 6 },
      { r: 4, loraAlpha: 16 },
    ]);
  });

  it('are alpha / r, or alpha / sqrt(r) under rsLoRA', () => {
    expect(loraScale(4, 8, false)).toBe(2);
    expect(loraScale(4, 8, true)).toBe(4);
  });
});

describe('targeted modules', () => {
  const which = (changes: Record<string, unknown>, names = [q0, q1, v0, up]) => {
    const targeted = targetedModules(parse(changes), names, 'c');
    return names.filter((_, i) => targeted[i]);
  };

  it('are named by the end of their path, at a dot', () => {
    expect(which({})).toEqual([q0, q1, v0]);
    expect(which({ target_modules: ['proj'] })).toEqual([]);
    expect(which({ target_modules: [up] })).toEqual([up]);
    expect(which({ target_modules: ['0.self_attn.q_proj'] })).toEqual([q0]);
  });

  it('are named by a regular expression for the whole path', () => {
    expect(which({ target_modules: '.*\\.(q|up)_proj' })).toEqual([q0, q1, up]);
    expect(which({ target_modules: 'q_proj' })).toEqual([]);
  });

  it('are all of them for null and all-linear', () => {
    expect(which({ target_modules: null })).toHaveLength(4);
    expect(which({ target_modules: 'all-linear' })).toHaveLength(4);
  });

  it('lack the excluded ones', () => {
    expect(which({ exclude_modules: ['v_proj'] })).toEqual([q0, q1]);
    expect(which({ exclude_modules: '.*layers\\.1.*' })).toEqual([q0, v0]);
  });

  it('can be limited to some layers', () => {
    expect(which({ layers_to_transform: 1 })).toEqual([q1]);
    expect(which({ layers_to_transform: [0], layers_pattern: 'layers' })).toEqual([q0, v0]);
    expect(which({ layers_to_transform: [0], layers_pattern: ['h'] })).toEqual([]);
    expect(
      which({ layers_to_transform: [1], target_modules: ['w'] }, ['m.layers.1.experts.0.w', 'm.layers.0.experts.1.w']),
    ).toEqual(['m.layers.1.experts.0.w']);
  });
});

const regexNames = ['model.layers.0.self_attn.q_proj', 'model.layers.1.mlp.up_proj', 'lm_head', 'a-b.c d'];
const matched = (matches: boolean[]): string[] => regexNames.filter((_, i) => matches[i]);

/** One key alone. */
const suffixMatches = (key: string) => firstMatches([key], regexNames, 'adapter_config.json').map((at) => at === 0);

describe('firstMatches, as PEFT matches rank_pattern', () => {
  // expected: [n for n in names if re.match(rf"(.*\.)?({key})$", n)] in Python 3.11
  it.each([
    ['q_proj', [regexNames[0]]],
    ['proj', []],
    ['_proj', []],
    ['.*_proj', [regexNames[0], regexNames[1]]],
    ['layers\\.0\\..*', [regexNames[0]]],
    ['^model\\.layers\\.1.*', [regexNames[1]]],
    ['layers.0.self_attn.q_proj', [regexNames[0]]],
    ['layers.0.self.attn.q.proj', [regexNames[0]]], // a dot is any character
    ['odel.layers.0.self_attn.q_proj', []],
    ['(?P<x>lm)_head', [regexNames[2]]],
    ['lm_head|up_proj', [regexNames[1], regexNames[2]]],
    ['a\\-b\\.c\\ d', [regexNames[3]]],
    ['[\\w\\-]+\\.c d', [regexNames[3]]],
  ])('%s', (key, expected) => {
    expect(matched(suffixMatches(key))).toEqual(expected);
  });
});

describe('fullMatches, as PEFT matches target_modules', () => {
  it.each([
    ['.*self_attn\\.(q|k)_proj', [regexNames[0]]],
    ['q_proj', []],
    ['lm_head|.*up_proj', [regexNames[1], regexNames[2]]],
  ])('%s', (pattern, expected) => {
    expect(matched(fullMatches(pattern, regexNames, 'adapter_config.json'))).toEqual(expected);
  });
});

describe('a pattern is refused', () => {
  it.each(['(', '(?i)q_proj', 'q_proj\\Z', '(?P=x)'])('that JavaScript does not have: %s', (pattern) => {
    const error = errorOf(() => suffixMatches(pattern));
    expect(error.code).toBe('adapter-unsupported');
    expect(error.message).toContain(JSON.stringify(pattern));
  });

  it('that would match for ever, by what stopped it', { tags: 'slow' }, () => {
    const names = [`${'a'.repeat(60)}!`];
    const stopped = /regular expression "\(\(a\+\)\+\)\+" takes too long: it was stopped after 1 s/;
    expect(errorOf(() => fullMatches('((a+)+)+', names, 'c')).message).toMatch(stopped);
    expect(errorOf(() => firstMatches(['x', '((a+)+)+'], names, 'c')).message).toMatch(
      /2 expressions take too long: it was stopped after 1 s, at regular expression "\(\(a/,
    );
    const layers = { layers_to_transform: [1], layers_pattern: ['((a+)+)+'], target_modules: ['w'] };
    const error = errorOf(() => targetedModules(parse(layers), [`${'a'.repeat(60)}!.1.w`], 'c'));
    expect([error.code, error.message]).toEqual(['adapter-unsupported', expect.stringMatching(stopped)]);
  });
});

it('patterns of 20,000 keys and lists of as many names cost what they are long', { tags: 'slow' }, () => {
  const names = Array.from({ length: 224 }, (_, i) => `model.layers.${i >> 3}.self_attn.p${i % 8}`);
  const many = Array.from({ length: 20_000 }, (_, i) => `k${i}`);
  const started = processorMs();
  const pattern = Object.fromEntries(many.map((key) => [key, 4]));
  const config = parse({ rank_pattern: pattern, alpha_pattern: pattern });
  expect(ranksAndAlphas(config, names, 'c')[0]).toEqual({ r: 8, loraAlpha: 16 });
  const layers = { layers_to_transform: [1], layers_pattern: many, target_modules: [...many, 'p0'] };
  expect(targetedModules(parse(layers), names, 'c').some((is) => is)).toBe(false);
  expect(processorMs() - started).toBeLessThan(5000);
});
