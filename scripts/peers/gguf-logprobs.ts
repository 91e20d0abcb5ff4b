/**
 * Crayon's side of gguf_logprobs.py: a GGUF file's token ids and log-probabilities beside transformers'.
 *
 *     npx tsx scripts/peers/gguf-logprobs.ts MODEL.gguf PEER.safetensors [--tolerance 1e-3]
 *
 * Prints for each text the largest difference of a log-probability over all positions and the whole vocabulary, and over the
 * text's own tokens. Exit code 1 when one passes the tolerance or token ids differ.
 */

import { parseArgs } from 'node:util';
import { openBase } from '../../src/gguf/base.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { openNetwork } from '../../src/model/open-network.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tolerance: { type: 'string', default: '1e-3' } },
});
const [modelPath, peerPath] = positionals;
if (modelPath === undefined || peerPath === undefined)
  throw new Error('usage: gguf-logprobs.ts MODEL PEER.safetensors');

const backend = await chooseBackend('auto');
const started = performance.now();
const source = openBase(modelPath);
const tokenizer = source.tokenizer();
const openedMs = performance.now() - started;
const model = openNetwork(source);
const loadedMs = performance.now() - started;
console.log(
  `${source.config.modelType}, back end ${backend.detail}; header and tokenizer ${openedMs.toFixed(0)} ms, ` +
    `with weights ${loadedMs.toFixed(0)} ms, RSS ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`,
);

const peer = SafetensorsFile.open(peerPath);
const texts = JSON.parse(peer.metadata.texts!) as string[];
let worst = 0;
let isSame = true;
for (const [i, text] of texts.entries()) {
  const bytes = peer.readBytes(`ids.${i}`).slice();
  const ids = [...new Int32Array(bytes.buffer)];
  const ours = tokenizer.encode(text);
  const sameIds = String(ours) === String(ids);
  isSame &&= sameIds;
  const found = await logProbabilities(ids);
  const expected = peer.readF32(`logprobs.${i}`);
  const V = expected.length / ids.length;
  const largest = found.reduce((most, x, j) => Math.max(most, Math.abs(x - expected[j]!)), 0);
  const ofTokens = ids.slice(1).map((id, t) => Math.abs(found[t * V + id]! - expected[t * V + id]!));
  worst = Math.max(worst, largest);
  console.log(
    `text ${i}: ${ids.length} tokens, ids ${sameIds ? 'the same' : `DIFFER: ${ours}`}; largest difference ` +
      `${largest.toExponential(1)}, of the text's own tokens ${Math.max(...ofTokens).toExponential(1)}`,
  );
}
console.log(`transformers ${peer.metadata.transformers}: largest difference ${worst.toExponential(1)}`);
peer.close();
source.close();
releaseBackend();
if (!isSame || !(worst <= Number(values.tolerance))) process.exitCode = 1;

/** (T, V) natural logarithms of the next token's probabilities. */
async function logProbabilities(ids: readonly number[]): Promise<Float32Array> {
  const rows = Int32Array.from(ids, (_, t) => t);
  const logits = await model.targetLogits({ ids: Int32Array.from(ids), B: 1, T: ids.length, rows });
  const V = logits.length / ids.length;
  for (let t = 0; t < ids.length; t++) {
    const row = logits.subarray(t * V, (t + 1) * V);
    const largest = row.reduce((most, x) => Math.max(most, x), Number.NEGATIVE_INFINITY);
    const log = largest + Math.log(row.reduce((sum, x) => sum + Math.exp(x - largest), 0));
    for (let v = 0; v < V; v++) row[v]! -= log;
  }
  return logits;
}
