/** `crayon inspect`: what a path holds: a model, an adapter, a pool, a safetensors or a GGUF file. */

import type { Command } from 'commander';
import { CHOICE_RECORD } from '../blend/choice-record.js';
import { TRAINED_RECORD } from '../blend/trained-record.js';
import { isCrayonError } from '../core/errors.js';
import { abridge, formatBytes, formatCount, printable } from '../core/format.js';
import { isJsonObject, type JsonObject, readOptionalJson } from '../files/json.js';
import { openBase } from '../gguf/base.js';
import { type GgufTensorInfo, type GgufValue, ggufNumber, ggufString, ggufStrings } from '../gguf/format.js';
import { whatAborts } from '../gguf/llama-cpp.js';
import { ggufDifferences } from '../gguf/model.js';
import { GgufFile } from '../gguf/read.js';
import { readGgufVocabulary } from '../gguf/vocabulary/read.js';
import { namedTokenId, SPECIAL_TOKENS } from '../gguf/vocabulary/special-tokens.js';
import { ADAPTER_RECORD_FILE } from '../hf/adapter-record.js';
import { ggufArchitecture, projectionsOf } from '../hf/families.js';
import { HfModel, type ModelConfig } from '../hf/model.js';
import type { Rope } from '../hf/rope.js';
import type { BaseCopy } from '../peft/copies.js';
import { openPeftAdapter } from '../peft/read.js';
import { openPool, type PoolManifest } from '../pool/pool.js';
import { SafetensorsFile } from '../safetensors/read.js';
import { type PoolFlags, poolOptions } from './options.js';
import { placeOf } from './pool-place.js';
import { recognisePath } from './recognise.js';
import { choiceTable, choiceWords } from './show-choice.js';
import { trainedWords } from './show-trained.js';
import type { Terminal } from './terminal.js';

/** Longer arrays, vocabularies above all, are given by their length in the JSON document. */
const MAX_ARRAY = 16;

type Facts = Array<[name: string, value: string]>;

const HELP = `
Reads headers and manifests only, so it answers at once for a file of any size.

Examples:
  $ crayon inspect models/base
  $ crayon inspect pool
  $ crayon inspect https://example.org/pools/demo
  $ crayon inspect my-adapter --json
  $ crayon inspect model.gguf
  $ crayon inspect my-adapter/adapter_model.safetensors`;

export function inspectCommand(command: Command, terminal: Terminal): void {
  command.option('--verify', "read a pool's adapters whole and compare their digests", false);
  poolOptions(command)
    .addHelpText('after', HELP)
    .action(async (path: string, { verify, ...flags }: { verify: boolean } & PoolFlags) => {
      const place = await placeOf(path, flags, terminal.streams.env);
      if (verify) await place.members();
      const kind = place.remote === null ? recognisePath(path) : 'pool';
      if (kind === 'pool') inspectPool(place.dir, verify, terminal, path);
      else if (kind === 'adapter') inspectAdapter(path, terminal);
      else if (kind === 'model') inspectModel(path, terminal);
      else if (kind === 'gguf') inspectGguf(path, terminal);
      else inspectSafetensors(path, terminal);
    });
}

function inspectModel(path: string, terminal: Terminal): void {
  const model = HfModel.open(path);
  const tensors = model.tensorNames().map((name) => ({ name, ...model.info(name) }));
  const digest = model.digest();
  model.close();
  const { config } = model;
  const parameters = countParameters(tensors);
  terminal.document({ kind: 'model', path, digest, parameters, config });
  const heads = `${config.numHeads} heads of ${config.headDim}, ${config.numKvHeads} key/value heads`;
  facts(terminal, path, [
    ['kind', `base model (${config.modelType})`],
    ['parameters', formatCount(parameters)],
    ['layers', `${config.numLayers}, hidden size ${config.hiddenSize}, ${heads}`],
    ['vocabulary', `${formatCount(config.vocabSize)}${config.tieWordEmbeddings ? ', tied embeddings' : ''}`],
    ['context', `${formatCount(config.maxPositionEmbeddings)} tokens`],
    ...layerFacts(config),
    ['llama.cpp', llamaCppFact(config)],
    ['stored as', [...new Set(tensors.map((t) => t.dtype))].join(', ')],
    ['digest', digest.slice(0, 16)],
  ]);
}

/** What layers know of positions, and which of their projections LoRA can target. */
function layerFacts(config: ModelConfig): Facts {
  const { numLayers, slidingWindow, slidingLayers, slidingRope, rotaryLayers, rotaryDim, headDim } = config;
  const some = (layers: readonly boolean[] | null) =>
    layers === null ? '' : ` in ${layers.filter(Boolean).length} of ${numLayers} layers`;
  const rope = [
    `${ropeWords(config)}${some(rotaryLayers)}`,
    ...(rotaryDim < headDim ? [`${rotaryDim} of ${headDim} numbers of a head`] : []),
    ...(slidingRope === null || !slidingLayers?.includes(true) ? [] : [`with a window ${ropeWords(slidingRope)}`]),
  ];
  const window = `${formatCount(slidingWindow ?? 0)} tokens${some(slidingLayers)}`;
  return [
    ['rotary', rope.join('; ')],
    ...(slidingWindow === null ? [] : ([['window', window]] satisfies Facts)),
    [
      'LoRA on',
      projectionsOf(config.modelType)
        .map((name) => name.split('.').at(-1))
        .join(', '),
    ],
  ];
}

function ropeWords({ ropeTheta, ropeScaling: scaling }: Rope): string {
  const theta = `theta ${formatCount(ropeTheta)}`;
  if (scaling === null) return theta;
  const factor = 'factor' in scaling ? ` by ${scaling.factor}` : '';
  const from =
    'originalMaxPositionEmbeddings' in scaling ? ` from ${scaling.originalMaxPositionEmbeddings} tokens` : '';
  return `${theta}, ${scaling.type}${factor}${from}`;
}

function llamaCppFact(config: ModelConfig): string {
  const differences = ggufDifferences(config);
  const { name } = ggufArchitecture(config.modelType);
  return differences.length === 0 ? `architecture ${name}` : `not exported: ${differences.join(' and ')}`;
}

function inspectAdapter(path: string, terminal: Terminal): void {
  const adapter = openPeftAdapter(path, { copies: 'later' });
  const { config, modules, copies } = adapter;
  adapter.close();
  const parameters = modules.reduce((n, m) => n + m.r * (m.in + m.out), 0);
  const ranks = [...new Set(modules.map((m) => m.r))].sort((a, b) => a - b);
  const record = readOptionalJson(`${path}/${ADAPTER_RECORD_FILE}`);
  const blend = record?.format === 'crayon-blend' ? record : undefined;
  const base = isJsonObject(record?.base) ? `, digest ${String(record.base.digest).slice(0, 12)}` : '';
  terminal.document({ kind: 'adapter', path, parameters, config, modules, copies, blend: blend ?? null });
  facts(terminal, path, [
    ['kind', blend === undefined ? 'LoRA adapter' : 'LoRA adapter, blended by crayon'],
    ['base model', `${config.baseModel ?? 'not named'}${base}`],
    ['rank', `${ranks.join(', ')} (lora_alpha ${config.loraAlpha}${config.useRslora ? ', rsLoRA' : ''})`],
    ['modules', `${modules.length}: ${[...new Set(modules.map((m) => m.name.split('.').at(-1)))].join(', ')}`],
    ['parameters', formatCount(parameters)],
    ...copyFacts(copies),
    ...(blend === undefined ? [] : blendFacts(blend)),
  ]);
  const choice = CHOICE_RECORD.safeParse(blend?.choice);
  if (!choice.success) return;
  terminal.print();
  choiceTable(choice.data, terminal);
  for (const sentence of choiceWords(choice.data)) terminal.print(sentence);
}

/** Weights beside the LoRA: without the base model nobody can say whether they are trained. */
function copyFacts(copies: readonly BaseCopy[]): Facts {
  if (copies.length === 0) return [];
  const names = abridge(
    copies.map(({ name }) => name),
    5,
    ', ',
  );
  return [['base weights', `${names}: taken where the base model has the same, refused where it has others`]];
}

/** What crayon.json says, as far as a glance wants it; `--json` has the whole. */
function blendFacts(blend: JsonObject): Array<[string, string]> {
  const { combine, coefficients, prompt, examples, coverage, general } = blend;
  const all = Array.isArray(coefficients) ? coefficients.filter((x) => typeof x === 'number') : [];
  const numbers = general === true ? all.slice(0, -1) : all;
  const form = isJsonObject(prompt) ? prompt.form : 'plain';
  const shown = numbers.map((x, n) => [x, n] as const).filter(([x]) => Math.abs(x) >= 0.0005);
  shown.sort(([a, i], [b, j]) => Math.abs(b) - Math.abs(a) || i - j);
  const weights = abridge(
    shown.map(([x, n]) => `${x.toFixed(3)} of ${n}`),
    8,
    ', ',
  );
  const from = typeof examples === 'number' ? ` from ${examples} examples` : '';
  const trained = TRAINED_RECORD.safeParse(blend.trained);
  const covered = typeof coverage === 'string' ? `, coverage ${coverage}` : '';
  return [
    [
      'blend',
      `${String(combine)} of ${numbers.length} adapters${general === true ? ' on a general one' : ''}${from}${covered}`,
    ],
    ['', weights],
    ...(trained.success ? [['trained', trainedWords(trained.data)] satisfies [string, string]] : []),
    ['prompts', String(form)],
  ];
}

function inspectPool(dir: string, verify: boolean, terminal: Terminal, path: string): void {
  const pool = openPool(dir);
  if (verify) pool.verify();
  const { manifest } = pool;
  terminal.document({ kind: 'pool', path, verified: verify, manifest });
  const { base, embedding } = manifest;
  facts(terminal, path, [
    ['kind', `pool of ${manifest.N} base LoRAs, by ${manifest.createdBy}`],
    ['base model', `${base.name} (${base.modelType}, digest ${base.digest.slice(0, 12)})`],
    ['embedding', `${embedding.kind}${embedding.centred ? ', centred' : ''}, ${embedding.dim} numbers`],
    ['prompts', manifest.prompt?.form ?? 'plain'],
    ['gate', `softmax(cos / ${manifest.tau})`],
    ...phaseFacts(manifest),
    ['silhouette', manifest.silhouette?.toFixed(3) ?? 'unknown'],
    ['adapters', verify ? 'all as they were written' : 'not read (--verify compares their digests)'],
  ]);
  terminal.table(
    ['n', 'size', 'rank', 'loss before', 'after', 'tasks'],
    manifest.clusters.map((cluster, n) => [
      String(n),
      formatCount(cluster.size),
      String(manifest.adapters[n]!.r),
      cluster.lossBefore?.toFixed(3) ?? '',
      cluster.lossAfter?.toFixed(3) ?? '',
      Object.entries(cluster.tasks)
        .slice(0, 4)
        .map(([name, count]) => `${name} ${count}`)
        .join(', '),
    ]),
    ['right', 'right', 'right', 'right', 'right', 'left'],
  );
}

/** What was trained before and behind the adapters by themselves. */
function phaseFacts({ general: g, training: { joint: j } }: PoolManifest): Facts {
  const steps = (of: JsonObject) => `${of.steps} steps, loss ${of.firstLoss} to ${of.lastLoss}`;
  const general = g && `one LoRA on everything, rank ${g.r}, below all others: ${steps({ ...g })}`;
  const joint = isJsonObject(j) && `all of them together, ${j.fraction} of mode joint's steps: ${steps(j)}`;
  const facts: Facts = [
    ['general', general || ''],
    ['joint phase', joint || ''],
  ];
  return facts.filter(([, words]) => words !== '');
}

function inspectSafetensors(path: string, terminal: Terminal): void {
  const file = SafetensorsFile.open(path);
  const tensors = [...file.tensors].map(([name, info]) => ({ name, ...info }));
  const { metadata, sizeBytes } = file;
  file.close();
  terminal.document({ kind: 'safetensors', path, sizeBytes, metadata, tensors });
  facts(terminal, path, [
    ['kind', 'safetensors file'],
    ['size', formatBytes(sizeBytes)],
    ['tensors', `${tensors.length}, ${formatCount(countParameters(tensors))} elements`],
    ['metadata', JSON.stringify(metadata)],
  ]);
  terminal.table(
    ['tensor', 'dtype', 'shape'],
    tensors.map((t) => [t.name, t.dtype, `[${t.shape.join(', ')}]`]),
  );
}

function facts(terminal: Terminal, title: string, rows: Facts): void {
  const width = Math.max(...rows.map(([name]) => name.length));
  terminal.print(terminal.colour.bold(printable(title)));
  for (const [name, value] of rows) {
    terminal.print(`  ${terminal.colour.dim(name.padEnd(width))}  ${printable(value)}`); // one line, whatever the file says
  }
}

function countParameters(tensors: ReadonlyArray<{ shape: readonly number[] }>): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0);
}

/** A base model, a LoRA, or a vocabulary alone. */
function inspectGguf(path: string, terminal: Terminal): void {
  const file = GgufFile.open(path);
  file.close();
  const tensors = [...file.tensors.values()];
  const type = ggufString(file, 'general.type') ?? 'model';
  const tokenizer = tokenizerFacts(file);
  const isModel = type !== 'adapter' && tensors.length > 0;
  const base = isModel ? asBase(path) : { digest: null, config: null, note: [] };
  terminal.document({
    kind: 'gguf',
    path,
    sizeBytes: file.sizeBytes,
    version: file.version,
    type,
    architecture: file.metadata.has('general.architecture') ? file.architecture : null,
    parameters: countParameters(tensors),
    digest: base.digest,
    config: base.config,
    metadata: Object.fromEntries([...file.metadata].map(([key, entry]) => [key, jsonValue(entry)])),
    tokenizer: Object.fromEntries(tokenizer),
    tensors,
  });
  const shared: Facts = [
    ['size', formatBytes(file.sizeBytes)],
    ['tensors', `${tensors.length}, ${formatCount(countParameters(tensors))} elements`],
    ['stored as', storedAs(tensors)],
  ];
  const lines = type === 'adapter' ? adapterFacts(file, tensors) : modelFacts(file);
  const aborts = isModel || type === 'adapter' ? whatAborts(file) : [];
  const notes: Facts = aborts.map((problem) => ['note', `llama.cpp would end the process: ${problem}`]);
  facts(terminal, path, [...lines, ...shared, ...(type === 'adapter' ? [] : tokenizer), ...base.note, ...notes]);
}

/** What the file is as a base model of crayon's; llama.cpp may well run one that crayon does not compute with: said, not refused. */
function asBase(path: string): { digest: string | null; config: ModelConfig | null; note: Facts } {
  try {
    const base = openBase(path);
    const digest = base.digest();
    base.close();
    return { digest, config: base.config, note: [...layerFacts(base.config), ['digest', digest.slice(0, 16)]] };
  } catch (error) {
    if (!isCrayonError(error)) throw error;
    const why = error.message.replace(`${path}: `, '');
    return { digest: null, config: null, note: [['note', `crayon does not train, score or embed with it: ${why}`]] };
  }
}

function modelFacts(file: GgufFile): Facts {
  const { architecture, metadata } = file;
  const name = ggufString(file, 'general.name');
  // Some architectures give a list, one number for each layer.
  const get = (key: string): number | undefined => {
    const entry = metadata.get(`${architecture}.${key}`);
    return entry === undefined || entry.type === 'array' ? undefined : ggufNumber(file, `${architecture}.${key}`);
  };
  const sizes = [
    part('', get('block_count'), ' layers'),
    part('hidden size ', get('embedding_length'), ''),
    part('', get('attention.head_count'), ' heads'),
    part('', get('attention.head_count_kv'), ' key/value heads'),
  ];
  const what = file.tensors.size === 0 ? 'vocabulary without weights' : 'base model';
  return [
    ['kind', `GGUF ${what} (${architecture})${name === undefined ? '' : `, ${JSON.stringify(name)}`}`],
    ['layers', sizes.filter((text) => text !== '').join(', ')],
    ['context', part('', get('context_length'), ' tokens') || 'not given'],
  ];
}

function adapterFacts(file: GgufFile, tensors: readonly GgufTensorInfo[]): Facts {
  const { architecture } = file;
  const kind = ggufString(file, 'adapter.type') ?? 'unknown';
  const alpha = ggufNumber(file, 'adapter.lora.alpha');
  // lora_a is (r, in).
  const downs = tensors.filter(({ name }) => name.endsWith('.lora_a'));
  const ranks = [...new Set(downs.map(({ shape }) => shape[0]!))].sort((a, b) => a - b);
  const modules = downs.map(({ name }) => name.replace(/^blk\.\d+\./, '').replace(/\.weight\.lora_a$/, ''));
  return [
    ['kind', `GGUF ${kind === 'lora' ? 'LoRA' : kind} adapter (${architecture})`],
    ['rank', `${ranks.join(', ') || 'none'} (alpha ${alpha ?? 'not given'})`],
    ['modules', `${downs.length}: ${[...new Set(modules)].join(', ')}`],
  ];
}

function tokenizerFacts(file: GgufFile): Facts {
  const model = ggufString(file, 'tokenizer.ggml.model');
  if (model === undefined) return [];
  const pre = ggufString(file, 'tokenizer.ggml.pre');
  const tokens = ggufStrings(file, 'tokenizer.ggml.tokens') ?? [];
  const special = SPECIAL_TOKENS.flatMap((token) => {
    const id = namedTokenId(file, token);
    if (id === undefined) return token === 'bos' || token === 'eos' ? [`${token} none`] : [];
    return [`${token} ${id} ${tokens[id] === undefined ? '(not in the vocabulary)' : JSON.stringify(tokens[id])}`];
  });
  const template = ggufString(file, 'tokenizer.chat_template');
  return [
    ['tokenizer', `${model}${pre === undefined ? '' : ` (${pre})`}, ${formatCount(tokens.length)} tokens`],
    ['special', special.join(', ')],
    ['chat', template === undefined ? 'no template' : 'has a template'],
    ...unreadable(file),
  ];
}

/** llama.cpp may well read a vocabulary that crayon does not: said, not refused. */
function unreadable(file: GgufFile): Facts {
  try {
    readGgufVocabulary(file);
    return [];
  } catch (error) {
    if (!isCrayonError(error)) throw error;
    return [['note', `crayon does not read this tokenizer: ${error.message.replace(`${file.path}: `, '')}`]];
  }
}

/** How many elements are stored in each type, most first. */
function storedAs(tensors: readonly GgufTensorInfo[]): string {
  const counts = new Map<string, number>();
  for (const { type } of tensors) counts.set(type, (counts.get(type) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  return sorted.map(([type, count]) => `${type} (${count})`).join(', ') || 'nothing';
}

function part(before: string, value: number | undefined, after: string): string {
  return value === undefined ? '' : `${before}${formatCount(value)}${after}`;
}

function jsonValue(entry: GgufValue): unknown {
  if (entry.type !== 'array') return plain(entry.value);
  if (entry.value.length > MAX_ARRAY) return `${entry.value.length} x ${entry.of}`;
  return entry.value.map((value) => plain(value));
}

/** JSON knows no 64-bit whole numbers, infinities or NaN. */
function plain(value: number | bigint | boolean | string): number | boolean | string {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
