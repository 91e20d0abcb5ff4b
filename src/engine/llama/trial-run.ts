/** What a trial tries (trial.ts): loads a model as for serving and asks it for a token. llama.cpp may end the process. */

import { GREEDY, Query } from '../types.js';
import { openLlamaCppEngine } from './engine.js';
import type { TrialOptions } from './trial.js';

/** Tokens that are read: each kernel is met by the first. */
const TOKENS = 16;
/** What a vocabulary may trip over: all bytes as letters, letters of two to four bytes, names of control tokens, half a character. */
const TEXT = `${String.fromCodePoint(...Array.from({ length: 0x250 }, (_, i) => i + 1))} 中文 😀 <s></s><|im_start|> \ud800 1234567`;

/** @throws CrayonError what opening the engine and generating throw */
export async function runTrial({ adapters = [], ...options }: TrialOptions): Promise<void> {
  const engine = await openLlamaCppEngine({
    ...options,
    ...{ adapters, name: 'trial', isTrial: true, sequences: 1, threads: 1, chatTemplate: 'plain' },
  });
  try {
    const all = engine.tokenize({ kind: 'text', text: TEXT });
    engine.vocabulary.spell([...all]);
    engine.vocabulary.encode(TEXT);
    const ids = [...all.subarray(0, Math.min(TOKENS, engine.contextTokens - 1))];
    const { signal } = new AbortController();
    const sets = [[], ...(adapters.length === 0 ? [] : [adapters.map((path) => ({ id: path, path, scale: 1 }))])];
    for (const used of sets) {
      const query = new Query({ kind: 'text', text: '', ids });
      for await (const _ of engine.generate({ ...GREEDY, query, maxTokens: 1, adapters: used, signal }));
    }
  } finally {
    await engine.close();
  }
}
