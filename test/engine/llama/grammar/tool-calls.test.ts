/** Calls of functions as text: how they are offered, what a grammar of them admits, and how they are cut out of an answer. */

import type { Llama } from 'node-llama-cpp';
import { beforeAll, describe, expect, it } from 'vitest';
import { answerGrammar } from '../../../../src/engine/llama/grammar/answer.js';
import { explained, knowsCalls, ToolCallReader } from '../../../../src/engine/llama/grammar/tool-calls.js';
import type { Prompt, ResponseFormat, ToolCallPiece, Tools } from '../../../../src/engine/types.js';
import { endLlamaCpp, llamaCpp } from '../../../helpers/llama-cpp.js';

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

function admits(prompt: Prompt, texts: readonly string[], format: ResponseFormat | null = null): boolean[] {
  const { AddonGrammar } = (
    llama as unknown as {
      _bindings: { AddonGrammar: new (text: string) => { isTextCompatible(text: string): boolean } };
    }
  )._bindings;
  const grammar = new AddonGrammar(answerGrammar(format, prompt)!);
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

  it('is one that does not write this form', () => {
    expect(
      [null, '{{ tools }}', '{{ tools }}<tool_call>', '{{ tools }}<tool_call><function=f>', '<tool_call>'].map(
        knowsCalls,
      ),
    ).toEqual([false, false, true, false, false]);
  });
});
