/** `crayon inspect` of GGUF files. */

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exportModelGguf } from '../../src/gguf/model.js';
import { crayon, document, succeed } from '../e2e/helpers.js';
import { temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';
import {
  arrayEntry,
  f32,
  floatEntry,
  ggufBytes,
  ggufModel,
  ggufPath,
  stringEntry,
  stringsEntry,
  u32,
  uintEntry,
} from '../helpers/gguf.js';

const lora = (): Buffer =>
  ggufModel(
    [
      stringEntry('general.type', 'adapter'),
      stringEntry('general.architecture', 'llama'),
      stringEntry('adapter.type', 'lora'),
      floatEntry('adapter.lora.alpha', 16),
    ],
    ['blk.0.attn_q', 'blk.1.attn_q', 'blk.0.ffn_up'].flatMap((module, i) => [
      {
        name: `${module}.weight.lora_a`,
        shape: [2 + (i >> 1), 8],
        type: 0,
        bytes: f32(...Array(8 * (2 + (i >> 1))).fill(1)),
      },
      {
        name: `${module}.weight.lora_b`,
        shape: [8, 2 + (i >> 1)],
        type: 0,
        bytes: f32(...Array(8 * (2 + (i >> 1))).fill(1)),
      },
    ]),
  );

describe('crayon inspect', () => {
  it('shows an exported base model', async () => {
    const path = join(temporaryDir(), 'base.gguf');
    exportModelGguf({ model: fixture('models', 'llama'), out: path, type: 'F16', force: false });
    const { stdout } = await succeed(['inspect', path]);
    expect(stdout).toMatch(/kind +GGUF base model \(llama\)/);
    expect(stdout).toMatch(/layers +2 layers, hidden size \d+, 4 heads, 2 key\/value heads/);
    expect(stdout).toMatch(/stored as +F16 \(\d+\), F32 \(\d+\)/);
    expect(stdout).toMatch(/tokenizer +gpt2 \(qwen2\), \d+ tokens/);
    expect(stdout).toMatch(/special +bos \d+ "<s>", eos \d+ "<\/s>"/);
    expect(stdout).toMatch(/chat +has a template/);
    expect(stdout).not.toContain('note');
    const shown = await document<{ digest: string; tensors: unknown[]; metadata: Record<string, unknown> }>([
      'inspect',
      path,
    ]);
    expect(shown).toMatchObject({ kind: 'gguf', type: 'model', architecture: 'llama', version: 3 });
    expect(shown).toMatchObject({ config: { modelType: 'llama', numLayers: 2, numKvHeads: 2 } });
    expect(stdout).toContain(String(shown.digest).slice(0, 16));
    expect(shown.tensors).toContainEqual(expect.objectContaining({ name: 'blk.0.attn_q.weight', type: 'F16' }));
    expect(shown.metadata['tokenizer.ggml.tokens']).toMatch(/^\d+ x string$/);
  });

  it('says so when crayon cannot compute with the model', async () => {
    const metadata = [stringEntry('general.architecture', 'mamba\u001b[31m')];
    const tensors = [{ name: 'token_embd.weight', shape: [2, 2], type: 0, bytes: f32(1, 2, 3, 4) }];
    const path = ggufPath(ggufModel(metadata, tensors));
    const { stdout } = await succeed(['inspect', path]);
    expect(stdout).toMatch(/note +crayon does not train, score or embed with it: architecture "mamba/);
    expect(await document(['inspect', path])).toMatchObject({ digest: null, config: null });
    expect(stdout).not.toContain('\u001b');
  });

  it('shows a LoRA with its ranks, alpha and modules', async () => {
    const path = ggufPath(lora());
    const { stdout } = await succeed(['inspect', path]);
    expect(stdout).toMatch(/kind +GGUF LoRA adapter \(llama\)/);
    expect(stdout).toMatch(/rank +2, 3 \(alpha 16\)/);
    expect(stdout).toMatch(/modules +3: attn_q, ffn_up/);
    expect(stdout).toMatch(/stored as +F32 \(6\)/);
    expect(await document(['inspect', path])).toMatchObject({
      type: 'adapter',
      metadata: { 'adapter.lora.alpha': 16 },
    });
  });

  it('knows a GGUF file by its first bytes, whatever its name', async () => {
    const other = join(temporaryDir(), 'sha256-0123');
    copyFileSync(ggufPath(lora()), other);
    expect(await document(['inspect', other])).toMatchObject({ kind: 'gguf' });
  });

  it('says so when crayon cannot read the tokenizer, and takes what is missing or a list in its stride', async () => {
    const metadata = [
      stringEntry('general.architecture', 'bert'),
      stringEntry('general.name', 'a\u001b[31mname'),
      arrayEntry('bert.attention.head_count', 5, [u32(4), u32(8)]),
      uintEntry('bert.block_count', 2),
      stringEntry('tokenizer.ggml.model', 'bert'),
    ];
    const { stdout } = await succeed(['inspect', ggufPath(ggufBytes({ metadata }))]);
    expect(stdout).toMatch(/GGUF vocabulary without weights \(bert\), "a\\u001b\[31mname"/);
    expect(stdout).toMatch(/layers +2 layers\n/);
    expect(stdout).toMatch(/note +crayon does not read this tokenizer: tokenizer model "bert"/);
    expect(stdout).not.toContain('\u001b');
  });

  it('names every special token that the file does, and says of one that it has none', async () => {
    const metadata = [
      stringEntry('general.architecture', 'llama'),
      stringEntry('tokenizer.ggml.model', 'llama'),
      stringsEntry('tokenizer.ggml.tokens', ['<unk>', '<s>', '<turn\u001b>']),
      ...[uintEntry('tokenizer.ggml.eot_token_id', 2), uintEntry('tokenizer.ggml.fim_pre_token_id', 0)],
      ...[uintEntry('tokenizer.ggml.eos_token_id', 1), uintEntry('tokenizer.ggml.padding_token_id', 2 ** 32 - 1)],
    ];
    const { stdout } = await succeed(['inspect', ggufPath(ggufBytes({ metadata }))]);
    const rest = 'eot 2 "<turn\\u001b>", padding 4294967295 (not in the vocabulary), fim_pre 0 "<unk>"';
    expect(stdout).toContain(`bos none, eos 1 "<s>", ${rest}`);
  });

  it('refuses a damaged file by code', async () => {
    const { code, stderr } = await crayon(['inspect', ggufPath(lora().subarray(0, -40))]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/cut short.*\[gguf-invalid\]/);
  });
});
