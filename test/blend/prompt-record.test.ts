/** Prompt forms of adapters, in every file that an adapter may be: nothing trained in one form is given prompts in another unsaid. */

import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseNameOf, recordedPrompt } from '../../src/blend/adapter-record.js';
import { blendPool } from '../../src/blend/blend-pool.js';
import { adapterForm } from '../../src/blend/prompt-record.js';
import { hearingWarnings } from '../../src/core/warning.js';
import { exportAdapterGguf } from '../../src/gguf/adapter.js';
import { openBase } from '../../src/gguf/base.js';
import { templateDigest } from '../../src/hf/prompt-form.js';
import { errorOf, temporaryRoot } from '../helpers/files.js';
import { ROOT } from '../helpers/fixtures.js';

const EDGE = join(ROOT, 'models', 'crayon-edge');
const TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant]";
const dir = temporaryRoot();
const blend = join(dir, 'plain');

beforeAll(async () => {
  const pool = join(ROOT, 'models', 'crayon-edge-pool');
  await blendPool({ pool, estimator: 'uniform', combine: 'cat', long: 'error', out: blend });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** As `crayon export --adapter` does. */
function exported(adapter: string, model = EDGE): string {
  const out = join(dir, 'lora.gguf');
  const base = openBase(model);
  try {
    const prompt = recordedPrompt(adapter, base);
    exportAdapterGguf({ adapter, base: model, out, force: true, prompt, madeOn: baseNameOf(adapter) });
  } finally {
    base.close();
  }
  return out;
}

/** The form behind a model with this template, and what is said of it. */
function formOf(adapter: string, template: string | null, wanted = {}) {
  const warnings: string[] = [];
  const { form } = hearingWarnings(
    (text) => warnings.push(text),
    () => adapterForm(adapter, 'the model', template, wanted),
  );
  return { kind: form.kind, warnings };
}

describe('an adapter that was trained on plain text', () => {
  it.each([
    ['as blended', () => blend],
    ['as a GGUF LoRA', () => exported(blend)],
  ])('%s stays plain behind a chat template', (_, adapter) => {
    expect(formOf(adapter(), TEMPLATE)).toEqual({ kind: 'plain', warnings: [] });
    const error = errorOf(() => formOf(adapter(), TEMPLATE, { promptForm: 'chat' }));
    expect(error).toMatchObject({ code: 'adapter-mismatch' });
  });
});

describe('an adapter that was trained through a chat template', () => {
  const record = { format: 'crayon-adapter', prompt: { form: 'chat', templateSha256: templateDigest(TEMPLATE) } };
  const chat = (withTemplate: boolean): string => {
    const adapter = join(dir, `chat-${withTemplate}`);
    cpSync(blend, adapter, { recursive: true });
    writeFileSync(join(adapter, 'crayon.json'), JSON.stringify(record));
    if (withTemplate) writeFileSync(join(adapter, 'chat_template.jinja'), TEMPLATE);
    return adapter;
  };

  it('brings it along, as a GGUF LoRA too', () => {
    for (const adapter of [chat(true), exported(chat(true))]) {
      expect(formOf(adapter, null)).toEqual({ kind: 'chat', warnings: [] });
      expect(errorOf(() => formOf(adapter, null, { promptForm: 'plain' }))).toMatchObject({ code: 'adapter-mismatch' });
    }
  });

  it('and has lost it, is exported with the base model’s where that is the same, and else refused', () => {
    expect(errorOf(() => exported(chat(false)))).toMatchObject({ code: 'adapter-mismatch' });
    const model = join(dir, 'templated');
    cpSync(EDGE, model, { recursive: true });
    writeFileSync(join(model, 'chat_template.jinja'), TEMPLATE);
    expect(formOf(exported(chat(false), model), null).kind).toBe('chat');
  });
});

describe('an adapter that says nothing of its prompts', () => {
  it('is warned of where the model has a template and nobody says how', () => {
    const adapter = join(dir, 'foreign');
    cpSync(blend, adapter, { recursive: true });
    rmSync(join(adapter, 'crayon.json'));
    for (const one of [adapter, exported(adapter)]) {
      const { kind, warnings } = formOf(one, TEMPLATE);
      expect([kind, warnings.length]).toEqual(['chat', 1]);
      expect(warnings[0]).toMatch(/does not say in which form its prompts were.*give prompt form plain/);
      expect(formOf(one, TEMPLATE, { promptForm: 'plain' })).toEqual({ kind: 'plain', warnings: [] });
      expect(formOf(one, null)).toEqual({ kind: 'plain', warnings: [] });
    }
  });
});
