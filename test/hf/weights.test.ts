import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hearingWarnings } from '../../src/core/warning.js';
import { HfModel } from '../../src/hf/model.js';
import { type TensorToWrite, writeSafetensors } from '../../src/safetensors/write.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

/** A copy of a fixture model with other tensors. */
function changed(change: (tensors: TensorToWrite[]) => TensorToWrite[], name = 'llama'): string {
  const dir = join(temporaryDir(), 'model');
  cpSync(fixture('models', name), dir, { recursive: true });
  const model = HfModel.open(dir);
  const tensors = model.tensorNames().map((key): TensorToWrite => {
    return { name: key, dtype: 'F32', shape: model.info(key).shape, data: model.readF32(key) };
  });
  model.close();
  writeSafetensors(join(dir, 'model.safetensors'), change(tensors), { format: 'pt' });
  return dir;
}

const small = (name: string): TensorToWrite => ({ name, dtype: 'F32', shape: [2], data: new Float32Array(2) });

function warningsOf(dir: string): string[] {
  const warnings: string[] = [];
  hearingWarnings(
    (text) => warnings.push(text),
    () => {
      HfModel.open(dir).close();
      HfModel.open(dir).close();
    },
  );
  return warnings;
}

describe('weights beside those of the model', () => {
  it('are named once, as many as fit a line', () => {
    const names = ['score.weight', ...Array.from({ length: 6 }, (_, i) => `mtp.layers.${i}.fc.weight`)];
    const warnings = warningsOf(changed((tensors) => [...tensors, ...names.map(small)]));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/7 weights of the file are not used: .*"mtp\.layers\.0\.fc\.weight".*and 2 more/);
  });

  it('are not spoken of where no transformers reads them', () => {
    const buffers = ['model.layers.0.self_attn.rotary_emb.inv_freq', 'model.rotary_emb.inv_freq', 'model.position_ids'];
    expect(warningsOf(changed((tensors) => [...tensors, ...buffers.map(small)]))).toEqual([]);
    expect(warningsOf(fixture('models', 'llama'))).toEqual([]);
  });

  it('an adapter in the same directory is not applied, and said to be there', () => {
    const dir = changed((tensors) => tensors);
    writeFileSync(join(dir, 'adapter_config.json'), '{}');
    expect(warningsOf(dir)).toEqual([expect.stringMatching(/a PEFT adapter beside the model, which is not applied/)]);
  });

  it('are named where a shard has them and the index does not', () => {
    const dir = join(temporaryDir(), 'model');
    cpSync(fixture('models', 'qwen2'), dir, { recursive: true });
    const path = join(dir, 'model.safetensors.index.json');
    const index = JSON.parse(readFileSync(path, 'utf8'));
    const name = 'model.norm.weight';
    const { [name]: at, ...rest } = index.weight_map;
    writeFileSync(path, JSON.stringify({ weight_map: rest }));
    const error = errorOf(() => HfModel.open(dir));
    expect(error).toMatchObject({ code: 'model-invalid' });
    expect(error.hint).toMatch(/index\.json does not name tensors that are in the files/);
    writeFileSync(path, JSON.stringify({ weight_map: { ...rest, [name]: at } }));
    expect(warningsOf(dir)).toEqual([]);
  });

  it('are refused where they are of a layer, and the hint says what is likeliest', () => {
    const hints: Array<[(tensors: TensorToWrite[]) => TensorToWrite[], RegExp]> = [
      [(tensors) => [...tensors, small('model.layers.0.self_attn.q_proj.bias')], /says less than the weights have/],
      [(tensors) => tensors.filter(({ name }) => !name.includes('layers.1.')), /incomplete/],
      [
        (tensors) => tensors.map((one) => ({ ...one, name: `_orig_mod.${one.name}` })),
        /_orig_mod\..*save the model itself/,
      ],
      [
        (tensors) => [...tensors.slice(1), small('base_model.model.model.layers.0.mlp.up_proj.lora_A.weight')],
        /PEFT adapter/,
      ],
      [(tensors) => [...tensors.slice(1), small('model.layers.0.mlp.up_proj.qweight')], /quantised/],
    ];
    for (const [change, hint] of hints) {
      const error = errorOf(() => HfModel.open(changed(change)));
      expect(error).toMatchObject({ code: 'model-invalid' });
      expect(error.hint).toMatch(hint);
    }
  });
});
