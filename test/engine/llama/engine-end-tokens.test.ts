/** Answers end where transformers ends them, wherever the model's directory names its end tokens. */

import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { loadTokenizer } from '../../../src/hf/tokenizer.js';
import { openBaseModel } from '../../../src/serve/base-model.js';
import { editJson } from '../../e2e/helpers.js';
import { request, wholeAnswer } from '../../helpers/edge-gguf.js';
import { temporaryRoot } from '../../helpers/files.js';
import { fixture, fixtureJson } from '../../helpers/fixtures.js';

interface Golden {
  prompt: string;
  maxTokens: number;
  cases: Array<{
    name: string;
    generation: number | number[] | null;
    config: number | number[];
    prompt: number[];
    tokens: number[];
  }>;
}

const GOLDEN = fixtureJson<Golden>('end-tokens', 'golden.json');
const dir = temporaryRoot();
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function modelOf({ name, generation, config }: Golden['cases'][number]): string {
  const model = join(dir, name.replaceAll(/\W/g, '-'));
  cpSync(fixture('end-tokens', 'model'), model, { recursive: true });
  editJson<Record<string, unknown>>(
    join(model, 'config.json'),
    (json) => void Object.assign(json, { eos_token_id: config }),
  );
  const json = JSON.stringify({ eos_token_id: generation });
  if (generation !== null) writeFileSync(join(model, 'generation_config.json'), json);
  return model;
}

describe.each(GOLDEN.cases)('end tokens: $name', (one) => {
  const model = modelOf(one);
  const tokenizer = loadTokenizer(model);
  const ended = one.tokens.length < GOLDEN.maxTokens;
  const text = tokenizer.decode(ended ? one.tokens.slice(0, -1) : one.tokens, { keepSpecial: true });

  const answerOf = async (options: { model: string; endTokens?: readonly number[] }) => {
    const engine = await openLlamaCppEngine({
      ...options,
      name: 'm',
      threads: 1,
      gpu: false,
      sequences: 1,
      cacheType: 'F32',
    });
    try {
      return await wholeAnswer(engine, request(GOLDEN.prompt, { maxTokens: GOLDEN.maxTokens }));
    } finally {
      await engine.close();
    }
  };

  it('is served so from its directory', async () => {
    const base = openBaseModel(model, { cacheDir: join(dir, 'cache'), type: 'F32' });
    base.close();
    const answer = await answerOf({ model: base.gguf, endTokens: base.endTokens });
    expect([answer.text, answer.finishReason]).toEqual([text, ended ? 'stop' : 'length']);
    expect(answer.usage.completionTokens).toBe(one.tokens.length); // the end token too, as transformers lists it
  });

  it('is so from its exported file, or the export says what it cannot hold', async () => {
    const out = join(dir, 'out.gguf');
    const { unheldEndTokens } = exportModelGguf({ model, out, type: 'F32', force: true });
    const answer = await answerOf({ model: out });
    const last = one.tokens.at(-1)!;
    if (unheldEndTokens.some(({ id }) => id === last)) expect(answer.finishReason).toBe('length');
    else expect([answer.text, answer.finishReason]).toEqual([text, ended ? 'stop' : 'length']);
    const five = one.name.startsWith('five');
    expect(unheldEndTokens.map(({ id }) => id)).toEqual(five ? [302, 215] : []);
  });
});
