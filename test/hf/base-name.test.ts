import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isCalled, nameForOthers } from '../../src/hf/base-name.js';
import { temporaryDir } from '../helpers/files.js';

describe('a base model in files for others', () => {
  it.each([
    ['models/crayon-edge', 'models/crayon-edge'],
    ['/home/ann/models/SmolLM2-135M/', 'SmolLM2-135M'],
    ['/home/ann/base.Q4_1.gguf', 'base.Q4_1.gguf'],
    ['C:\\Users\\ann\\base', 'base'],
    [
      '/home/ann/.cache/huggingface/hub/models--HuggingFaceTB--SmolLM2-135M/snapshots/12fd25f',
      'HuggingFaceTB/SmolLM2-135M',
    ],
    ['org/name', 'org/name'],
  ])('%s is called %s', (path, name) => {
    expect(nameForOthers(path)).toBe(name);
  });
});

describe('a model', () => {
  const model = { path: '/models/SmolLM2-135M-Instruct.Q4_1.gguf', names: ['Smollm2 135M 8k'] };

  it.each([
    'HuggingFaceTB/SmolLM2-135M-Instruct',
    'smollm2-135m-instruct-bnb-4bit',
    '/somewhere/else/SmolLM2-135M-Instruct',
    'unsloth/SmolLM2-135M-Instruct-GGUF',
    'SmolLM2-135M-8k',
  ])('is called %s', (name) => {
    expect(isCalled(model, name)).toBe(true);
  });

  it.each(['HuggingFaceTB/SmolLM2-135M', 'SmolLM2-360M-Instruct', 'base-a', '../..'])('is not called %s', (name) => {
    expect(isCalled(model, name)).toBe(false);
  });

  it('is called what a link to it is', () => {
    const dir = temporaryDir();
    mkdirSync(join(dir, 'base'));
    symlinkSync(join(dir, 'base'), join(dir, 'other'));
    expect(isCalled({ path: join(dir, 'base'), names: [] }, join(dir, 'other'))).toBe(true);
  });
});
