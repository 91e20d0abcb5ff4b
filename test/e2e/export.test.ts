/** `crayon export`, from the command line to the files. */

import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseModelConfig } from '../../src/hf/config.js';
import { expectedShapes } from '../../src/hf/model.js';
import { safetensorsBytes } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';
import { readWithPeer } from '../helpers/gguf-peer.js';
import { copyOf, document, editJson, LLAMA, refusal, scratch, start, succeed } from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const ADAPTER = fixture('lora', 'llama');
const modelArgs = (out: string, ...more: string[]) => ['export', '--gguf', out, '--model', LLAMA, ...more];

/** A model of 135 million zeros in a sparse file: long enough to be hit in the middle. */
function largeModel(): string {
  const model = copyOf(LLAMA, at('large'));
  editJson<Record<string, unknown>>(join(model, 'config.json'), (config) => {
    Object.assign(config, { hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 8, head_dim: 256 });
  });
  const config = parseModelConfig(JSON.parse(readFileSync(join(model, 'config.json'), 'utf8')), 'config.json');
  let end = 0;
  const header = Object.fromEntries(
    [...expectedShapes(config)].map(([name, shape]) => {
      const start = end;
      end += 2 * shape.reduce((a, b) => a * b, 1);
      return [name, { dtype: 'F16', shape, data_offsets: [start, end] }];
    }),
  );
  const head = safetensorsBytes(header);
  writeFileSync(join(model, 'model.safetensors'), head);
  truncateSync(join(model, 'model.safetensors'), head.length + end);
  return model;
}

describe('an export that is stopped', () => {
  /** Starts an export and waits until its temporary sibling is there. */
  async function startExport(folder: string) {
    mkdirSync(folder);
    const out = join(folder, 'out.gguf');
    const child = start(['export', '--gguf', out, '--model', at('large'), '--type', 'F32', '--json']);
    let over = false;
    void child.ended.then(() => {
      over = true;
    });
    while (!readdirSync(folder).some((name) => name.startsWith('.out.gguf.tmp-'))) {
      if (over) throw new Error(`ended before its first byte: ${child.stderr()}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return { child, out };
  }

  beforeAll(() => void largeModel());

  it.each(['SIGINT', 'SIGTERM'] as const)('by %s leaves nothing and exits with 130', async (signal) => {
    const { child } = await startExport(at(signal));
    child.process.kill(signal);
    const { code, stdout } = await child.ended;
    expect(code).toBe(130);
    expect(JSON.parse(stdout).error.code).toBe('interrupted');
    expect(readdirSync(at(signal))).toEqual([]);
  });

  it('by SIGKILL leaves no output, and the next export removes what was begun', async () => {
    const { child, out } = await startExport(at('killed'));
    child.process.kill('SIGKILL');
    expect((await child.ended).signal).toBe('SIGKILL');
    expect(existsSync(out)).toBe(false);
    await succeed(modelArgs(out));
    expect(readdirSync(at('killed'))).toEqual(['out.gguf']);
  });
});

describe('crayon export', () => {
  it('writes a model in F16, and says what it wrote', async () => {
    const { stdout } = await succeed(modelArgs(at('model.gguf')));
    expect(stdout).toMatch(/Model written: .*model\.gguf \(llama, 21 tensors: 16 F16, 5 F32; .*B in .*s\)/);
    const { metadata } = await readWithPeer(at('model.gguf'));
    expect(metadata['general.file_type']).toBe(1);
  });

  it('says at which tokens llama.cpp will not end, for want of a key', async () => {
    const model = copyOf(fixture('end-tokens', 'model'), at('ends'));
    writeFileSync(join(model, 'generation_config.json'), JSON.stringify({ eos_token_id: [1, 300, 301, 302, 265] }));
    const { stderr } = await succeed(['export', '--gguf', at('ends.gguf'), '--model', model]);
    expect(stderr).toContain('also end at 302 ("old"), 265 ("');
    const { stderr: quiet } = await succeed(modelArgs(at('quiet.gguf')));
    expect(quiet).not.toContain('also end at');
  });

  it('prints one JSON document, for a model and for an adapter on a GGUF base', async () => {
    expect(await document(modelArgs(at('q8.gguf'), '--type', 'Q8_0'))).toMatchObject({
      out: at('q8.gguf'),
      kind: 'model',
      type: 'Q8_0',
      architecture: 'llama',
      tensors: 21,
    });
    const args = ['export', '--gguf', at('lora.gguf'), '--model', at('q8.gguf'), '--adapter', ADAPTER];
    expect(await document(args)).toMatchObject({ kind: 'adapter', type: 'F32', modules: 14, alpha: 8, rescaled: 0 });
  });

  it('refuses an existing output unless --force, and wrong options', async () => {
    await succeed(modelArgs(at('twice.gguf')));
    const before = readFileSync(at('twice.gguf'));
    expect(await refusal(modelArgs(at('twice.gguf'), '--type', 'F32'))).toMatchObject({
      code: 'output-exists',
      exit: 2,
    });
    expect(readFileSync(at('twice.gguf'))).toEqual(before);
    await succeed(modelArgs(at('twice.gguf'), '--type', 'F32', '--force'));
    expect(readFileSync(at('twice.gguf')).length).toBeGreaterThan(before.length);
    expect(await refusal(modelArgs(at('x.gguf'), '--type', 'Q3_K_M'))).toMatchObject({ code: 'bad-option', exit: 2 });
    const quantised = modelArgs(at('x.gguf'), '--adapter', ADAPTER, '--type', 'Q8_0');
    expect(await refusal(quantised)).toMatchObject({ code: 'bad-option', exit: 2 });
    writeFileSync(at('diary.txt'), 'dear diary');
    expect(await refusal(modelArgs(at('diary.txt'), '--force'))).toMatchObject({ code: 'output-exists' });
    expect(readFileSync(at('diary.txt'), 'utf8')).toBe('dear diary');
    expect(existsSync(at('x.gguf'))).toBe(false);
  });

  it('names what llama.cpp cannot run', async () => {
    const model = copyOf(LLAMA, at('other-split'));
    editJson<{ pre_tokenizer: unknown }>(join(model, 'tokenizer.json'), (json) => {
      json.pre_tokenizer = { type: 'Whitespace' };
    });
    const error = await refusal(['export', '--gguf', at('x.gguf'), '--model', model]);
    expect(error).toMatchObject({ code: 'tokenizer-unsupported', exit: 3 });
    expect(error.message).toContain('Whitespace');
    const other = ['export', '--gguf', at('x.gguf'), '--model', LLAMA, '--adapter', fixture('lora', 'qwen3')];
    expect(await refusal(other)).toMatchObject({ code: 'adapter-mismatch', exit: 3 });
    expect(existsSync(at('x.gguf'))).toBe(false);
  });
});
