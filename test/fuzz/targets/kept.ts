/** What a large pool keeps to save time: factors of its adapters, tables of the base model's vocabulary. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadTokenizer, readTokenizerFiles } from '../../../src/hf/tokenizer.js';
import { openVocabularyIndex, writeVocabularyIndex } from '../../../src/hf/vocabulary-index.js';
import { combineSvd } from '../../../src/lora/combine.js';
import { openPoolFactors, writePoolFactors } from '../../../src/pool/factors.js';
import type { Pool } from '../../../src/pool/pool.js';
import { virtualAdapter } from '../../blend/helpers.js';
import { fixture } from '../../helpers/fixtures.js';
import { Finding, type Target } from '../target.js';
import { CODE_MS, filesOf } from './seeds.js';

const MODULE = { name: 'proj', in: 40, out: 50 };
const ADAPTERS = [1, 2].map((seed) => virtualAdapter(seed, [MODULE], 3));
const DIGESTS = ['a', 'b'];
const MANIFEST = { adapters: DIGESTS.map((sha256) => ({ sha256 })) } as Pool['manifest'];

export const poolFactors: Target = {
  name: 'pool-factors',
  reads: 'factors.safetensors, and an svd with what it says',
  weight: 0.5,
  seeds(scratch) {
    const dir = join(scratch, 'factors');
    mkdirSync(dir, { recursive: true });
    writePoolFactors(dir, ADAPTERS, DIGESTS, 1);
    return [filesOf(dir)];
  },
  run(dir) {
    const kept = openPoolFactors({ dir, manifest: MANIFEST });
    if (kept === null) return 'of others';
    try {
      const factors = ADAPTERS.map((adapter) => {
        const module = adapter.modules[0]!;
        return { r: 3, scale: 1, a: adapter.readA(module), b: adapter.readB(module) };
      });
      const triangles = { k: 6, first: [0, 3], ...kept.triangles(MODULE.name) };
      const { a, b, effectiveRank } = combineSvd(factors, [0.5, 0.25], MODULE, 4, triangles);
      if (![...a, ...b].every(Number.isFinite)) throw new Finding('different', 'an svd that is not finite');
      return `rank ${effectiveRank}`;
    } finally {
      kept.close();
    }
  },
};

const TEXTS = ['', 'Once upon a time', ' ñandú 日本 🙂', '<|im_end|>'];
const TOKENIZER = fixture('tokenizer', 'byte-level');

export const poolVocabulary: Target = {
  name: 'pool-vocabulary',
  longestMs: CODE_MS,
  reads: 'vocabulary.safetensors, and a tokenizer that looks into it',
  weight: 0.5,
  seeds(scratch) {
    const dir = join(scratch, 'vocabulary');
    mkdirSync(dir, { recursive: true });
    writeVocabularyIndex(join(dir, 'vocabulary.safetensors'), readTokenizerFiles(TOKENIZER).tokenizer, 'digest', 1);
    return [filesOf(dir)];
  },
  run(dir) {
    const index = openVocabularyIndex(join(dir, 'vocabulary.safetensors'), 'digest');
    if (index === null) return 'of others';
    const tokenizer = loadTokenizer(TOKENIZER, [], index);
    for (const text of TEXTS) {
      const bad = tokenizer.encode(text, { addBos: false }).find((id) => !(Number.isInteger(id) && id >= 0));
      if (bad !== undefined) throw new Finding('different', `token id ${bad}`);
    }
    return tokenizer.addsBos ? 'bos' : 'no bos';
  },
};
