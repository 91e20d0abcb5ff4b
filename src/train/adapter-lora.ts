/** A PEFT adapter, as read from its directory, in the form that the model's forward pass takes. */

import { CrayonError } from '../core/errors.js';
import { abridge } from '../core/format.js';
import type { BaseModel } from '../hf/base-model.js';
import { projectionShapes } from '../hf/model.js';
import { createLoraLayout, type LayoutModule, setAdapterFactors } from '../model/lora-layout.js';
import { openPeftAdapter, type PeftAdapter } from '../peft/read.js';
import type { EvaluationLora } from './evaluate.js';

/**
 * Stacks adapters for evaluation. Modules of lower rank are padded with zeros and every scale is folded into B, so that
 * mixed ranks, rsLoRA and patterns need no further thought.
 *
 * @param gates coefficients, as in EvaluationLora
 * @throws CrayonError `adapter-mismatch` naming every module that does not fit the base model
 */
export function stackAdapters(
  adapters: readonly PeftAdapter[],
  base: BaseModel,
  gates: EvaluationLora['gates'] = [[1]],
): EvaluationLora {
  const r = Math.max(1, ...adapters.flatMap((adapter) => adapter.modules.map((m) => m.r)));
  const shapes = fittingModules(adapters, base);
  const layout = createLoraLayout([...shapes.values()], adapters.length, r);
  const parameters = new Float32Array(layout.size);
  adapters.forEach((adapter, n) => {
    const byName = new Map(adapter.modules.map((m) => [m.name, m]));
    for (const module of layout.modules) {
      const source = byName.get(module.name);
      if (source === undefined) continue; // an adapter without this module contributes nothing to it
      const a = new Float32Array(r * module.in);
      a.set(adapter.readA(source));
      const thin = adapter.readB(source); // (out, source.r)
      const b = new Float32Array(module.out * r);
      for (let o = 0; o < module.out; o++) {
        for (let j = 0; j < source.r; j++) b[o * r + j] = thin[o * source.r + j]! * source.scale;
      }
      setAdapterFactors(layout, parameters, module, n, { a, b });
    }
  });
  return { layout, parameters, loraAlpha: r, gates };
}

/**
 * The modules of all adapters, each once.
 *
 * @throws CrayonError `adapter-mismatch` naming every module that does not fit the base model
 */
export function fittingModules(
  adapters: ReadonlyArray<{ dir: string; modules: ReadonlyArray<Pick<LayoutModule, 'name' | 'in' | 'out'>> }>,
  base: BaseModel,
) {
  const shapes = new Map<string, Pick<LayoutModule, 'name' | 'in' | 'out'>>();
  const { config } = base;
  const ofBlocks = projectionShapes(config).map(({ name }) => name);
  const known = new Set(
    Array.from({ length: config.numLayers }, (_, i) => ofBlocks.map((name) => `model.layers.${i}.${name}`)).flat(),
  );
  const problems: string[] = [];
  for (const adapter of adapters) {
    for (const { name, in: inSize, out } of adapter.modules) {
      shapes.set(name, { name, in: inSize, out });
      if (name !== 'lm_head' && !known.has(name)) {
        const isWeight = base.tensorNames().includes(`${name}.weight`);
        problems.push(`${name}: ${isWeight ? 'LoRA on it is not computed' : 'the base model has no such module'}`);
        continue;
      }
      const isTied = name === 'lm_head' && config.tieWordEmbeddings;
      const [baseOut, baseIn] = base.info(isTied ? 'model.embed_tokens.weight' : `${name}.weight`).shape;
      if (baseOut !== out || baseIn !== inSize) {
        problems.push(`${name}: adapter is ${out} x ${inSize}, base is ${baseOut} x ${baseIn}`);
      }
    }
  }
  if (problems.length > 0) {
    const misfit = `${adapters[0]!.dir} does not fit ${base.path}: ${abridge(problems, 20)}`;
    throw new CrayonError('adapter-mismatch', misfit, {
      hint: 'Use the base model that the adapter was made for (base_model_name_or_path in its config).',
    });
  }
  return shapes;
}

/** One adapter directory, ready for evaluation. @throws CrayonError what opening it and `stackAdapters` throw */
export function loadAdapterLora(dir: string, base: BaseModel): EvaluationLora {
  const adapter = openPeftAdapter(dir, { copies: 'later' });
  try {
    adapter.compareCopies(base);
    return stackAdapters([adapter], base);
  } finally {
    adapter.close();
  }
}
