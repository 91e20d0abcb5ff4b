import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type DatasetOptions, loadDataset } from '../../src/data/dataset.js';
import { recordExamples, recordPrompt } from '../../src/data/record.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

const say = (role: string, content: unknown) => ({ role, content });
const from = (from: string, value: unknown) => ({ from, value });
const [system, user, answer] = [say('system', 'Be brief.'), say('user', 'Hi '), say('assistant', ' Hello.')];
const ANSWERED = { prompt: 'Be brief.\nHi', completion: ' Hello.', messages: [system, user] };
const UNASKED = { prompt: 'Hi', completion: ' Hello.', messages: [user] };

describe('a record that is a conversation', () => {
  it.each<[string, Record<string, unknown>, object]>([
    ['messages', { messages: [system, user, answer] }, ANSWERED],
    ['messages of a developer', { messages: [say('developer', 'Be brief.'), user, answer] }, ANSWERED],
    [
      'contents in parts',
      {
        messages: [
          say('user', [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' },
          ]),
          answer,
        ],
      },
      { prompt: 'a\nb', completion: ' Hello.', messages: [say('user', 'a\nb')] },
    ],
    [
      'an answer sent back by a server',
      { messages: [user, { ...answer, tool_calls: [], refusal: null, annotations: [], weight: 1 }], tools: [] },
      UNASKED,
    ],
    [
      "ShareGPT's conversations",
      { conversations: [from('system', 'Be brief.'), from('human', 'Hi '), from('gpt', ' Hello.')], id: 'x' },
      ANSWERED,
    ],
    ['a bot', { conversations: [from('user', 'Hi '), from('bot', ' Hello.')] }, UNASKED],
    ['roles under the other name', { conversations: [user, answer] }, UNASKED],
    ['a system field', { conversations: [user, answer], system: 'Be brief.' }, ANSWERED],
    ['the same system message twice', { messages: [system, user, answer], system: 'Be brief.' }, ANSWERED],
    ["Alpaca's instruction", { instruction: 'Hi ', input: '', output: ' Hello.' }, UNASKED],
    [
      "Alpaca's input and system",
      { instruction: 'Add.', input: '1 2', output: '3', system: 'Be brief.', text: 'Below is ...' },
      {
        prompt: 'Be brief.\nAdd.\n\n1 2',
        completion: '3',
        messages: [system, say('user', 'Add.\n\n1 2')],
      },
    ],
    ["TRL's prompt and completion", { prompt: [system, user], completion: [answer] }, ANSWERED],
    ['empty columns of other shapes', { messages: [user, answer], prompt: null, instruction: null }, UNASKED],
    [
      'choices',
      { messages: [user], choices: ['Yes', 'No'], answer: 1 },
      { prompt: 'Hi', completion: 'No', choices: ['Yes', 'No'], answer: 1, messages: [user] },
    ],
    [
      'choices under its answer',
      { messages: [user, say('assistant', 'No')], choices: ['Yes', 'No'], answer: 'No' },
      { prompt: 'Hi', completion: 'No', choices: ['Yes', 'No'], answer: 1, messages: [user] },
    ],
  ])('may have %s', (_name, record, expected) => {
    expect(recordExamples(record)).toEqual([expected]);
  });

  it('is an example for each of its answers where all are wanted', () => {
    const more = [user, answer, say('user', 'Bye'), say('assistant', 'Bye.')];
    const [first, last, ...others] = recordExamples({ messages: more }, 'all');
    expect(others).toEqual([]);
    expect(first).toEqual(UNASKED);
    expect(last).toEqual({ prompt: 'Hi \n Hello.\nBye', completion: 'Bye.', messages: more.slice(0, 3) });
    expect(recordExamples({ messages: more })).toEqual([last]);
    // TRL's prompt is given: its answers are not learnt.
    expect(recordExamples({ prompt: more.slice(0, 3), completion: more.slice(3) }, 'all')).toEqual([last]);
  });

  it('gives its prompt with an answer or without', () => {
    const prompt = { prompt: 'Be brief.\nHi', messages: [system, user] };
    expect(recordPrompt({ messages: [system, user] })).toEqual(prompt);
    expect(recordPrompt({ messages: [system, user, answer] })).toEqual(prompt);
    expect(recordPrompt({ instruction: 'Hi ', system: 'Be brief.' })).toEqual(prompt);
    expect(recordPrompt({ prompt: 'Hi ', completion: ' x', note: 1 })).toEqual({ prompt: 'Hi ' });
  });
});

function load(records: readonly unknown[], options?: DatasetOptions) {
  const path = join(temporaryDir(), 'set.jsonl');
  writeFileSync(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
  return loadDataset(path, options).examples;
}

describe('a file of conversations', () => {
  it('names earlier answers by their number', () => {
    const records = [{ prompt: 'p', completion: 'c' }, { messages: [user, answer, user, answer, user, answer] }];
    const ids = (options: DatasetOptions) => load(records, options).map(({ id }) => id);
    expect(ids({ turns: 'all' })).toEqual(['set:0', 'set:1.0', 'set:1.1', 'set:1']);
    expect(ids({ turns: 'last' })).toEqual(['set:0', 'set:1']);
    expect(ids({})).toEqual(['set:0', 'set:1']);
  });

  it.each<[string, unknown, RegExp]>([
    [
      'of no known shape',
      { question: 'q', answers: [] },
      /found question, answers; expected prompt and completion, .*messages/,
    ],
    [
      'of many unknown fields',
      Object.fromEntries([...'abcdefghij'].map((x) => [x, 1])),
      /found a, b, .*, h, and 2 more;/,
    ],
    [
      "of Dolly's shape",
      { instruction: 'i', context: '', response: 'r' },
      /output is missing: found instruction, context/,
    ],
    ['with messages and a prompt', { messages: [user, answer], prompt: 'p' }, /both messages and prompt/],
    ['with two lists', { messages: [user, answer], conversations: [] }, /both messages and conversations/],
    [
      'with a prompt beside an instruction',
      { prompt: 'p', instruction: 'i', output: 'o' },
      /both instruction and prompt/,
    ],
    ['with messages and a completion', { messages: [user, answer], completion: 'c' }, /conversation and a completion/],
    ['without messages', { messages: [] }, /messages is an empty list/],
    ['with text for messages', { messages: 'Hi' }, /messages is a string, expected a list/],
    ['with text for a message', { messages: ['Hi'] }, /messages\[0\] is a string/],
    [
      'of a tool',
      { messages: [user, say('tool', 'x'), answer] },
      /messages\[1\]\.role is "tool", expected system, .*user/,
    ],
    [
      'of a function',
      { conversations: [from('human', 'a'), from('function_call', 'b')] },
      /\[1\]\.from is "function_call"/,
    ],
    ['without a role', { messages: [{ content: 'a' }, answer] }, /messages\[0\]\.role is missing/],
    ['in another style', { messages: [{ speaker: 'a', text: 'b' }] }, /neither role and content.*speaker, text/],
    [
      'in two styles',
      { messages: [{ role: 'user', content: 'a', from: 'human', value: 'b' }] },
      /beside from and value/,
    ],
    ['with a call', { messages: [user, { ...answer, tool_calls: [{}] }] }, /messages\[1\] has tool_calls/],
    ['with reasoning', { messages: [user, { ...answer, reasoning_content: 'x' }] }, /has reasoning_content/],
    ['with an answer not to be learnt', { messages: [user, { ...answer, weight: 0 }] }, /has weight 0/],
    ['with tools', { messages: [user, answer], tools: [{}] }, /has tools/],
    [
      'with an image',
      { messages: [say('user', [{ type: 'image_url' }]), answer] },
      /content\[0\]\.type is "image_url"/,
    ],
    ['with an empty content', { messages: [say('user', ' '), answer] }, /messages\[0\]\.content is empty/],
    ['with a null answer', { messages: [user, say('assistant', null)] }, /messages\[1\]\.content is null/],
    [
      'that ends with the user',
      { messages: [user, answer, user] },
      /ends with the user's turn, expected the assistant's/,
    ],
    ['that begins with the answer', { messages: [answer, user, answer] }, /begins with the assistant's turn/],
    ['of a system message', { messages: [system] }, /only a system message/],
    ['with another system field', { messages: [system, user, answer], system: 'x' }, /another system message/],
    ['with an empty instruction', { instruction: '', output: 'o' }, /instruction is empty/],
    ['with an empty output', { instruction: 'i', output: '' }, /output is empty/],
    ['with a text after messages', { prompt: [user], completion: 'c' }, /completion is a string, expected a list/],
    ['with messages after a text', { prompt: 'p', completion: [answer] }, /completion is a list, expected text/],
    [
      'whose prompt ends with an answer',
      { prompt: [user, answer], completion: [answer] },
      /prompt ends with the assistant's/,
    ],
    ['without completion', { prompt: [user] }, /completion is missing/],
    ['with choices after an answer', { messages: [user, answer], choices: ['a', 'b'], answer: 0 }, /is not choice 0/],
    [
      'with choices after a system message',
      { messages: [user, system], choices: ['a', 'b'], answer: 0 },
      /stands the system's/,
    ],
    [
      'with more turns than a conversation has',
      { messages: Array.from({ length: 1001 }, () => [user, answer]).flat() },
      /has 2002 turns, expected at most 2000$/,
    ],
    ['with an answer but no choices', { messages: [user, answer], answer: 0 }, /choices are missing/],
    ['with half a character', { messages: [say('user', '\ud83d'), answer] }, /prompt has half a surrogate/],
  ])('refuses one %s, with its line', (_name, record, message) => {
    const good = { messages: [user, answer] };
    const error = errorOf(() => load([good, record, good], { turns: 'all' }));
    expect(error.code).toBe('example-invalid');
    expect(error.message).toMatch(/set\.jsonl: line 2: /);
    expect(error.message).toMatch(message);
  });
});
