/** The embedded models give here the perplexity that transformers gives (scripts/fixtures/perplexity.py made the numbers). */

import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256File } from '../../src/files/digest.js';
import { encodeExample } from '../../src/hf/encode-example.js';
import { HfModel } from '../../src/hf/model.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { openNetwork } from '../../src/model/open-network.js';
import { scoreCompletions } from '../../src/train/evaluate.js';

interface Expected {
  models: Record<string, { sha256: string; scores: Array<{ nll: number; tokens: number }> }>;
}

const FIXTURES = 'test/fixtures/perplexity';
const texts = readFileSync(`${FIXTURES}/texts.jsonl`, 'utf8').trim().split('\n');
const rows = texts.map((line) => JSON.parse(line) as { source: string; text: string });
const expected = JSON.parse(readFileSync(`${FIXTURES}/expected.json`, 'utf8')) as Expected;

describe.each(Object.entries(expected.models))('%s', (name, { sha256, scores }) => {
  const dir = `models/${name}`;
  beforeAll(async () => {
    await chooseBackend();
  });
  afterAll(releaseBackend);

  it('is the model that was scored in transformers', () => {
    expect(sha256File(`${dir}/model.safetensors`)).toBe(sha256);
  });

  it('has the held-out perplexity that transformers finds', async () => {
    const source = HfModel.open(dir);
    const model = openNetwork(source);
    source.close();
    const tokenizer = loadTokenizer(dir);
    const examples = rows.map(({ text }, i) => encodeExample(tokenizer, { id: `${i}`, prompt: '', completion: text }));
    const found = await scoreCompletions(model, examples);
    model.dispose();
    expect(found.map((score) => score.tokens)).toEqual(scores.map((score) => score.tokens));
    for (const group of new Set(rows.map((row) => row.source))) {
      const members = rows.map((_, i) => i).filter((i) => rows[i]!.source === group);
      const tokens = members.reduce((sum, i) => sum + scores[i]!.tokens, 0);
      const ours = Math.exp(members.reduce((sum, i) => sum - found[i]!.logprob, 0) / tokens);
      const theirs = Math.exp(members.reduce((sum, i) => sum + scores[i]!.nll, 0) / tokens);
      expect(Math.abs(ours / theirs - 1), `${group}: ours ${ours}, transformers' ${theirs}`).toBeLessThan(1e-4);
    }
  });
});
