/**
 * A GGUF file beside the Hugging Face directory that transformers dequantised it to: a small pool built on each, a blend of
 * each, and both scored, computed in float32 and served. Prints how far they are apart.
 *
 *     npx tsx scripts/real-bases.ts
 *     python scripts/peers/dequantise_gguf.py MODEL.gguf DIRECTORY
 *     npx tsx scripts/real-bases-parity.ts --gguf MODEL.gguf --directory DIRECTORY --data-dir data [--limit 3] [--epochs 0.5] [--out DIR]
 *
 * The two are the same numbers, so that clusters must be the same and all else equal but for the order of float32 sums.
 * Served, the file is run by llama.cpp's quantised kernels, which round activations, and the directory as F16.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { ensureDirectory, writeFileAtomic } from '../src/files/atomic.js';
import { shippedPath } from '../src/files/package.js';
import { loadDataset } from '../src/index.js';

const { values: args } = parseArgs({
  options: {
    gguf: { type: 'string' },
    directory: { type: 'string' },
    'data-dir': { type: 'string', default: '../shared/data' },
    limit: { type: 'string', default: '3' },
    epochs: { type: 'string', default: '1' },
    out: { type: 'string', default: mkdtempSync(join(tmpdir(), 'crayon-parity-')) },
  },
});
if (args.gguf === undefined || args.directory === undefined) throw new Error('--gguf and --directory are needed');

const TRAIN = 'configs/real/gemma3-train.yaml';
const USER = 'configs/tasks/o-lora-agnews.yaml';

/** What crayon prints with --json. */
// biome-ignore lint/suspicious/noExplicitAny: documents of four commands, of which a few numbers are read
function crayon(...argv: string[]): any {
  const command = [...process.execArgv, shippedPath('bin', 'crayon.ts'), ...argv, '--json', '--quiet'];
  return JSON.parse(
    execFileSync(process.execPath, command, {
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
}

ensureDirectory(args.out);
const examples = join(args.out, 'examples.jsonl');
const shown = loadDataset(USER, { dataDir: args['data-dir'], split: 'heldout', limit: 10, seed: 7 }).examples;
const lines = shown.map(({ prompt, choices, answer }) => JSON.stringify({ prompt, choices, answer }));
writeFileAtomic(examples, `${lines.join('\n')}\n`);

function run(model: string, name: string) {
  const pool = join(args.out, `pool-${name}`);
  const blend = join(args.out, `blend-${name}`);
  const how = ['--clusters', '3', '--embedding', 'first-attention', '--batch-size', '4', '--rank', '4'];
  const data = ['--data', TRAIN, '--data-dir', args['data-dir'], '--limit', args.limit, '--epochs', args.epochs];
  const { manifest, ms } = crayon('build-pool', '--model', model, ...data, ...how, '--pool', pool, '--force');
  const { coefficients } = crayon(
    'blend',
    '--pool',
    pool,
    '--model',
    model,
    '--examples',
    examples,
    '--out',
    blend,
    '--force',
  );
  const score = (...more: string[]) => crayon('score', '--model', model, '--data', examples, ...more);
  const base = score();
  const adapted = score('--adapter', blend, '--through', 'both');
  return {
    manifest,
    ms,
    coefficients,
    base,
    forward: adapted.forward,
    engine: adapted.engine,
    served: adapted.difference,
  };
}

const [file, directory] = [run(args.gguf, 'gguf'), run(args.directory, 'directory')];

const largest = (a: number[], b: number[]) => Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));
type Scored = { perExample: Array<{ choices: number[]; predicted: number }> };
const choices = ({ perExample }: Scored) => perExample.flatMap((example) => example.choices);
const predicted = ({ perExample }: Scored) => String(perExample.map((example) => example.predicted));
type Cluster = { size: number; nearest: string[]; lossBefore: number; lossAfter: number };
const of = (result: typeof file) => result.manifest.clusters as Cluster[];
const members = (result: typeof file) => JSON.stringify(of(result).map(({ size, nearest }) => ({ size, nearest })));
const losses = (result: typeof file) => of(result).flatMap(({ lossBefore, lossAfter }) => [lossBefore, lossAfter]);

const table = new Table({ head: ['GGUF beside its dequantised directory', ''], style: { head: [], border: [] } });
const exponent = (x: number) => x.toExponential(1);
table.push(
  ['the same clusters (sizes, nearest examples)', members(file) === members(directory) ? 'yes' : 'NO'],
  [
    'largest difference of a cluster’s loss, before and after training',
    exponent(largest(losses(file), losses(directory))),
  ],
  ['largest difference of a coefficient', exponent(largest(file.coefficients, directory.coefficients))],
  [
    'largest difference of a choice’s log-probability, base',
    exponent(largest(choices(file.base), choices(directory.base))),
  ],
  ['the same with the blend', exponent(largest(choices(file.forward), choices(directory.forward)))],
  ['the same answers with the blend', predicted(file.forward) === predicted(directory.forward) ? 'yes' : 'NO'],
  [
    'served beside float32: the GGUF’s own kernels, largest and mean',
    `${exponent(file.served.largest)}, ${exponent(file.served.mean)}`,
  ],
  [
    'served beside float32: the directory as F16',
    `${exponent(directory.served.largest)}, ${exponent(directory.served.mean)}`,
  ],
  ['the same answers served', predicted(file.engine) === predicted(file.forward) ? 'yes' : 'NO'],
  ['build, seconds', `${Math.round(file.ms / 1000)}, ${Math.round(directory.ms / 1000)}`],
);
console.log(table.toString());
