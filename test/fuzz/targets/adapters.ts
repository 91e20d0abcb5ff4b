/** Adapters, blends and pools. */

import { join } from 'node:path';
import { type BlendOptions, blendAdapters } from '../../../src/blend/blend.js';
import { estimateCoefficients } from '../../../src/blend/coefficients.js';
import { checkCoverage } from '../../../src/blend/coverage.js';
import { adapterForm } from '../../../src/blend/prompt-record.js';
import { exportAdapterGguf, readAdapterMetadata } from '../../../src/gguf/adapter.js';
import { openPeftAdapter, type PeftAdapter } from '../../../src/peft/read.js';
import { poolSpace } from '../../../src/pool/embed/space.js';
import { openPool, poolTemplate } from '../../../src/pool/pool.js';
import { fixture } from '../../helpers/fixtures.js';
import { Finding, type Target } from '../target.js';
import { CODE_MS, files, filesOf, ggufAdapters, repository } from './seeds.js';

const adapter = (...parts: string[]) => filesOf(fixture(...parts));

function useAdapter(dir: string): string {
  const open = openPeftAdapter(dir);
  try {
    open.validate();
    for (const module of open.modules) {
      const shapes = [
        open.readA(module).length === module.r * module.in,
        open.readB(module).length === module.out * module.r,
      ];
      if (shapes.includes(false) || !Number.isFinite(module.scale))
        throw new Finding('different', `${module.name}: scale ${module.scale}, r ${module.r}`);
    }
    return `${open.modules.length} ${adapterForm(dir, 'model', 'x{{ messages[0].content }}', AS_ASKED).form.kind}`;
  } finally {
    open.close();
  }
}

/** No form asked for: that of the record, or what the model has. */
const AS_ASKED = {};
const CRAYON = '{"format":"crayon-blend","version":1,"prompt":{"form":"plain"},"combine":"cat","rank":4}';
const AS_TRAINED = files({ 'crayon.json': CRAYON });

export const peftAdapter: Target = {
  name: 'adapter',
  longestMs: CODE_MS,
  reads: "PEFT's adapter_config.json and adapter_model.safetensors, crayon.json beside them",
  weight: 2,
  seeds: () => [
    ...['llama', 'gemma3', 'phi3', 'qwen2'].map((name) => adapter('lora', name)),
    ...['patterns', 'rslora', 'cat'].map((name) => adapter('peft-combine', name)),
    new Map([...adapter('lora', 'llama'), ...AS_TRAINED]),
  ],
  words: [
    'rank_pattern',
    'alpha_pattern',
    'target_modules',
    'layers_to_transform',
    'layers_pattern',
    'exclude_modules',
    'use_rslora',
    'modules_to_save',
    'all-linear',
    '.*',
    'model\\.layers\\.\\d+\\..*',
  ],
  run: useAdapter,
};

export const blend: Target = {
  name: 'blend',
  longestMs: CODE_MS,
  reads: 'an adapter blended with a sound one, the blend read again, and exported as a GGUF LoRA',
  writes: true,
  seeds: () => ['plain', 'patterns', 'rslora'].map((name) => adapter('peft-combine', name)),
  run(dir, given) {
    const opened: PeftAdapter[] = [];
    const out = join(dir, 'out');
    // The sound ways first, so that svd's threads are not started for every mutant.
    const options: Omit<BlendOptions, 'adapters'> = {
      coefficients: [0.75, 0.25],
      combine: given.size % 2 === 0 ? 'cat' : 'linear',
      baseModel: 'x',
      out,
      threads: 1,
    };
    try {
      opened.push(openPeftAdapter(dir), openPeftAdapter(fixture('peft-combine', 'plain')));
      blendAdapters({ ...options, adapters: opened });
    } finally {
      for (const open of opened) open.close();
    }
    exportAdapterGguf({ adapter: out, base: fixture('models', 'llama'), out: join(dir, 'out.gguf') });
    return useAdapter(out);
  },
};

export const ggufAdapter: Target = {
  name: 'gguf-adapter',
  reads: "a GGUF LoRA's record of its prompts",
  weight: 0.5,
  seeds: (scratch) => ggufAdapters(scratch, ['llama', 'gemma3', 'phi3']),
  run: (dir) =>
    `${readAdapterMetadata(join(dir, 'adapter.gguf')).prompt !== undefined} ${adapterForm(join(dir, 'adapter.gguf'), 'model', null, AS_ASKED).form.kind}`,
};

const POOL = repository('models', 'crayon-edge-pool');

export const pool: Target = {
  name: 'pool',
  longestMs: CODE_MS,
  reads: 'pool.json, centroids.safetensors and the adapters that they name',
  seeds: () => [filesOf(POOL)],
  changes: /json$|centroids|0\/adapter_model/,
  run(dir) {
    const open = openPool(dir);
    poolTemplate(open);
    const space = poolSpace(open);
    const { N, embedding } = open.manifest;
    const n = 3;
    const data = Float32Array.from({ length: n * embedding.dim }, (_, i) => Math.sin(i + 1));
    const examples = { data, n, d: embedding.dim };
    const centroids = { data: open.centroids, n: N, d: embedding.dim };
    const { coefficients } = estimateCoefficients('similarity', examples, centroids, { tau: open.manifest.tau });
    if (!coefficients.every(Number.isFinite)) throw new Finding('different', `coefficients ${coefficients}`);
    checkCoverage(examples, centroids, open.manifest.clusters);
    for (let k = 0; k < Math.min(N, 8); k++) {
      const member = open.openAdapter(k);
      member.close();
    }
    open.verify();
    return `${N} ${space !== undefined}`;
  },
};
