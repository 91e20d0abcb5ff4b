import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HfModel } from '../../src/hf/model.js';
import { editJson } from '../e2e/helpers.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

/** A copy of the model with these values; `undefined` leaves a key or the file away. */
function modelWith({
  generation,
  config,
  eos,
}: {
  generation?: unknown;
  config?: unknown;
  eos?: string | null;
}): string {
  const dir = join(temporaryDir(), 'model');
  cpSync(fixture('end-tokens', 'model'), dir, { recursive: true });
  editJson<Record<string, unknown>>(
    join(dir, 'config.json'),
    (json) => void Object.assign(json, { eos_token_id: config }),
  );
  if (eos !== undefined) {
    editJson<Record<string, unknown>>(
      join(dir, 'tokenizer_config.json'),
      (json) => void Object.assign(json, { eos_token: eos }),
    );
  }
  if (generation !== undefined) writeFileSync(join(dir, 'generation_config.json'), JSON.stringify(generation));
  return dir;
}

function endTokens(dir: string): readonly number[] {
  const model = HfModel.open(dir);
  model.close();
  return model.endTokenIds;
}

describe('the tokens that end an answer', () => {
  it.each<[string, Parameters<typeof modelWith>[0], number[]]>([
    ['only the tokenizer names one', {}, [1]],
    ['config.json has a list', { config: [1, 7] }, [1, 7]],
    ['generation_config.json has a list', { generation: { eos_token_id: [265, 1] }, config: 1 }, [1, 265]],
    ['generation_config.json has a number', { generation: { eos_token_id: 319 } }, [1, 319]],
    ['all three differ', { generation: { eos_token_id: [9] }, config: 7 }, [1, 7, 9]],
    ['generation_config.json says nothing', { generation: { bos_token_id: 0, eos_token_id: null }, config: 1 }, [1]],
    ['nobody names one', { eos: null }, []],
    ['the tokenizer names a token of its vocabulary', { eos: 'oday' }, [301]],
  ])('are together where %s', (_name, files, ids) => {
    const dir = modelWith(files);
    expect(endTokens(dir)).toEqual(ids);
    const model = HfModel.open(dir);
    expect([...model.tokenizer().endIds]).toEqual(expect.arrayContaining(ids)); // and </s>, known by its name
    model.close();
  });

  it.each<[unknown, RegExp]>([
    [{ eos_token_id: 320 }, /eos_token_id is 320, expected below the vocabulary of 320/],
    [{ eos_token_id: [1, 1e9] }, /eos_token_id is 1000000000, expected below/],
    [{ eos_token_id: -1 }, /eos_token_id is -1, expected a token id/],
    [{ eos_token_id: [1, '265'] }, /eos_token_id is \[1,"265"\]/],
    [{ eos_token_id: 1.5 }, /eos_token_id is 1\.5/],
    [{ eos_token_id: true }, /eos_token_id is true/],
    [{ eos_token_id: [[1]] }, /expected a token id/],
    [{ eos_token_id: Array(65).fill(2) }, /65 ids, expected at most 64/],
  ])('are refused by name: %j', (generation, message) => {
    const error = errorOf(() => HfModel.open(modelWith({ generation })));
    expect(error.code).toBe('model-invalid');
    expect(error.message).toMatch(message);
    expect(error.message).toContain('generation_config.json');
  });

  it('are ids: a number below 0 in tokenizer.json is none', () => {
    const dir = modelWith({ config: 2 });
    editJson<{ added_tokens: Array<{ id: number; content: string }> }>(
      join(dir, 'tokenizer.json'),
      ({ added_tokens }) => {
        for (const token of added_tokens) if (token.content === '</s>') token.id = -2;
      },
    );
    expect(endTokens(dir).filter((id) => id < 0)).toEqual([]);
  });

  it('are refused where the file is no JSON object', () => {
    expect(errorOf(() => HfModel.open(modelWith({ generation: [1] }))).code).toBe('json-invalid');
  });
});
