/** The process behind trial.ts: loads the model that its argument names, as for serving, and asks it for a token. */

import { isCrayonError, messageOf } from '../../core/errors.js';
import { GREEDY, Query } from '../types.js';
import { openLlamaCppEngine } from './engine.js';
import type { TrialOptions, TrialReply } from './trial.js';

/** Tokens that are read: each kernel is met by the first. */
const TOKENS = 16;
/** What a vocabulary may trip over: all bytes as letters, letters of two to four bytes, names of control tokens, half a character. */
const TEXT = `${String.fromCodePoint(...Array.from({ length: 0x250 }, (_, i) => i + 1))} 中文 😀 <s></s><|im_start|> \ud800 1234567`;

async function attempt(): Promise<TrialReply> {
  const { adapters = [], ...options } = JSON.parse(process.argv.at(-1)!) as TrialOptions;
  const engine = await openLlamaCppEngine({
    ...options,
    ...{ name: 'trial', isTrial: true, sequences: 1, threads: 1, chatTemplate: 'plain' },
  });
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
  return { ok: true };
}

attempt()
  .catch((error: unknown): TrialReply => {
    const { code = null, hint } = isCrayonError(error) ? error : {};
    return { ok: false, code, message: messageOf(error), hint };
  })
  .then((reply) => process.stdout.write(`\n${JSON.stringify(reply)}\n`, () => process.exit(0))); // what was loaded goes with the process
