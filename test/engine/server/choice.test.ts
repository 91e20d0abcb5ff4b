/** What a choice says, in all the shapes that servers give it. */

import { describe, expect, it } from 'vitest';
import { CrayonError } from '../../../src/core/errors.js';
import { finishOf, finishReasonOf, saidBy } from '../../../src/engine/server/choice.js';
import type { JsonObject } from '../../../src/files/json.js';
import { errorOf } from '../../helpers/files.js';

const invalid = (what: string) => new CrayonError('server-invalid', what);
const said = (choice: JsonObject) => saidBy(choice, invalid);

describe('why an answer ended', () => {
  it.each<[unknown, string | null]>([
    ...['stop', 'STOP', 'eos', 'eos_token', 'end_turn', 'stop_sequence', 'COMPLETE', ' Stop '].map(
      (w): [string, string] => [w, 'stop'],
    ),
    ...['length', 'max_tokens', 'MAX_TOKENS', 'model_length', 'model_context_window_exceeded'].map(
      (w): [string, string] => [w, 'length'],
    ),
    ...['content_filter', 'SAFETY', 'RECITATION', 'refusal', 'guardrail_intervened'].map((w): [string, string] => [
      w,
      'content_filter',
    ]),
  ])('%j is %s', (word, meant) => {
    expect(finishReasonOf(finishOf(word)!)).toBe(meant);
  });

  it.each<[unknown, string]>([
    ['abort', 'abort'],
    ['error', 'error'],
    ['insufficient_system_resource', 'error'],
    ['network_error', 'error'],
    ['tool_calls', 'tool_calls'],
    ['function_call', 'tool_calls'],
    ...[
      5,
      0,
      true,
      {},
      [],
      ['stop'],
      { type: 'stop' },
      'stopped?',
      'constructor',
      '__proto__',
      'load',
      'FINISH_REASON_UNSPECIFIED',
    ].map((word): [unknown, string] => [word, 'other']),
  ])('%j is no success, counted as %s', (word, finish) => {
    expect(finishOf(word)).toBe(finish);
    expect(finishReasonOf(finishOf(word)!)).toBeNull();
  });

  it.each([null, undefined, '', 'null'])('%j says nothing yet', (word) => expect(finishOf(word)).toBeNull());
});

describe('what a choice says', () => {
  const text = (value: unknown) => ({ type: 'text', text: value });
  const thinking = { type: 'thinking', thinking: [text('hm')] };
  it.each<[JsonObject, string]>([
    [{ delta: { content: 'a' } }, 'a'],
    [{ message: { role: 'assistant', content: 'a' } }, 'a'],
    [{ delta: { content: 'a' }, message: { content: 'all so far' } }, 'a'],
    [{ delta: { content: [text('Forty'), text('-two')] } }, 'Forty-two'],
    [{ delta: { content: [thinking] } }, ''],
    [{ message: { content: [thinking, text('a'), 'b', { type: 'output_text', text: 'c' }, { text: 'd' }] } }, 'abcd'],
    [{ message: { content: text('a') } }, 'a'],
    [{ message: { content: [text(null)] } }, ''],
    [{ delta: { content: null, refusal: 'I cannot' } }, 'I cannot'],
    [{ message: { content: [{ type: 'refusal', refusal: 'I cannot' }] } }, 'I cannot'],
    [{ delta: { content: '', reasoning_content: 'hm' } }, ''],
    [{ delta: { content: null, tool_calls: [], function_call: null } }, ''],
    [{ delta: { content: 'a', function_call: { name: '', arguments: '' } } }, 'a'],
    [{ delta: 'a' }, 'a'],
    [{ message: 'a' }, 'a'],
    [{ text: 'a' }, 'a'],
    [{ text: [text('a')] }, 'a'],
    [{ delta: {}, text: 'a' }, 'a'],
    [{ delta: null, text: 'a' }, 'a'],
    [{ delta: {} }, ''],
    [{}, ''],
  ])('%j is %j', (choice, expected) => expect(said(choice).text).toBe(expected));

  it.each<[string, JsonObject]>([
    ['image_url', { message: { content: [text('see '), { type: 'image_url', image_url: { url: 'data:' } }] } }],
    ['reference', { delta: { content: [{ type: 'reference', reference_ids: [1] }] } }],
    ['output_audio', { delta: { content: [{ type: 'output_audio', audio: '' }] } }],
    ['type "text"', { delta: { content: [{ type: 'text', text: { value: 'a' } }] } }],
    ['a number', { delta: { content: 5 } }],
    ['a object', { delta: { content: [null] } }],
    ['a number', { delta: 7 }],
    ['a boolean', { text: true }],
    ['tool call', { delta: { tool_calls: [{ index: 0, function: { name: 'f' } }] } }],
    ['tool call', { message: { content: null, function_call: { name: 'f', arguments: '{}' } } }],
  ])('that holds a %s is refused', (word, choice) => {
    const error = errorOf(() => said(choice));
    expect(error.code).toBe('server-invalid');
    expect(error.message).toContain(word);
  });

  it.each<[JsonObject, boolean]>([
    [{ delta: { reasoning_content: 'hm' } }, true],
    [{ delta: { reasoning: 'hm' } }, true],
    [{ delta: { content: [thinking] } }, true],
    [{ delta: { reasoning_content: '', reasoning: null, content: 'a' } }, false],
  ])('%j holds thoughts: %s', (choice, has) => expect(said(choice).hasThought).toBe(has));
});
