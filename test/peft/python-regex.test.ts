import { describe, expect, it } from 'vitest';
import { fullMatches, suffixMatches } from '../../src/peft/python-regex.js';
import { errorOf } from '../helpers/files.js';

const names = ['model.layers.0.self_attn.q_proj', 'model.layers.1.mlp.up_proj', 'lm_head', 'a-b.c d'];
const which = (matches: boolean[]): string[] => names.filter((_, i) => matches[i]);

describe('suffixMatches, as PEFT matches rank_pattern', () => {
  // expected: [n for n in names if re.match(rf"(.*\.)?({key})$", n)] in Python 3.11
  it.each([
    ['q_proj', [names[0]]],
    ['proj', []],
    ['_proj', []],
    ['.*_proj', [names[0], names[1]]],
    ['layers\\.0\\..*', [names[0]]],
    ['^model\\.layers\\.1.*', [names[1]]],
    ['layers.0.self_attn.q_proj', [names[0]]],
    ['(?P<x>lm)_head', [names[2]]],
    ['lm_head|up_proj', [names[1], names[2]]],
    ['a\\-b\\.c\\ d', [names[3]]],
    ['[\\w\\-]+\\.c d', [names[3]]],
  ])('%s', (key, expected) => {
    expect(which(suffixMatches(key, names, 'adapter_config.json'))).toEqual(expected);
  });
});

describe('fullMatches, as PEFT matches target_modules', () => {
  it.each([
    ['.*self_attn\\.(q|k)_proj', [names[0]]],
    ['q_proj', []],
    ['lm_head|.*up_proj', [names[1], names[2]]],
  ])('%s', (pattern, expected) => {
    expect(which(fullMatches(pattern, names, 'adapter_config.json'))).toEqual(expected);
  });
});

describe('a pattern is refused', () => {
  it.each(['(', '(?i)q_proj', 'q_proj\\Z', '(?P=x)'])('that JavaScript does not have: %s', (pattern) => {
    const error = errorOf(() => suffixMatches(pattern, names, 'adapter_config.json'));
    expect(error.code).toBe('adapter-unsupported');
    expect(error.message).toContain(JSON.stringify(pattern));
  });

  it('that would match for ever', { tags: 'slow' }, () => {
    const start = performance.now();
    const error = errorOf(() => fullMatches('(a+)+', [`${'a'.repeat(60)}!`], 'adapter_config.json'));
    expect(error.code).toBe('adapter-unsupported');
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});
