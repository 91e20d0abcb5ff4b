/**
 * Two real GGUF files as base models beside transformers' own dequantising loader: ids, the likeliest tokens, log-probabilities. They
 * are fetched by scripts/real-bases.ts, and CRAYON_REAL_BASES names their folder; without it there is nothing to test on.
 */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBase } from '../../src/gguf/base.js';
import type { BaseModel } from '../../src/hf/base-model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import type { Network } from '../../src/model/network.js';
import { openNetwork } from '../../src/model/open-network.js';
import { fixtureJson } from '../helpers/fixtures.js';

interface Golden {
  file: string;
  texts: Array<{ text: string; ids: number[]; logprobs: number[]; best: number[] }>;
}

const folder = process.env.CRAYON_REAL_BASES;
/** In nats; 1.7e-4 was the most over five texts and whole vocabularies (scripts/peers/RESULTS.md). */
const CLOSE = 1e-3;

describe.skipIf(folder === undefined).each(['smollm2', 'gemma3'])('%s', { tags: 'slow', timeout: 300_000 }, (name) => {
  const golden = fixtureJson<Golden>('real-bases', `${name}.json`);
  let base: BaseModel;
  let model: Network;

  beforeAll(async () => {
    await chooseBackend('auto');
    base = openBase(join(folder!, golden.file));
    model = openNetwork(base);
  }, 300_000);

  afterAll(() => {
    model?.dispose();
    base?.close();
    releaseBackend();
  });

  it.each(golden.texts)(
    'has the ids and log-probabilities of transformers: $text',
    async ({ text, ids, ...expected }) => {
      expect(base.tokenizer().encode(text)).toEqual(ids);
      const T = ids.length;
      const rows = Int32Array.from(ids, (_, t) => t);
      const targets = Int32Array.from(ids, (_, t) => ids[t + 1] ?? 0);
      const found = await model.predict({ ids: Int32Array.from(ids), B: 1, T, rows, targets });
      expect([...found.best]).toEqual(expected.best);
      const own = [...found.targets].slice(0, -1);
      for (const [t, x] of own.entries()) expect(Math.abs(x - expected.logprobs[t]!)).toBeLessThan(CLOSE);
    },
  );
});
