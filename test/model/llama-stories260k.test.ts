/** A real pretrained model through the whole stack: llama2.c checkpoint, our conversion, tokenizer and forward pass. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertLlama2c } from '../../scripts/convert-llama2c.js';
import { HfModel } from '../../src/hf/model.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { openNetwork } from '../../src/model/open-network.js';
import { generateGreedy } from '../../src/train/answer.js';
import { temporaryDir } from '../helpers/files.js';
import { hasShared, shared } from '../helpers/fixtures.js';

// Skipped where the checkpoint, whose licence does not permit shipping it, is not beside the repository.
describe.skipIf(!hasShared)('stories260K', () => {
  beforeAll(async () => {
    await chooseBackend();
  });
  afterAll(releaseBackend);

  it('continues the BOS token with the text that its author published', async () => {
    const dir = join(temporaryDir(), 'stories260k');
    const source = shared('stories260k', 'data');
    convertLlama2c(join(source, 'stories260K.bin'), join(source, 'tok512.bin'), dir);
    const hf = HfModel.open(dir);
    const model = openNetwork(hf);
    hf.close();
    const tokenizer = loadTokenizer(dir);
    const ids = await generateGreedy(model, [tokenizer.bosId!], { maxNewTokens: 256 });
    const expected = readFileSync(shared('stories260k', 'greedy.txt'), 'utf8').trim();
    expect(tokenizer.decode(ids).trim()).toBe(expected);
    model.dispose();
  });
});
