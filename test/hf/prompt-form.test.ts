import { describe, expect, it } from 'vitest';
import {
  choosePromptForm,
  formText,
  isSameForm,
  PLAIN,
  PROMPT_RECORD,
  promptRecord,
  recordedForm,
  refuseOtherForm,
  templateDigest,
  withSystem,
} from '../../src/hf/prompt-form.js';
import { errorOf } from '../helpers/files.js';

const SOURCE = '{{ messages[0].content }}';
const templated = { chatTemplate: SOURCE };
const bare = { chatTemplate: null };
const names = { what: 'pool', model: 'model', code: 'pool-mismatch' } as const;
const chat = { kind: 'chat', templateSha256: templateDigest(SOURCE), system: undefined } as const;

describe('choosePromptForm', () => {
  it('is chat where there is a template, and plain where there is none or where it is asked for', () => {
    expect(choosePromptForm(templated, {}, 'm')).toEqual(chat);
    expect(choosePromptForm(bare, {}, 'm')).toBe(PLAIN);
    expect(choosePromptForm(templated, { promptForm: 'plain' }, 'm')).toBe(PLAIN);
    expect(choosePromptForm(templated, { system: 'be kind' }, 'm')).toEqual({ ...chat, system: 'be kind' });
  });

  it.each([
    [bare, { promptForm: 'chat' }, /has no chat template/],
    [bare, { system: 'be kind' }, /plain text/],
    [templated, { promptForm: 'plain', system: 'be kind' }, /plain text/],
    [templated, { system: ' ' }, /is empty/],
  ] as const)('refuses %j with %j', (tokenizer, wanted, message) => {
    const error = errorOf(() => choosePromptForm(tokenizer, wanted, 'm'));
    expect(error.code).toBe('bad-option');
    expect(error.message).toMatch(message);
  });
});

describe('a recorded form', () => {
  it('comes back from its record, and plain has none', () => {
    const form = { ...chat, system: 'be kind' };
    const json = JSON.parse(JSON.stringify(promptRecord(form)));
    expect(recordedForm(PROMPT_RECORD.parse(json), templated, names)).toEqual(form);
    expect(promptRecord(PLAIN)).toBeUndefined();
    expect(recordedForm(undefined, templated, names)).toBe(PLAIN);
    expect(recordedForm({ form: 'plain' }, bare, names)).toBe(PLAIN);
    expect(PROMPT_RECORD.safeParse({ form: 'chat' }).success).toBe(false);
  });

  it('is not that of a model with another template, or with none', () => {
    const record = promptRecord(chat);
    for (const chatTemplate of [null, `${SOURCE} `, '']) {
      const error = errorOf(() => recordedForm(record, { chatTemplate }, names));
      expect(error.code).toBe('pool-mismatch');
      expect(error.hint).toMatch(/template of the training.*build the pool again/);
    }
    // Jinja drops one line break at the end of a source, and editors add it.
    expect(recordedForm(record, { chatTemplate: `${SOURCE}\n` }, names)).toEqual(chat);
  });

  it('is refused where another is asked for, with both ways out', () => {
    const refused = (form: typeof chat | typeof PLAIN, wanted: object) =>
      errorOf(() => refuseOtherForm(form, wanted, 'pool', 'pool-mismatch'));
    for (const error of [refused(chat, { promptForm: 'plain' }), refused(PLAIN, { promptForm: 'chat' })]) {
      expect(error.code).toBe('pool-mismatch');
      expect(error.hint).toMatch(/Leave the prompt form out.*build the pool again/);
    }
    expect(refused(chat, { system: 'be kind' }).message).toContain('be kind');
    for (const wanted of [{}, { promptForm: 'chat' }] as const) refuseOtherForm(chat, wanted, 'pool', 'pool-mismatch');
  });
});

it('compares forms by template and system prompt', () => {
  const other = { ...chat, system: 'be kind' };
  expect(isSameForm(chat, { ...chat })).toBe(true);
  expect(isSameForm(PLAIN, { kind: 'plain' })).toBe(true);
  for (const form of [PLAIN, other, { ...chat, templateSha256: templateDigest('x') }]) {
    expect(isSameForm(chat, form)).toBe(false);
  }
  expect(formText(other)).toMatch(/^chat \(template [0-9a-f]{12}, system prompt "be kind"\)$/);
});

it('puts a system message first where there is none', () => {
  const user = { role: 'user', content: 'a' };
  const system = { role: 'system', content: 'b' };
  expect(withSystem([user], 'b')).toEqual([system, user]);
  expect(withSystem([user], undefined)).toEqual([user]);
  expect(withSystem([system, user], 'c')).toEqual([system, user]);
});
