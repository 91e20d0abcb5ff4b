/** What build-pool, blend and score say about a base model or an adapter that is wrong, and that they leave nothing behind. */

import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { fixture } from '../helpers/fixtures.js';
import {
  buildArgs,
  copyOf,
  editJson,
  LLAMA,
  OTHER,
  pokeF32,
  type Refusal,
  records,
  refusal,
  scratch,
  succeed,
  writeJsonl,
} from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const data = writeJsonl(at('train.jsonl'), records(12));
const out = at('out');

beforeAll(() => succeed(buildArgs(data, at('pool'))));

/** A build on that model, which must fail and leave nothing. */
async function build(model: string): Promise<Refusal> {
  const before = readdirSync(dir);
  const error = await refusal(buildArgs(data, out, '--model', model));
  expect(readdirSync(dir)).toEqual(before);
  return error;
}

/** Scoring needs no output, only words. */
const score = (...args: string[]) => refusal(['score', '--data', data, '--backend', 'wasm', ...args]);

describe('a base model', () => {
  it('that is not there', async () => {
    const error = await build(at('no-such-model'));
    expect(error).toMatchObject({ code: 'file-not-found', exit: 3 });
    expect(error.message).toContain(at('no-such-model'));
    expect(await score('--model', at('no-such-model'))).toEqual(error);
  });

  it('that is another kind of directory', async () => {
    const error = await build(at('pool'));
    expect(error).toMatchObject({ code: 'path-not-recognised', exit: 3 });
    expect(error.message).toContain('config.json');
    expect(error.hint).toBeDefined();
  });

  it('whose weights are truncated', async () => {
    const model = copyOf(LLAMA, at('truncated'));
    truncateSync(join(model, 'model.safetensors'), 20_000);
    const error = await build(model);
    expect(error).toMatchObject({ code: 'safetensors-invalid', exit: 3 });
    expect(error.message).toContain(join(model, 'model.safetensors'));
    expect(error.message).toMatch(/\d+ bytes/);
    expect(error.hint).toBeDefined();
  });

  it('whose weights file is missing', async () => {
    const model = copyOf(LLAMA, at('weightless'));
    rmSync(join(model, 'model.safetensors'));
    expect(await build(model)).toMatchObject({ code: 'file-not-found', exit: 3 });
  });

  it.each([
    ['the embedding', 'model.embed_tokens.weight'],
    ['a later layer', 'model.layers.1.mlp.down_proj.weight'],
  ])('with a NaN in %s', async (name, tensor) => {
    const model = copyOf(LLAMA, at(`nan-${name}`));
    for (let i = 0; i < 9000; i += 7) if (i < 1500) pokeF32(join(model, 'model.safetensors'), tensor, i, Number.NaN);
    const error = await build(model);
    expect(error).toMatchObject({ code: 'tensor-not-finite', exit: 3 });
    expect(error.message).toContain(tensor);
    expect(await score('--model', model)).toMatchObject({ code: 'tensor-not-finite', exit: 3 });
  });

  it('with NaN in several tensors, all in one message', async () => {
    const model = copyOf(LLAMA, at('nan-many'));
    const bad = ['model.norm.weight', 'model.layers.0.mlp.up_proj.weight', 'lm_head.weight'];
    for (const tensor of bad) pokeF32(join(model, 'model.safetensors'), tensor, 3, Number.POSITIVE_INFINITY);
    const error = await build(model);
    expect(error.code).toBe('tensor-not-finite');
    for (const tensor of bad) expect(error.message).toContain(tensor);
  });

  it('of an architecture that crayon does not know, with those it knows', async () => {
    const model = copyOf(LLAMA, at('gpt'));
    editJson<{ model_type: string }>(join(model, 'config.json'), (config) => {
      config.model_type = 'gpt_neox';
    });
    const error = await build(model);
    expect(error).toMatchObject({ code: 'model-unsupported', exit: 3 });
    for (const word of ['gpt_neox', 'llama', 'mistral', 'qwen2', 'qwen3']) {
      expect(`${error.message} ${error.hint}`).toContain(word);
    }
  });

  it('whose shapes do not follow from its config.json, all of them in one message', async () => {
    const model = copyOf(LLAMA, at('shapes'));
    editJson<{ intermediate_size: number }>(join(model, 'config.json'), (config) => {
      config.intermediate_size = 56;
    });
    const error = await build(model);
    expect(error).toMatchObject({ code: 'model-invalid', exit: 3 });
    expect(error.message.match(/has shape \[[\d,]+\], expected \[[\d,]+\]/g)).toHaveLength(6); // three in each layer
  });

  it('without a tokenizer, or with one that is no JSON', async () => {
    const model = copyOf(LLAMA, at('mute'));
    writeFileSync(join(model, 'tokenizer.json'), '{"model": ');
    expect(await build(model)).toMatchObject({ code: 'json-invalid', exit: 3 });
    rmSync(join(model, 'tokenizer.json'));
    const error = await build(model);
    expect(error).toMatchObject({ code: 'file-not-found', exit: 3 });
    expect(error.message).toContain('tokenizer.json');
  });

  it('whose tokenizer has more tokens than the model has rows', async () => {
    const model = copyOf(LLAMA, at('words'));
    writeFileSync(join(model, 'tokenizer.json'), readFileSync(fixture('tokenizer', 'byte-level', 'tokenizer.json')));
    editJson<{ model: { vocab: Record<string, number> } }>(join(model, 'tokenizer.json'), ({ model: { vocab } }) => {
      for (const token of Object.keys(vocab)) vocab[token] = vocab[token]! + 10_000;
    });
    const error = await build(model);
    expect(error).toMatchObject({ code: 'tokenizer-invalid', exit: 3 });
    expect(error.message).toContain('rows 0 to 287');
  });
});

describe('an adapter for score', () => {
  it('of another model', async () => {
    const error = await score('--model', LLAMA, '--adapter', fixture('lora', 'qwen3'));
    expect(error).toMatchObject({ code: 'adapter-mismatch', exit: 3 });
    expect(error.message).toMatch(/adapter is \d+ x \d+, base is \d+ x \d+/);
    expect(error.hint).toContain('base_model_name_or_path');
  });

  it('that is not there, or no adapter', async () => {
    expect(await score('--model', LLAMA, '--adapter', at('nothing'))).toMatchObject({
      code: 'file-not-found',
      exit: 3,
    });
    const error = await score('--model', LLAMA, '--adapter', LLAMA);
    expect(error).toMatchObject({ code: 'path-not-recognised', exit: 3 });
    expect(error.message).toContain('adapter_config.json');
  });

  it('with a NaN', async () => {
    const adapter = copyOf(join(at('pool'), 'adapters', '0'), at('sick'));
    const tensor = 'base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight';
    pokeF32(join(adapter, 'adapter_model.safetensors'), tensor, 5, Number.NaN);
    const error = await score('--model', LLAMA, '--adapter', adapter);
    expect(error).toMatchObject({ code: 'tensor-not-finite', exit: 3 });
    expect(error.message).toContain(tensor);
  });

  it('on modules that the model does not train', async () => {
    const adapter = copyOf(join(at('pool'), 'adapters', '0'), at('embedding-lora'));
    const path = join(adapter, 'adapter_model.safetensors');
    const bytes = readFileSync(path);
    // the same length, so that the header stays sound
    writeFileSync(path, Buffer.from(bytes.toString('latin1').replaceAll('layers.1.', 'layers.7.'), 'latin1'));
    const error = await score('--model', LLAMA, '--adapter', adapter);
    expect(error).toMatchObject({ code: 'adapter-mismatch', exit: 3 });
    expect(error.message).toContain('model.layers.7.self_attn.q_proj: the base model has no such module');
  });
});

describe('a pool of another base model', () => {
  const examples = writeJsonl(at('mine.jsonl'), records(4));

  it('is refused by blend, with both names', async () => {
    const error = await refusal([
      'blend',
      '--pool',
      at('pool'),
      '--examples',
      examples,
      '--model',
      OTHER,
      '--out',
      out,
    ]);
    expect(error).toMatchObject({ code: 'pool-mismatch', exit: 3 });
    expect(error.message).toContain(OTHER);
    expect(error.hint).toContain(LLAMA);
    expect(existsSync(out)).toBe(false);
  });

  it('is refused by score', async () => {
    const error = await score('--model', OTHER, '--pool', at('pool'));
    expect(error).toMatchObject({ code: 'pool-mismatch', exit: 3 });
  });

  it('and so is the same model with another tokenizer', async () => {
    const model = copyOf(LLAMA, at('retokenized'));
    writeFileSync(join(model, 'tokenizer.json'), `${readFileSync(join(LLAMA, 'tokenizer.json'), 'utf8')}\n`);
    const error = await refusal([
      'blend',
      '--pool',
      at('pool'),
      '--examples',
      examples,
      '--model',
      model,
      '--out',
      out,
    ]);
    expect(error).toMatchObject({ code: 'pool-mismatch', exit: 3 });
    expect(error.message).toContain('another tokenizer');
  });

  it('and a pool whose base model has gone says where it looked', async () => {
    const pool = copyOf(at('pool'), at('orphan'));
    editJson<{ base: { name: string } }>(join(pool, 'pool.json'), ({ base }) => {
      base.name = 'models/gone';
    });
    const error = await refusal(['blend', '--pool', pool, '--examples', examples, '--out', out]);
    expect(error).toMatchObject({ code: 'file-not-found', exit: 3 });
    expect(error.message).toContain('models/gone');
    expect(error.hint).toContain('--model');
  });
});
