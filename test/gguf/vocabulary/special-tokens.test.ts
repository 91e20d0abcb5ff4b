/** Ids outside the vocabulary: what trains, scores and embeds says the same of them as what serves. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import { openBase } from '../../../src/gguf/base.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { specialTokenIds } from '../../../src/gguf/vocabulary/special-tokens.js';
import { errorOf, temporaryRoot } from '../../helpers/files.js';
import { fixture } from '../../helpers/fixtures.js';
import { changedGguf } from '../../helpers/gguf-changed.js';

const dir = temporaryRoot();
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const plain = join(dir, 'plain.gguf');
exportModelGguf({ model: fixture('end-tokens', 'model'), out: plain, type: 'F32' });

const naming = (token: string, id: number): string =>
  changedGguf(plain, (metadata) => metadata.set(`tokenizer.ggml.${token}_token_id`, { type: 'uint32', value: id }));
const serve = (model: string) =>
  openLlamaCppEngine({ model, name: 'm', threads: 1, gpu: false, sequences: 1, isTrial: true });

it.each(['bos', 'eos', 'eot', 'eom', 'unknown'])('an id of %s is refused by all', async (token) => {
  const path = naming(token, 320); // the first that is none
  const refusal = {
    code: 'tokenizer-invalid',
    message: expect.stringContaining(`tokenizer.ggml.${token}_token_id is 320, expected 0 to 319`),
  };
  expect(errorOf(() => openBase(path))).toMatchObject(refusal);
  await expect(serve(path)).rejects.toMatchObject(refusal);
});

it.each(['padding', 'mask', 'fim_pad'])('an id of %s is no token for all', async (token) => {
  const path = naming(token, 2 ** 32 - 1);
  const base = openBase(path);
  expect(base.endTokenIds).toEqual([1]);
  expect(base.tokenizer().decode([5])).not.toBe('');
  base.close();
  await (await serve(path)).close();
});

it('takes the last token of all, and no key for no token', () => {
  const ids = (key: string, value: number) =>
    specialTokenIds({
      path: 'x',
      metadata: new Map([
        ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: ['a', 'b'] }],
        [key, { type: 'uint32', value }],
      ]),
    });
  expect([...ids('tokenizer.ggml.eot_token_id', 1)]).toEqual([['eot', 1]]);
  expect([...ids('tokenizer.ggml.constructor_token_id', 1)]).toEqual([]);
});

const CHAT = [{ role: 'user', content: 'hi' }];
const NAMES = ['bos', 'eos', 'unk', 'pad'].map((name) => `{{ ${name}_token }}`).join('|');

it.each([[[]], [['bos']], [['eos']], [['bos', 'eos', 'unknown', 'padding']]])(
  'are the same in a chat template, scored and served, without %s',
  async (missing) => {
    const path = changedGguf(plain, (metadata) => {
      for (const token of missing) metadata.delete(`tokenizer.ggml.${token}_token_id`);
      metadata.set('tokenizer.ggml.add_bos_token', { type: 'bool', value: false });
      metadata.set('tokenizer.chat_template', { type: 'string', value: `${NAMES} {{ messages[0].content }}` });
    });
    const base = openBase(path);
    const tokenizer = base.tokenizer();
    const engine = await serve(path);
    const served = [...engine.tokenize({ kind: 'chat', messages: CHAT })];
    await engine.close();
    base.close();
    expect(tokenizer.chat!.encode(CHAT)).toEqual(served);
  },
);
