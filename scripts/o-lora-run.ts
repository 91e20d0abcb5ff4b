/**
 * The main job on real input: stories260K as base model, the O-LoRA suite as training set, N = 8, then a blend for each
 * of three users, who show ten examples of AG News, of Amazon reviews or of RTE. Prints the held-out loss and accuracy of
 * the base, the uniform blend, the nearest single base LoRA, the Crayon blend and the per-query gate.
 *
 *   npx tsx scripts/o-lora-run.ts --shared ../shared/data --work runs/o-lora [--limit 250] [--test 200] [--backend auto]
 *
 * Repeating the command continues an interrupted pool build and reuses a finished one.
 */

import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openBase } from '../src/formats.js';
import {
  BUILD_DEFAULTS,
  blendPool,
  buildPool,
  chooseBackend,
  loadDataset,
  openNetwork,
  poolGates,
  type ScoreReport,
  scoreExamples,
} from '../src/index.js';
import { loadAdapterLora } from '../src/train/adapter-lora.js';
import { convertLlama2c } from './convert-llama2c.js';

const { values: args } = parseArgs({
  options: {
    shared: { type: 'string', default: '../shared/data' },
    work: { type: 'string', default: 'runs/o-lora' },
    limit: { type: 'string', default: '250' },
    test: { type: 'string', default: '200' },
    embedding: { type: 'string', default: 'first-attention' },
    seed: { type: 'string', default: '0' },
    backend: { type: 'string', default: 'auto' },
  },
});
const USERS = ['agnews', 'amazon', 'rte'];
const seed = Number(args.seed);
const dataDir = args.shared;

// 1) base model
mkdirSync(args.work, { recursive: true });
const base = join(args.work, 'stories260k');
if (!existsSync(base)) {
  const source = join(args.shared, 'stories260k', 'data');
  convertLlama2c(join(source, 'stories260K.bin'), join(source, 'tok512.bin'), base);
}

// 2) pool
const backend = await chooseBackend(args.backend as 'auto');
const pool = join(args.work, `pool-${args.embedding.replace(':', '')}`);
if (!existsSync(pool)) {
  const started = performance.now();
  let shown = '';
  const { manifest, trainedTokensPerSecond } = await buildPool(
    {
      ...BUILD_DEFAULTS,
      model: base,
      data: ['configs/o-lora-train.yaml'],
      dataDir,
      limit: Number(args.limit),
      out: pool,
      embedding: args.embedding,
      promptForm: 'plain',
      long: 'truncate',
      seed,
    },
    {
      onProgress: ({ stage, done, total, note }) => {
        const line = `${stage} ${Math.floor((20 * done) / total) * 5} %`;
        if (line !== shown) console.error(line, note ?? '');
        shown = line;
      },
    },
  );
  const seconds = Math.round((performance.now() - started) / 1000);
  console.error(`pool of ${manifest.N} in ${seconds} s, ${Math.round(trainedTokensPerSecond)} tokens/s in training`);
}

// 3) three users
const source = openBase(base);
const model = openNetwork(source);
const tokenizer = source.tokenizer();
const maxLength = source.config.maxPositionEmbeddings;
const rows: string[][] = [];
const document: Record<string, unknown>[] = [];
for (const user of USERS) {
  const task = `configs/tasks/o-lora-${user}.yaml`;
  const shown = loadDataset(task, { dataDir, split: 'heldout', limit: 10, seed }).examples;
  const test = loadDataset(task, { dataDir, split: 'test', limit: Number(args.test), seed }).examples;
  const file = join(args.work, `${user}.jsonl`);
  writeFileSync(file, shown.map(({ prompt, completion }) => `${JSON.stringify({ prompt, completion })}\n`).join(''));

  const results: Array<[string, ScoreReport]> = [];
  const score = async (name: string, lora?: Parameters<typeof scoreExamples>[0]['lora']) => {
    results.push([name, await scoreExamples({ model, tokenizer, examples: test, maxLength, lora })]);
  };
  await score('base');
  for (const estimator of ['uniform', 'nearest', 'similarity'] as const) {
    const out = join(args.work, `${user}-${estimator}-${args.embedding.replace(':', '')}`);
    await blendPool({
      pool,
      examples: file,
      model: base,
      out,
      estimator,
      combine: 'cat',
      dtype: 'F32',
      long: 'truncate',
      force: true,
    });
    await score(estimator === 'similarity' ? 'Crayon blend' : estimator, loadAdapterLora(out, source));
  }
  await score('per-query gate', await poolGates(pool, source, model, tokenizer, test));
  rows.push([user, ...results.map(([, { loss, acc }]) => `${loss.toFixed(3)} / ${(100 * acc!).toFixed(1)} %`)]);
  document.push({
    user,
    test: test.length,
    ...Object.fromEntries(results.map(([k, { loss, acc }]) => [k, { loss, acc }])),
  });
  console.error(rows.at(-1)!.join('  '));
}
source.close();

const head = ['user', 'base', 'uniform blend', 'nearest base LoRA', 'Crayon blend', 'per-query gate'];
console.log(`| ${head.join(' | ')} |\n|${head.map(() => '---').join('|')}|`);
for (const row of rows) console.log(`| ${row.join(' | ')} |`);
console.log(`\nHeld-out loss (nats per completion token) / accuracy on ${args.test} test examples.`);
console.log(`${cpus()[0]?.model}, ${cpus().length} threads, Node ${process.version}, back end ${backend.name}`);
writeFileSync(
  join(args.work, `results-${args.embedding.replace(':', '')}.json`),
  `${JSON.stringify(document, null, 2)}\n`,
);
