/** `crayon inspect`: what a path holds. */

import { Command } from 'commander';
import { BLEND_FILE } from '../../blend/blend.js';
import { formatBytes, formatCount } from '../../core/format.js';
import { readOptionalJson } from '../../files/json.js';
import { HfModel } from '../../hf/model.js';
import { openPeftAdapter } from '../../peft/read.js';
import { openPool } from '../../pool/pool.js';
import type { TensorInfo } from '../../safetensors/header.js';
import { SafetensorsFile } from '../../safetensors/read.js';
import type { Terminal } from '../terminal.js';
import { inspectGguf } from './gguf.js';
import { recognisePath } from './recognise.js';

const HELP = `
Reads headers and manifests only, so it answers at once for a file of any size.

Examples:
  $ crayon inspect models/base
  $ crayon inspect pool
  $ crayon inspect my-adapter --json
  $ crayon inspect model.gguf
  $ crayon inspect my-adapter/adapter_model.safetensors`;

export function inspectCommand(terminal: Terminal): Command {
  return new Command('inspect')
    .description('Show what a model, an adapter, a pool, a GGUF or a safetensors file holds.')
    .argument('<path>', 'a directory, or a .gguf or .safetensors file')
    .option('--verify', "read a pool's adapters whole and compare their digests", false)
    .addHelpText('after', HELP)
    .action((path: string, { verify }: { verify: boolean }) => {
      const kind = recognisePath(path);
      if (kind === 'pool') inspectPool(path, verify, terminal);
      else if (kind === 'adapter') inspectAdapter(path, terminal);
      else if (kind === 'model') inspectModel(path, terminal);
      else if (kind === 'gguf') facts(terminal, path, inspectGguf(path, terminal));
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
    ['stored as', [...new Set(tensors.map((t) => t.dtype))].join(', ')],
    ['digest', digest.slice(0, 16)],
  ]);
}

function inspectAdapter(path: string, terminal: Terminal): void {
  const adapter = openPeftAdapter(path);
  const { config, modules } = adapter;
  adapter.close();
  const parameters = modules.reduce((n, m) => n + m.r * (m.in + m.out), 0);
  const ranks = [...new Set(modules.map((m) => m.r))].sort((a, b) => a - b);
  const blend = readOptionalJson(`${path}/${BLEND_FILE}`);
  terminal.document({ kind: 'adapter', path, parameters, config, modules, blend: blend ?? null });
  facts(terminal, path, [
    ['kind', blend === undefined ? 'LoRA adapter' : 'LoRA adapter, blended by crayon'],
    ['base model', config.baseModel ?? 'not named'],
    ['rank', `${ranks.join(', ')} (lora_alpha ${config.loraAlpha}${config.useRslora ? ', rsLoRA' : ''})`],
    ['modules', `${modules.length}: ${[...new Set(modules.map((m) => m.name.split('.').at(-1)))].join(', ')}`],
    ['parameters', formatCount(parameters)],
    ...(blend === undefined ? [] : [['blend', JSON.stringify(blend)] as [string, string]]),
  ]);
}

function inspectPool(path: string, verify: boolean, terminal: Terminal): void {
  const pool = openPool(path);
  if (verify) pool.verify();
  const { manifest } = pool;
  terminal.document({ kind: 'pool', path, verified: verify, manifest });
  const { base, embedding } = manifest;
  facts(terminal, path, [
    ['kind', `pool of ${manifest.N} base LoRAs, by ${manifest.createdBy}`],
    ['base model', `${base.name} (${base.modelType}, digest ${base.digest.slice(0, 12)})`],
    ['embedding', `${embedding.kind}${embedding.centred ? ', centred' : ''}, ${embedding.dim} numbers`],
    ['gate', `softmax(cos / ${manifest.tau})`],
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

function facts(terminal: Terminal, title: string, rows: Array<[string, string]>): void {
  const width = Math.max(...rows.map(([name]) => name.length));
  terminal.print(terminal.colour.bold(title));
  for (const [name, value] of rows) terminal.print(`  ${terminal.colour.dim(name.padEnd(width))}  ${value}`);
}

function countParameters(tensors: ReadonlyArray<Pick<TensorInfo, 'shape'>>): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((n, size) => n * size, 1), 0);
}
