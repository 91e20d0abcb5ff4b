/** The same tokens end an answer as in llama.cpp itself. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { GgufFile } from '../../../src/gguf/read.js';
import { ggufEndTokenIds } from '../../../src/gguf/vocabulary/end-tokens.js';
import { temporaryRoot } from '../../helpers/files.js';
import { fixture, hasShared, shared } from '../../helpers/fixtures.js';
import { changedGguf } from '../../helpers/gguf-changed.js';
import { endIds, endLlamaCpp } from '../../helpers/llama-cpp.js';

const dir = temporaryRoot();
afterAll(() => rmSync(dir, { recursive: true, force: true }));
endLlamaCpp();

const plain = join(dir, 'plain.gguf');
exportModelGguf({ model: fixture('end-tokens', 'model'), out: plain, type: 'F32' });

const ours = (path: string): number[] => {
  const file = GgufFile.open(path);
  file.close();
  return ggufEndTokenIds(file);
};

/** The plain file with its last tokens called otherwise, and other ids under some keys (null: none). */
function variant(names: readonly string[], keys: Record<string, number | null> = {}): string {
  return changedGguf(plain, (metadata) => {
    const tokens = metadata.get('tokenizer.ggml.tokens') as { type: 'array'; of: 'string'; value: string[] };
    const value = [...tokens.value.slice(0, -names.length || undefined), ...names];
    metadata.set('tokenizer.ggml.tokens', { ...tokens, value });
    for (const [key, id] of Object.entries(keys)) {
      if (id === null) metadata.delete(`tokenizer.ggml.${key}`);
      else metadata.set(`tokenizer.ggml.${key}`, { type: 'uint32', value: id });
    }
  });
}

const KNOWN = [
  ...['<|eot_id|>', '<|im_end|>', '<|end|>', '<end_of_turn>', '<|endoftext|>', '<|eom_id|>', '<EOT>', '_<EOT>'],
  ...['<|end_of_text|>', '<end_of_utterance>'],
];

describe('ends of an answer', () => {
  it.each<[string, string[], Record<string, number | null>]>([
    ['none but EOS', [], {}],
    ['three keys', [], { eos_token_id: 5, eot_token_id: 265, eom_token_id: 9 }],
    ['keys of what ends a file', [], { fim_pad_token_id: 7, fim_rep_token_id: 8, fim_sep_token_id: 11 }],
    ['such a key beside the text', ['<|fim_pad|>', '<|repo_name|>'], { fim_pad_token_id: 7 }],
    ['keys of what ends nothing', [], { fim_pre_token_id: 7, mask_token_id: 8, padding_token_id: 11 }],
    ['known texts', KNOWN, {}],
    ['ends of files', ['<|fim_pad|>', '<|repo_name|>', '<|file_sep|>', '<|fim_prefix|>'], {}],
    ['other ends of files', ['<fim_pad>', '<reponame>', '<|im_start|>'], {}],
    [
      'newer texts',
      [
        '</s>x',
        '[EOT]',
        '[EOS]',
        '<end_of_utterance>',
        '<eos>',
        '<turn|>',
        '<|flush|>',
        '<|calls|>',
        '<｜end▁of▁sentence｜>',
        '[e~[',
      ],
      {},
    ],
    ['harmony', ['<|return|>', '<|call|>', '<|end|>', '<|start|>'], {}],
    ['texts that look like ends', ['<|im_end|>x', '<|EOT_ID|>', '<eos', '</s', '[/INST]', '<|eot|>'], {}],
    ['no EOS', [], { eos_token_id: null }],
  ])('%s', async (_name, names, keys) => {
    const path = variant(names, keys);
    const ids = ours(path);
    expect(ids).toEqual(await endIds(path));
    expect(ids.length).toBeGreaterThan(0);
  });

  it.skipIf(!hasShared).each(['gpt-2', 'llama-spm', 'phi-3', 'starcoder'])('of %s', async (name) => {
    const path = shared('llama.cpp-vocab', 'models', `ggml-vocab-${name}.gguf`);
    expect(ours(path)).toEqual(await endIds(path, { vocabOnly: true }));
  });
});
