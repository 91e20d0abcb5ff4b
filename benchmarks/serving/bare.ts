/**
 * A contestant of many.ts: node-llama-cpp itself, without crayon's engine, scheduler, router and HTTP. For every line of its input,
 * `PROMPT_TOKENS ANSWER_TOKENS` made-up tokens, it answers by the milliseconds that prompt and answer took, as JSON.
 */

import { createInterface } from 'node:readline';
import { getLlama, type Token } from 'node-llama-cpp';

const [path, threads, contextSize] = process.argv.slice(2);
const llama = await getLlama({ build: 'never', gpu: false, logLevel: 'error' as never, maxThreads: 0 });
const model = await llama.loadModel({ modelPath: path! });
const context = await model.createContext({ contextSize: Number(contextSize), threads: Number(threads) });
const sequence = context.getSequence();
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const { ids, answerTokens } = JSON.parse(line) as { ids: Token[]; answerTokens: number };
  await sequence.clearHistory();
  const started = performance.now();
  let first = 0;
  let count = 0;
  for await (const _ of sequence.evaluate(ids, { temperature: 0 })) {
    if (count === 0) first = performance.now();
    if (++count === answerTokens) break;
  }
  const ended = performance.now();
  console.log(JSON.stringify({ promptMs: first - started, answerMs: ended - first, tokens: count }));
}
process.exit(0);
