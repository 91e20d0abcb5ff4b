/** Conversations under the templates of real models: byte for byte what transformers' apply_chat_template makes of them. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ChatMessage } from '../../src/core/chat.js';
import { chatRenderer } from '../../src/hf/chat-template.js';
import { errorOf } from '../helpers/files.js';
import { fixture, fixtureJson } from '../helpers/fixtures.js';

interface Golden {
  now: string;
  special: Record<string, string>;
  conversations: Record<string, ChatMessage[]>;
  templates: Record<
    string,
    Array<{ conversation: string; addGenerationPrompt: boolean; text?: string; error?: string }>
  >;
}

interface GoldenTools {
  tools: object[];
  conversations: Record<string, Array<{ role: string; content: string; tool_calls?: Call[]; tool_call_id?: string }>>;
  templates: Record<string, Record<string, string>>;
}
type Call = { id: string; type: 'function'; function: { name: string; arguments: object } };

const { now, special, conversations, templates } = fixtureJson<Golden>('chat-templates', 'golden.json');

describe.each(Object.keys(templates))('%s', (name) => {
  const source = readFileSync(fixture('chat-templates', `${name}.jinja`), 'utf8');
  const render = chatRenderer(
    source,
    (token) => special[token] ?? null,
    'model',
    () => new Date(now),
  );

  it.each(Object.keys(conversations))('%s', (conversation) => {
    const cases = templates[name]!.filter((one) => one.conversation === conversation);
    expect(cases.map((one) => one.addGenerationPrompt)).toEqual([true, false]);
    for (const { addGenerationPrompt, text, error } of cases) {
      const rendered = () => render(conversations[conversation]!, { addGenerationPrompt });
      if (error === undefined) expect(rendered()).toBe(text);
      else
        expect(errorOf(rendered)).toMatchObject({ code: 'example-invalid', message: expect.stringContaining(error) });
    }
  });
});

describe('functions that are offered', () => {
  const { tools, conversations, templates } = fixtureJson<GoldenTools>('chat-templates', 'tools.json');
  it.each(Object.keys(templates))('%s', (name) => {
    const source = readFileSync(fixture('chat-templates', `${name}.jinja`), 'utf8');
    const render = chatRenderer(source, (token) => special[token] ?? null, 'model');
    for (const [conversation, list] of Object.entries(conversations)) {
      const messages = list.map(({ tool_calls: calls, tool_call_id: toolCallId, ...message }) => ({
        ...message,
        ...(toolCallId !== undefined && { toolCallId }),
        ...(calls !== undefined && {
          toolCalls: calls.map((one) => ({
            ...one,
            function: { ...one.function, arguments: JSON.stringify(one.function.arguments) },
          })),
        }),
      }));
      expect(render(messages, { tools }), conversation).toBe(templates[name]![conversation]);
    }
  });
});
