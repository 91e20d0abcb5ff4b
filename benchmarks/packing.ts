/**
 * What reading a common beginning once is worth: questions behind the same examples, scored all together and each by itself (its choices
 * behind its prompt), in processor time, tokens, and the largest difference of a log-probability.
 *
 *     npx tsx benchmarks/packing.ts --model <model> --data <task.yaml> [--data-dir <dir>] [--questions 40] [--before 10]
 */

import { parseArgs } from 'node:util';
import { inContext } from '../src/bench/strategies/plain.js';
import { loadDataset } from '../src/data/dataset.js';
import { openBase } from '../src/gguf/base.js';
import { choosePromptForm } from '../src/hf/prompt-form.js';
import { chooseBackend, releaseBackend } from '../src/model/backend.js';
import { openNetwork } from '../src/model/open-network.js';
import { scoreCompletions } from '../src/train/evaluate.js';
import { packedBatches } from '../src/train/packing.js';
import { scoredSequences } from '../src/train/score.js';
import { machine, machineLine } from './machine.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    data: { type: 'string' },
    'data-dir': { type: 'string' },
    questions: { type: 'string', default: '40' },
    before: { type: 'string', default: '10' },
  },
});
const [count, before] = [Number(values.questions), Number(values.before)];
await chooseBackend();
const source = openBase(values.model!);
const model = openNetwork(source);
const tokenizer = source.tokenizer();
const form = choosePromptForm(tokenizer, {}, values.model!);
const { examples } = loadDataset(values.data!, {
  dataDir: values['data-dir'],
  split: 'test',
  limit: count + before,
  seed: 0,
});
const asked = inContext(examples.slice(0, before), { source, tokenizer, form }, 0);
const questions = examples.slice(before).map(asked);
const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
const { sequences, owners } = scoredSequences({ examples: questions, tokenizer, form, maxLength, vocabSize });
const choices = questions[0]!.choices?.length ?? 1;
const apart = questions.map((_, q) => sequences.filter((_, i) => owners[i] === q));

async function timed(groups: Array<typeof sequences>) {
  const tokensOf = (group: typeof sequences) =>
    packedBatches(group, new Int32Array(group.length))?.reduce((sum, { batch }) => sum + batch.T, 0) ?? Number.NaN;
  const tokens = groups.reduce((sum, group) => sum + tokensOf(group), 0);
  const [started, cpu] = [performance.now(), process.cpuUsage()];
  const logprobs: number[] = [];
  for (const group of groups) {
    logprobs.push(...(await scoreCompletions(model, group)).map(({ logprob }) => logprob));
  }
  const { user, system } = process.cpuUsage(cpu);
  return { tokens, logprobs, wall: (performance.now() - started) / 1000, processor: (user + system) / 1e6 };
}

await scoreCompletions(model, apart[0]!); // programs are compiled
const alone = await timed(apart);
const together = await timed([sequences]);
const differences = together.logprobs.map((x, i) => Math.abs(x - alone.logprobs[i]!));
const row = ({ tokens, wall, processor }: typeof alone) =>
  `${tokens.toLocaleString('en')} tokens, ${wall.toFixed(1)} s, ${processor.toFixed(1)} s of processor time`;
console.log(`${questions.length} questions of ${choices} choices behind ${before} examples`);
console.log(`each by itself: ${row(alone)}`);
console.log(`all together:   ${row(together)}`);
console.log(`largest difference of a log-probability: ${Math.max(...differences).toExponential(1)}`);
console.log(machineLine(machine()));
model.dispose();
source.close();
releaseBackend();
