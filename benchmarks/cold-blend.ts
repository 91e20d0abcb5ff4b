/**
 * How long does `crayon blend` take as a command, from the shell's point of view, on a vocabulary of Qwen2.5's size?
 *
 *     npm run build && npx tsx benchmarks/cold-blend.ts [--rounds 5] [--entry dist/bin/crayon.js] [--peer <another checkout's entry>]
 *
 * The base: Qwen2's architecture, one narrow layer, a byte-level BPE vocabulary of 151,643 tokens made from a seed, and its 22 added tokens.
 * The pool: four adapters of rank 8. Each round starts, in turns: `node -e 0`; `crayon --version`; the blend of ten examples; the same
 * with the coefficients given, so without a tokenizer; the peer's blend likewise. Given are the least and the median wall time and the
 * least processor time. Prints one table and, as the last line, one JSON document.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createRandom } from '../src/core/random.js';
import { expectedShapes, HfModel } from '../src/hf/model.js';
import { writePeftAdapter } from '../src/peft/write.js';
import { adapterDigest, writePoolManifest } from '../src/pool/pool.js';
import { keepVocabulary } from '../src/pool/vocabulary.js';
import { writeSafetensors } from '../src/safetensors/write.js';

const { values: options } = parseArgs({
  options: {
    cache: { type: 'string', default: '.crayon/bench-cold' },
    entry: { type: 'string', default: 'dist/bin/crayon.js' },
    peer: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '151643' },
  },
});
const cache = resolve(options.cache);
const base = join(cache, 'base');
const pool = join(cache, 'pool');
const examples = join(cache, 'examples.jsonl');
const random = createRandom(1, 'bench-cold');
const pick = <T>(list: readonly T[]): T => list[Math.floor(random.uniform() * list.length)]!;

const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)]!;

/** The characters that stand for bytes in a byte-level vocabulary. */
function byteCharacters(): string[] {
  const plain = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(plain(b) ? b : next++));
}

/** Merges of ever longer tokens, letters more often than other bytes. */
function makeTokenizer(): object {
  const bytes = byteCharacters();
  const tokens = new Map(bytes.map((c, i) => [c, i]));
  const letters = [...'etaoinshrdlcumwfgypbvkETAOINSĠĠĠĠĠĠ'];
  const known = [...letters, ...bytes];
  const merges: Array<[string, string]> = [];
  while (tokens.size < Number(options.tokens)) {
    const left = random.uniform() < 0.5 ? pick(letters) : pick(known);
    const right = pick(known);
    const merged = left + right;
    if (merged.length > 14 || tokens.has(merged) || right.includes('Ġ')) continue;
    merges.push([left, right]);
    tokens.set(merged, tokens.size);
    known.push(merged);
  }
  const names = [
    '<|endoftext|>',
    '<|im_start|>',
    '<|im_end|>',
    ...Array.from({ length: 19 }, (_, i) => `<|extra_${i}|>`),
  ];
  const added = names.map((content, i) => {
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
    return { id: tokens.size + i, content, ...flags };
  });
  const words =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: { type: 'NFC' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [{ type: 'Split', pattern: { Regex: words }, behavior: 'Isolated', invert: false }, byteLevel],
    },
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      ...{ type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: '', end_of_word_suffix: '' },
      ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false },
      vocab: Object.fromEntries(tokens),
      merges: merges.map(([left, right]) => `${left} ${right}`),
    },
  };
}

function makeBase(): void {
  mkdirSync(base, { recursive: true });
  const config = {
    architectures: ['Qwen2ForCausalLM'],
    model_type: 'qwen2',
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 2,
    vocab_size: 151_936,
    max_position_embeddings: 32_768,
    rms_norm_eps: 1e-6,
    rope_theta: 1e6,
    tie_word_embeddings: true,
    hidden_act: 'silu',
    eos_token_id: Number(options.tokens) + 2,
  };
  writeFileSync(join(base, 'config.json'), JSON.stringify(config, null, 2));
  writeFileSync(join(base, 'tokenizer.json'), JSON.stringify(makeTokenizer(), null, 2));
  writeFileSync(
    join(base, 'tokenizer_config.json'),
    JSON.stringify({ eos_token: '<|im_end|>', pad_token: '<|endoftext|>' }),
  );
  const parsed = {
    ...config,
    hiddenSize: 64,
    intermediateSize: 128,
    numLayers: 1,
    numHeads: 2,
    numKvHeads: 2,
    headDim: 32,
  };
  const shapes = expectedShapes({
    ...parsed,
    modelType: 'qwen2',
    vocabSize: config.vocab_size,
    tieWordEmbeddings: true,
    attentionBias: true,
    attentionOutBias: false,
    mlpBias: false,
  } as unknown as Parameters<typeof expectedShapes>[0]);
  const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
  const tensors = [...shapes].map(([name, shape]) => {
    return { name, dtype: 'F32' as const, shape, data: () => values(shape.reduce((a, b) => a * b)) };
  });
  writeSafetensors(join(base, 'model.safetensors'), tensors, { format: 'pt' });
}

function makePool(): void {
  const model = HfModel.open(base);
  mkdirSync(pool, { recursive: true });
  const [N, r, dim] = [4, 8, 64];
  const values = (count: number) => Float32Array.from({ length: count }, () => random.uniform() - 0.5);
  const adapters = Array.from({ length: N }, (_, n) => {
    const dir = `adapters/${n}`;
    mkdirSync(join(pool, 'adapters'), { recursive: true });
    writePeftAdapter(join(pool, dir), {
      baseModel: 'base',
      r,
      loraAlpha: 16,
      targetModules: ['q_proj'],
      modules: [
        {
          name: 'model.layers.0.self_attn.q_proj',
          r,
          in: 64,
          out: 64,
          a: () => values(r * 64),
          b: () => values(64 * r),
        },
      ],
    });
    return { dir, r, loraAlpha: 16, sha256: adapterDigest(join(pool, dir)) };
  });
  const quantiles = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
  writePoolManifest(
    pool,
    {
      format: 'crayon-pool',
      version: 1,
      createdBy: 'benchmarks/cold-blend.ts',
      base: {
        name: base,
        modelType: 'qwen2',
        digest: model.digest(),
        tokenizerDigest: model.tokenizerDigest(),
        hiddenSize: dim,
      },
      embedding: { kind: 'first-attention', centred: false, dim },
      N,
      seed: 0,
      tau: 0.1,
      training: {},
      data: [],
      clusters: adapters.map(() => {
        return {
          size: 1,
          lossBefore: null,
          lossAfter: null,
          tasks: {},
          nearest: [],
          similarity: { mean: 0.3, quantiles },
        };
      }),
      silhouette: null,
      adapters,
    },
    { centroids: values(N * dim), mean: null, idf: null },
  );
  keepVocabulary(pool, model, model.tokenizerDigest());
  model.close();
}

if (!existsSync(join(base, 'model.safetensors'))) makeBase();
if (!existsSync(join(pool, 'pool.json'))) makePool();
const prompt = () =>
  Array.from({ length: 40 }, () =>
    pick(['the', 'station', 'Train', 'ñandú', '3141', 'leaves,', 'quickly', 'at noon.', '日本語', '\n']),
  ).join(' ');
writeFileSync(
  examples,
  Array.from({ length: 10 }, () => JSON.stringify({ prompt: prompt(), completion: ' yes' })).join('\n'),
);

const blend = (entry: string, ...more: string[]) => [
  entry,
  'blend',
  '--pool',
  pool,
  '--out',
  join(cache, 'out'),
  '--force',
  ...more,
];
const shown = ['--examples', examples];
const given = ['--coefficients', '0.4,0.3,0.2,0.1'];
const commands: Array<[string, string[]]> = [
  ['node -e 0', ['-e', '0']],
  ['crayon --version', [options.entry, '--version']],
  ['blend of ten examples', blend(options.entry, ...shown)],
  ['blend of given coefficients', blend(options.entry, ...given)],
];
if (options.peer !== undefined) {
  commands.push(['peer: --version', [options.peer, '--version']]);
  commands.push(['peer: blend of ten examples', blend(options.peer, ...shown)]);
  commands.push(['peer: blend of given coefficients', blend(options.peer, ...given)]);
}
const results = commands.map(([name]) => ({ name, ms: [] as number[], cpuMs: [] as number[] }));
for (let round = 0; round < Number(options.rounds); round++) {
  for (const [i, [, args]] of commands.entries()) {
    rmSync(join(cache, 'out'), { recursive: true, force: true });
    const start = performance.now();
    const { status, stderr } = spawnSync('/usr/bin/env', ['bash', '-c', 'time "$0" "$@"', process.execPath, ...args], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${args.join(' ')} failed:\n${stderr}`);
    results[i]!.ms.push(performance.now() - start);
    const seconds = (label: string) => {
      const [, minutes, rest] = new RegExp(`${label}\\s+(\\d+)m([\\d.,]+)s`).exec(stderr)!;
      return Number(minutes) * 60 + Number(rest!.replace(',', '.'));
    };
    results[i]!.cpuMs.push((seconds('user') + seconds('sys')) * 1000);
  }
}
const machine = { cpu: cpus()[0]!.model.trim(), cores: cpus().length, node: process.version, load: loadavg() };
console.log(
  `${machine.cores} cores of ${machine.cpu}, Node ${machine.node}, load ${machine.load.map((x) => x.toFixed(1)).join(' ')}`,
);
console.log(`${''.padEnd(34)}${'least'.padStart(10)}${'median'.padStart(10)}${'CPU, least'.padStart(12)}`);
for (const { name, ms, cpuMs } of results) {
  const cells = [Math.min(...ms), median(ms), Math.min(...cpuMs)].map((x) => `${(x / 1000).toFixed(2)} s`);
  console.log(`${name.padEnd(34)}${cells[0]!.padStart(10)}${cells[1]!.padStart(10)}${cells[2]!.padStart(12)}`);
}
console.log(JSON.stringify({ benchmark: 'cold-blend', machine, results }));
