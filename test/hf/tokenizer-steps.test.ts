import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isCrayonError } from '../../src/core/errors.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

/** The fixture's tokenizer with other steps. */
function withSteps(change: object) {
  const dir = join(temporaryDir(), 'model');
  cpSync(fixture('tokenizer', 'byte-level'), dir, { recursive: true });
  const path = join(dir, 'tokenizer.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }));
  return () => loadTokenizer(dir).encode('a é');
}
const times = (count: number, step: object) => Array.from({ length: count }, () => step);
const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
const replace = (pattern: object, content: string) => ({ type: 'Replace', pattern, content });

describe('steps that make a text longer', () => {
  it.each<[string, object]>([
    ['bytes of bytes', { pre_tokenizer: { type: 'Sequence', pretokenizers: times(30, BYTE_LEVEL) } }],
    [
      'within each other',
      { pre_tokenizer: times(30, {}).reduce((inner) => sequence([BYTE_LEVEL, inner]), BYTE_LEVEL) },
    ],
    ['doubled letters', { normalizer: { type: 'Sequence', normalizers: times(30, replace({ String: 'a' }, 'aa')) } }],
    ['between all letters', { normalizer: { type: 'Sequence', normalizers: times(30, replace({ Regex: '' }, 'b')) } }],
    ['a long one', { normalizer: replace({ String: 'a' }, 'a'.repeat(200)) }],
    ['behind the vocabulary', { decoder: { type: 'Sequence', decoders: times(30, replace({ String: 'a' }, 'aa')) } }],
    ['at the front', { normalizer: { type: 'Sequence', normalizers: times(30, { type: 'Prepend', prepend: 'xx' }) } }],
    ['without end', { normalizer: { type: 'Sequence', normalizers: times(10_000, { type: 'Lowercase' }) } }],
  ])('are refused: %s', (_, change) => {
    let found: unknown;
    try {
      withSteps(change)();
    } catch (error) {
      found = error;
    }
    expect(isCrayonError(found) && [found.code, found.message]).toEqual([
      'tokenizer-invalid',
      expect.stringMatching(/(normalizer|pre_tokenizer|decoder) (makes each|has 10000 steps)/),
    ]);
  });

  it('are taken as real ones have them', () => {
    const metaspace = {
      type: 'Sequence',
      normalizers: [{ type: 'Prepend', prepend: '▁' }, replace({ String: ' ' }, '▁')],
    };
    expect(withSteps({ normalizer: metaspace })).not.toThrow();
    const words = replace({ Regex: ' {2,}' }, '▁');
    expect(withSteps({ normalizer: { type: 'Sequence', normalizers: [{ type: 'NFKC' }, words] } })).not.toThrow();
  });
});

function sequence(pretokenizers: object[]) {
  return { type: 'Sequence', pretokenizers };
}
