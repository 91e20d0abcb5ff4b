/** Calls of functions as text: how they are offered, what a grammar of them admits, and how they are cut out of an answer. */

import { readFileSync } from 'node:fs';
import type { Llama } from 'node-llama-cpp';
import { beforeAll, describe, expect, it } from 'vitest';
import { answerGrammar } from '../../../../src/engine/llama/grammar/answer.js';
import { callForm, HERMES } from '../../../../src/engine/llama/grammar/call-forms.js';
import { explained, ToolCallReader } from '../../../../src/engine/llama/grammar/tool-calls.js';
import type { Prompt, ResponseFormat, ToolCallPiece, Tools } from '../../../../src/engine/types.js';
import { fixture } from '../../../helpers/fixtures.js';
import { endLlamaCpp, llamaCpp } from '../../../helpers/llama-cpp.js';

const template = (name: string): string => readFileSync(fixture('chat-templates', `${name}.jinja`), 'utf8');

const LLAMA3 = callForm(template('llama3_2'))!;
// As mistral-common writes a v3 conversation; the templates on Hugging Face are of this form.
const MISTRAL = callForm('[AVAILABLE_TOOLS]{{ tools }}[/AVAILABLE_TOOLS][TOOL_CALLS] [{{ calls }}]')!;

endLlamaCpp();
let llama: Llama;
beforeAll(async () => {
  llama = await llamaCpp();
});

const LIST: Tools['list'] = [
  {
    type: 'function',
    function: { name: 'add', parameters: { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] } },
  },
  { type: 'function', function: { name: 'now' } },
];
const chat = (tools: Omit<Tools, 'list'> = {}) =>
  ({ kind: 'chat', messages: [{ role: 'user', content: 'hi' }], tools: { list: LIST, ...tools } }) as const;

function admits(
  prompt: Prompt,
  texts: readonly string[],
  format: ResponseFormat | null = null,
  form = HERMES,
): boolean[] {
  const { AddonGrammar } = (
    llama as unknown as {
      _bindings: { AddonGrammar: new (text: string) => { isTextCompatible(text: string): boolean } };
    }
  )._bindings;
  const grammar = new AddonGrammar(answerGrammar(format, prompt, form)!);
  return texts.map((text) => grammar.isTextCompatible(text));
}

const call = (name: string, given: string) => `<tool_call>\n{"name": "${name}", "arguments": ${given}}\n</tool_call>`;
const ADD = call('add', '{"a": 1}');
const NOW = call('now', '{}');

describe('the grammar of calls', () => {
  it('admits any text and then calls, each by its function’s schema', () => {
    const good = ['', 'hi <tool', '<<tool_call', 'a < b', ADD, `Let me see. ${ADD}\n${NOW}`, `<${NOW}`];
    expect(admits(chat(), good)).toEqual(good.map(() => true));
    const bad = [
      '<tool_call>',
      call('add', '{"a": "x"}'),
      call('add', '{}'),
      call('sub', '{}'),
      `${ADD} more`,
      call('now', '{"a": 1}'),
    ];
    expect(admits(chat(), bad)).toEqual(bad.map(() => false));
  });

  it('keeps tool_choice, parallel_tool_calls and a format of the text', () => {
    expect(admits(chat({ choice: 'required' }), ['hi', `hi ${ADD}`, ADD, `${NOW}\n${ADD}`])).toEqual([
      false,
      false,
      true,
      true,
    ]);
    expect(admits(chat({ choice: { name: 'now' } }), [ADD, NOW])).toEqual([false, true]);
    expect(admits(chat({ choice: 'auto', parallel: false }), [ADD, `${NOW}\n${ADD}`])).toEqual([true, false]);
    expect(admits(chat(), ['{"x": 1}', 'hi', ADD], { type: 'json_object' })).toEqual([true, false, true]);
    expect(answerGrammar(null, chat({ choice: 'none' }))).toBeNull();
  });

  it('refuses arguments that no grammar is made of, by name', () => {
    const parameters = { type: 'object', properties: { a: { type: 'string', pattern: 'x' } } };
    const prompt = {
      ...chat(),
      tools: { list: [LIST[0]!, { type: 'function', function: { name: 'f', parameters } }] },
    } as const;
    expect(() => answerGrammar(null, prompt)).toThrow(
      expect.objectContaining({
        code: 'tools-unsupported',
        message: expect.stringContaining('tools[1].function.parameters.properties.a.pattern'),
      }),
    );
  });
});

describe('an answer that calls', () => {
  const read = (pieces: readonly string[]) => {
    let count = 0;
    const reader = new ToolCallReader(() => `id${count++}`);
    const calls: ToolCallPiece[] = [];
    let text = '';
    for (const piece of pieces) {
      const found = reader.push(piece);
      text += found.text;
      calls.push(...found.calls);
    }
    text += reader.end();
    const whole = new Map<number, string>();
    for (const { index, id = '', name = '', arguments: given } of calls)
      whole.set(index, `${whole.get(index) ?? ''}${id && `${id} ${name} `}${given}`);
    return { text, calls: [...whole.values()] };
  };
  const given = '{"a": {"b": "}]\\"<"}, "c": [1, 2]}';
  const CUT = call('add', given).slice(0, 50);
  it.each([
    ['So: ', `So: ${call('add', given)}\n${NOW}`, [`id0 add ${given}`, 'id1 now {}']],
    ['', `\n ${NOW}`, ['id0 now {}']],
    ['a <tool_cal', 'a <tool_cal', []],
    ['', CUT, [`id0 add ${CUT.slice(CUT.indexOf('"arguments": ') + 13)}`]],
  ])('is cut the same wherever its pieces end: %j', (text, answer, calls) => {
    for (let size = 1; size <= answer.length; size += size < 8 ? 1 : 13) {
      const pieces = answer.match(new RegExp(`[^]{1,${size}}`, 'g'))!;
      expect(read(pieces)).toEqual({ text, calls });
    }
  });
});

describe('a template that knows no functions', () => {
  it('is told of them, of calls and of results in texts', () => {
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'hi' },
      {
        role: 'assistant',
        content: '',
        toolCalls: [{ id: 'x', type: 'function' as const, function: { name: 'add', arguments: '{"a": 1}' } }],
      },
      { role: 'tool', content: '3', toolCallId: 'x' },
    ];
    const told = explained({ ...chat(), messages });
    expect(told.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'user']);
    expect(told[0]!.content).toMatch(/^Be brief\.\n\nYou may call functions/);
    expect(told[0]!.content).toContain(JSON.stringify(LIST[0]));
    expect(told.slice(2).map(({ content }) => content)).toEqual([ADD, '<tool_response>\n3\n</tool_response>']);
    expect(explained(chat())).toMatchObject([{ role: 'system' }, { role: 'user', content: 'hi' }]);
    expect(explained({ kind: 'chat', messages: messages.slice(0, 2) })).toEqual(messages.slice(0, 2));
  });

  it('is one that writes none of the known forms', () => {
    const templates = [
      null,
      '{{ tools }}',
      '{{ tools }}<tool_call>',
      '{{ tools }}<tool_call><function=f>',
      '<tool_call>',
    ];
    expect(templates.map(callForm)).toEqual([null, null, HERMES, null, null]);
    expect([LLAMA3, MISTRAL].every((form) => form !== null && form !== HERMES) && LLAMA3 !== MISTRAL).toBe(true);
    expect(callForm('{{ tools }}[TOOL_CALLS]f[ARGS]')).toBeNull();
    const known = ['llama3_2', 'qwen2_5', 'qwen3'].map((name) => callForm(template(name)));
    expect(known).toEqual([LLAMA3, HERMES, HERMES]);
    for (const name of ['llama3', 'llama2', 'mistral_v1', 'gemma3', 'smollm2'])
      expect(callForm(template(name))).toBeNull();
  });
});

describe('a form of its own', () => {
  const llama3 = (name: string, given: string) => `{"name": "${name}", "parameters": ${given}}`;
  const mistral = (...calls: string[]) => `[TOOL_CALLS] [${calls.join(', ')}]`;
  const one = (name: string, given: string, id = '') => `{"name": "${name}", "arguments": ${given}${id}}`;

  it('of Llama 3 is one call, by its function’s schema, after any text or none', () => {
    const good = ['', 'hi {"name"', '{{"name', llama3('add', '{"a": 1}'), `Well: ${llama3('now', '{}')}`];
    const now = llama3('now', '{}');
    const bad = ['{"name": ', llama3('add', '{}'), llama3('sub', '{}'), `${now}${now}`, `${now} more`];
    expect(admits(chat(), [...good, ...bad], null, LLAMA3)).toEqual([...good.map(() => true), ...bad.map(() => false)]);
    expect(admits(chat({ choice: 'required' }), ['hi', now], null, LLAMA3)).toEqual([false, true]);
  });

  it('of Mistral is a list of calls', () => {
    const [add, now] = [one('add', '{"a": 1}'), one('now', '{}', ', "id": "a1B2c3D4e"')];
    const good = ['', 'hi [TOOL', '[[TOOL_CALLS', mistral(add), mistral(now, add, add), `[TOOL_CALLS][${now}]`];
    const bad = [
      '[TOOL_CALLS]',
      mistral(),
      mistral(one('sub', '{}')),
      `${mistral(add)} more`,
      mistral(one('now', '{}', ', "id": "a"')),
    ];
    expect(admits(chat(), [...good, ...bad], null, MISTRAL)).toEqual([
      ...good.map(() => true),
      ...bad.map(() => false),
    ]);
    const single = chat({ choice: 'required', parallel: false });
    expect(admits(single, ['hi', mistral(add), mistral(add, now)], null, MISTRAL)).toEqual([false, true, false]);
  });

  it.each([
    ['Llama 3', LLAMA3, `Well. ${llama3('add', '{"a": "}\\""}')}`, 1],
    ['Mistral', MISTRAL, `Well. ${mistral(one('add', '{"a": "}\\""}', ', "id": "abcdefghi"'), one('now', '{}'))}`, 2],
  ] as const)('is read in pieces as it is in one: %s', (_, form, text, count) => {
    const read = (pieces: Iterable<string>) => {
      const reader = new ToolCallReader(() => 'id', form);
      const all = [...pieces].map((piece) => reader.push(piece));
      const calls: Array<{ name: string; given: string }> = [];
      for (const { index, name, arguments: given } of all.flatMap((piece) => piece.calls)) {
        calls[index] ??= { name: name!, given: '' };
        calls[index].given += given;
      }
      return { text: (all.map((piece) => piece.text).join('') + reader.end()).trim(), calls };
    };
    const calls = [
      { name: 'add', given: '{"a": "}\\""}' },
      { name: 'now', given: '{}' },
    ].slice(0, count);
    expect(read([text])).toEqual({ text: 'Well.', calls });
    expect(read(text)).toEqual({ text: 'Well.', calls });
  });

  it('is told of past calls as its template takes them', () => {
    const toolCalls = ['call_abc-12345XYZ', 'x'].map((id) => ({
      id,
      type: 'function' as const,
      function: { name: 'now', arguments: '{}' },
    }));
    const messages = [
      { role: 'assistant' as const, content: 'Well.', toolCalls },
      { role: 'tool' as const, content: '5', toolCallId: 'call_abc-12345XYZ' },
    ];
    expect(MISTRAL.told(messages)).toMatchObject([
      { toolCalls: [{ id: 'c12345XYZ' }, { id: '00000000x' }] },
      { toolCallId: 'c12345XYZ' },
    ]);
    expect(LLAMA3.told(messages)).toEqual([
      { ...messages[0], toolCalls: [toolCalls[0]] },
      { ...messages[0], content: '', toolCalls: [toolCalls[1]] },
      messages[1],
    ]);
  });
});
