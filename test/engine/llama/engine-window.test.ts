/** A sliding window forgets: a prompt of which the sequence holds a beginning is answered as in a new engine. */

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { request, wholeAnswer } from '../../helpers/edge-gguf.js';
import { temporaryDir } from '../../helpers/files.js';
import { fixture } from '../../helpers/fixtures.js';

const tokens = (count: number, step: number) => Array.from({ length: count }, (_, i) => 3 + ((i * step) % 90));

it('holds for a long beginning, whose past the cache has, and for a short one, whose past it has forgotten', async () => {
  const dir = temporaryDir();
  const out = join(dir, 'gemma3.gguf');
  cpSync(fixture('models', 'gemma3'), join(dir, 'gemma3'), { recursive: true });
  const config = join(dir, 'gemma3', 'config.json');
  const changed = { ...JSON.parse(readFileSync(config, 'utf8')), max_position_embeddings: 4096, sliding_window: 512 };
  writeFileSync(config, JSON.stringify(changed));
  exportModelGguf({ model: join(dir, 'gemma3'), out, type: 'F32' });

  const open = () => openLlamaCppEngine({ model: out, name: 'windowed', threads: 1, gpu: false, sequences: 1 });
  const long = tokens(2000, 7);
  const prompts = [
    long,
    [...long.slice(0, 1950), 5, 9, 11],
    [...long.slice(0, 900), ...tokens(20, 11)],
    long.slice(0, 950),
  ];
  const asked = (ids: number[]) =>
    request('', { prompt: { kind: 'text', text: '', ids }, maxTokens: 4, topLogprobs: 1 });
  const one = await open();
  const reused = [];
  for (const ids of prompts) reused.push(await wholeAnswer(one, asked(ids)));
  await one.close();
  for (const [i, ids] of prompts.entries()) {
    const fresh = await open();
    const { tokens: alone } = await wholeAnswer(fresh, asked(ids));
    await fresh.close();
    expect(
      reused[i]!.tokens.map(({ logprob }) => logprob),
      `prompt ${i}`,
    ).toEqual(alone.map(({ logprob }) => logprob));
  }
  expect(reused.map(({ usage }) => usage.cachedTokens! > 0)).toEqual([false, true, false, true]);
});
