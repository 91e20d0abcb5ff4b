/**
 * Does a build take the memory that `--dry-run` promises? Peak resident memory of `crayon build-pool`, in six settings, on four bases.
 *
 *     npx tsx benchmarks/memory.ts [--smollm2 <gguf or directory>] [--rows smollm2,qwen2.5-0.5b/default] [--backend onnx]
 *
 * Bases: the embedded model; SmolLM2-135M; and random weights of the shapes of Qwen2.5-0.5B and Llama-3.2-1B (memory-bases.ts; 1 and
 * 2.5 GB in bfloat16, made once in --cache). A build has two steps of the batch size below, on conversations of nobody: 84 tokens, of
 * which the last 8 are the completion. Everything that is not in a setting's name is a default.
 *
 * The peak is Linux's own (VmHWM of the process at its end; elsewhere getrusage), so it counts libraries and mapped files too.
 * --rows takes bases, or base/setting; all rows of the embedded model and of SmolLM2 when absent.
 * Prints a table and, as the last line, one JSON document.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { createRandom } from '../src/core/random.js';
import { machine, machineLine } from './machine.js';
import { type SHAPES, shapedBase } from './memory-bases.js';

const { values: options } = parseArgs({
  options: {
    smollm2: { type: 'string' },
    rows: { type: 'string' },
    backend: { type: 'string', default: 'onnx' },
    cache: { type: 'string', default: '.crayon/bench-memory' },
    /** more words for both commands, such as '--memory 4GB' */
    with: { type: 'string', default: '' },
  },
});
const EDGE = 'models/crayon-edge';

interface Base {
  path: () => string | undefined;
  batch: number;
  /** what the default setting may take */
  targetBytes?: number;
}
const BASES: Record<string, Base> = {
  edge: { path: () => EDGE, batch: 16 },
  smollm2: { path: () => options.smollm2, batch: 16, targetBytes: 4e9 },
  'qwen2.5-0.5b': { path: () => shapedBase('qwen2.5-0.5b', options.cache, EDGE), batch: 8, targetBytes: 6e9 },
  'llama-3.2-1b': { path: () => shapedBase('llama-3.2-1b', options.cache, EDGE), batch: 4, targetBytes: 10e9 },
} satisfies Partial<Record<'edge' | 'smollm2' | keyof typeof SHAPES, Base>>;

interface Setting {
  args: string[];
  clusters: number;
  /** share of the base's batch */
  batch: number;
  tokens: number;
}
const DEFAULT: Setting = { args: [], clusters: 8, batch: 1, tokens: 84 };
const SETTINGS: Record<string, Setting> = {
  default: DEFAULT,
  'quarter-batch': { ...DEFAULT, batch: 1 / 4 },
  'joint-16': { ...DEFAULT, clusters: 16 },
  independent: { ...DEFAULT, args: ['--mode', 'independent'] },
  '336-tokens': { ...DEFAULT, batch: 1 / 4, tokens: 336 },
  'last-hidden-r32': { ...DEFAULT, args: ['--embedding', 'last-hidden', '--rank', '32'], clusters: 4 },
};

const scratch = mkdtempSync(join(tmpdir(), 'crayon-memory-'));
const PEAK = join(scratch, 'peak');
const CRAYON = fileURLToPath(new URL('../bin/crayon.ts', import.meta.url));

/** For `--import`: writes the process's peak, in kB, when it ends. */
const reportPeak = `
  import { readFileSync, writeFileSync } from 'node:fs';
  process.on('exit', () => {
    let peak = process.resourceUsage().maxRSS;
    try { peak = /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]; } catch {}
    writeFileSync(${JSON.stringify(PEAK)}, String(peak));
  });`;
const REPORT_PEAK = `data:text/javascript,${encodeURIComponent(reportPeak)}`;

/** The document that crayon prints. */
function crayon(args: string[], nodeArgs: string[] = []): Record<string, unknown> {
  const more = options.with.split(' ').filter((word) => word !== '');
  const words = [...process.execArgv, ...nodeArgs, CRAYON, 'build-pool', ...args, ...more, '--json'];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', maxBuffer: 1e9 });
  if (status !== 0) throw new Error(`${args.join(' ')}: ${signal ?? status} ${stderr.slice(-2000)}`);
  return JSON.parse(stdout);
}

/** Letters that are a token each in these vocabularies, with a space before them. */
const LETTERS = 'abcdefghjklmnoprstuvwxy';

/** Words of one letter; the tokens that begin and end an example are left room. */
function writeExamples(path: string, count: number, tokens: number): void {
  const random = createRandom(0, 'bench-memory/examples');
  const words = (n: number) => Array.from({ length: n }, () => LETTERS[random.int(LETTERS.length)]).join(' ');
  const records = Array.from({ length: count }, () => ({ prompt: words(tokens - 9), completion: ` ${words(7)}` }));
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
}

function measure(baseName: string, settingName: string) {
  const base = BASES[baseName]!;
  const { args, clusters, batch, tokens } = SETTINGS[settingName]!;
  const batchSize = Math.max(1, base.batch * batch);
  const data = join(scratch, 'data.jsonl');
  writeExamples(data, Math.max(2 * batchSize, clusters), tokens);
  const numbers = ['--batch-size', String(batchSize), '--clusters', String(clusters), '--prompt-form', 'plain'];
  const places = ['--model', base.path()!, '--data', data, '--pool', join(scratch, 'pool'), '--force'];
  const all = [...places, ...numbers, ...args, '--backend', options.backend];
  const plan = crayon([...all, '--dry-run']) as { memoryBytes: number; longest: number };
  const built = crayon(all, ['--import', REPORT_PEAK]) as { trainedTokensPerSecond: number; ms: number };
  const takenBytes = 1024 * Number(readFileSync(PEAK, 'utf8'));
  const target = settingName === 'default' ? base.targetBytes : undefined;
  return {
    row: `${baseName}/${settingName}`,
    batchSize,
    longest: plan.longest,
    promisedBytes: plan.memoryBytes,
    takenBytes,
    ratio: takenBytes / plan.memoryBytes,
    ...(target !== undefined && { targetBytes: target, within: takenBytes <= target }),
    tokensPerSecond: built.trainedTokensPerSecond,
    seconds: built.ms / 1000,
  };
}

const every = Object.keys(BASES).flatMap((base) => Object.keys(SETTINGS).map((setting) => ({ base, setting })));
const wanted = options.rows?.split(',') ?? ['edge', ...(options.smollm2 === undefined ? [] : ['smollm2'])];
const isWanted = ({ base, setting }: (typeof every)[number]) =>
  wanted.includes(base) || wanted.includes(`${base}/${setting}`);
const rows = every.filter(isWanted);
if (rows.length === 0)
  throw new Error(`no row ${options.rows}; bases ${Object.keys(BASES)}, settings ${Object.keys(SETTINGS)}`);
if (options.smollm2 === undefined && rows.some(({ base }) => base === 'smollm2')) throw new Error('give --smollm2');
const results: Array<ReturnType<typeof measure>> = [];
try {
  for (const { base, setting } of rows) {
    const result = measure(base, setting);
    results.push(result);
    console.error(
      `${result.row}: ${gb(result.takenBytes)} GB of ${gb(result.promisedBytes)} promised, ${result.seconds.toFixed(0)} s`,
    );
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function gb(bytes: number): string {
  return (bytes / 1e9).toFixed(2);
}

const table = new Table({
  head: ['row', 'batch', 'tokens', 'promised, GB', 'taken, GB', 'taken / promised', 'may take, GB', 'tokens/s'],
  style: { head: [], border: [], compact: true },
});
for (const r of results) {
  const target = 'targetBytes' in r ? `${gb(r.targetBytes!)}${r.within ? '' : ', missed'}` : '';
  table.push([
    r.row,
    r.batchSize,
    r.longest,
    gb(r.promisedBytes),
    gb(r.takenBytes),
    r.ratio.toFixed(2),
    target,
    r.tokensPerSecond.toFixed(0),
  ]);
}
console.log(table.toString());
const on = machine();
console.log(`${machineLine(on)}; back end ${options.backend}`);
console.log(JSON.stringify({ what: 'memory', machine: on, backend: options.backend, with: options.with, results }));
