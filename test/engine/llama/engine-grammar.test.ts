/** Answers that are held to a grammar: valid JSON whatever is drawn, of a model that knows nothing of JSON; and what else is asked with it. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LlamaCppEngine, openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import type { Prompt, ResponseFormat, ToolCallPiece, Tools } from '../../../src/engine/types.js';
import type { JsonObject } from '../../../src/files/json.js';
import { CollectedCalls } from '../../../src/serve/openai/calls.js';
import { edgeGguf, request, type WholeAnswer, wholeAnswer } from '../../helpers/edge-gguf.js';
import { fixture, fixtureJson } from '../../helpers/fixtures.js';

const gguf = edgeGguf();
let engine: LlamaCppEngine;
beforeAll(async () => {
  engine = await openLlamaCppEngine({ name: 'edge', threads: 1, gpu: false, model: gguf.model, sequences: 2 });
});
afterAll(() => engine.close());

const PROMPT = 'Once upon a time there was a man who';
const wholeCalls = (pieces: readonly ToolCallPiece[]) => {
  const calls = new CollectedCalls();
  calls.add(pieces);
  return calls.list;
};
const schemaOf = (schema: JsonObject): ResponseFormat => ({ type: 'json_schema', json_schema: { name: 'a', schema } });

/** Bounded, so that a model that would go on for ever comes to an end. */
const SCHEMAS: JsonObject[] = [
  {
    type: 'object',
    properties: {
      name: { type: 'string', maxLength: 12 },
      age: { type: 'integer', minimum: 0, maximum: 150 },
      tags: { type: 'array', items: { enum: ['red', 'green', 'blue'] }, maxItems: 3 },
      address: { type: 'object', properties: { street: { type: 'string', maxLength: 8 } }, required: ['street'] },
    },
    required: ['name', 'age', 'tags'],
  },
  {
    anyOf: [{ type: 'boolean' }, { type: 'number', minimum: -1, maximum: 1 }, { $ref: '#/$defs/day' }],
    $defs: { day: { const: { day: 'é"\\' } } },
  },
  { type: 'array', prefixItems: [{ type: 'string', maxLength: 5 }, { type: 'integer' }], items: false, minItems: 2 },
];

describe('an answer that is held to a schema', () => {
  const ajv = new Ajv2020({ strict: false });
  it.each(SCHEMAS)('is valid under it, with every seed: %#', { tags: 'slow', timeout: 240_000 }, async (schema) => {
    const isValid = ajv.compile(schema);
    const texts = new Set<string>();
    for (let seed = 0; seed < 12; seed++) {
      const asked = {
        format: schemaOf(schema),
        seed,
        temperature: seed % 4 === 0 ? 0 : 0.5 + seed / 10,
        topP: seed % 3 === 0 ? 0.9 : 1,
      };
      const { text, finishReason } = await wholeAnswer(engine, request(PROMPT, { ...asked, maxTokens: 200 }));
      expect(finishReason, text).toBe('stop');
      expect(isValid(JSON.parse(text)), text).toBe(true);
      texts.add(text);
    }
    expect(texts.size).toBeGreaterThan(3);
  });

  it('is an object with json_object; an answer that is cut off says so', async () => {
    const format = { type: 'json_object' } as const;
    for (let seed = 0; seed < 5; seed++) {
      const { text, finishReason } = await wholeAnswer(
        engine,
        request(PROMPT, { format, seed, temperature: 1, maxTokens: 30 }),
      );
      expect(text).toMatch(/^\{/);
      if (finishReason === 'stop') expect(typeof JSON.parse(text)).toBe('object');
      else expect([finishReason, isJson(text)]).toEqual(['length', false]);
    }
  });

  it('is drawn again with the same seed', async () => {
    const asked = request(PROMPT, { format: schemaOf(SCHEMAS[2]!), seed: 7, temperature: 1, maxTokens: 60 });
    const [one, other] = [await wholeAnswer(engine, asked), await wholeAnswer(engine, asked)];
    expect(one.text).toBe(other.text);
  });

  it('has the model’s own log-probabilities, and stops at a text of stop', async () => {
    const schema = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'] };
    const { tokens, text } = await wholeAnswer(
      engine,
      request(PROMPT, { format: schemaOf(schema), topLogprobs: 3, maxTokens: 60 }),
    );
    expect(JSON.parse(text)).toEqual({ a: expect.any(Number) });
    // The model has seen no JSON: its own next word is another one, and what is forced is unlikely.
    const { detail, logprob } = tokens[0]!;
    expect(detail!.token).toMatch(/^\{/);
    expect(detail!.top).toHaveLength(3);
    expect(detail!.top.map(({ token }) => token)).not.toContain(detail!.token);
    expect(logprob).toBeLessThan(detail!.top[2]!.logprob);
    expect(detail!.logprob).toBe(logprob);
    const free = await wholeAnswer(engine, request(PROMPT, { topLogprobs: 3, maxTokens: 1 }));
    expect(detail!.top).toEqual(free.tokens[0]!.detail!.top);
    const stopped = await wholeAnswer(
      engine,
      request(PROMPT, { format: schemaOf(schema), stop: [':'], maxTokens: 60 }),
    );
    expect(stopped.text).toMatch(/^\{\s*"a"$/);
  });

  it('refuses a schema by its keyword, before anything is read', async () => {
    const refused = wholeAnswer(engine, request(PROMPT, { format: schemaOf({ type: 'string', pattern: 'a' }) }));
    await expect(refused).rejects.toMatchObject({
      code: 'format-unsupported',
      message: expect.stringContaining('json_schema.schema.pattern'),
    });
    const itself = { $ref: '#/$defs/a', $defs: { a: { anyOf: [{ $ref: '#/$defs/a' }, { type: 'null' }] } } };
    await expect(wholeAnswer(engine, request(PROMPT, { format: schemaOf(itself) }))).rejects.toMatchObject({
      code: 'format-unsupported',
    });
  });
});

describe('an answer that calls functions', () => {
  const parameters = {
    type: 'object',
    properties: { city: { type: 'string', maxLength: 8 }, days: { enum: [1, 2, 3] } },
    required: ['city', 'days'],
  };
  const list = [
    { type: 'function', function: { name: 'weather', description: 'of a city', parameters } },
    { type: 'function', function: { name: 'now' } },
  ] as const;
  const asked = (tools: Omit<Tools, 'list'>, over = {}) => {
    const messages = [{ role: 'user', content: 'What is the weather in Paris?' }];
    return request('', {
      prompt: { kind: 'chat', messages, tools: { list, ...tools } },
      temperature: 0.8,
      maxTokens: 150,
      ...over,
    });
  };
  const callsOf = ({ events }: WholeAnswer) =>
    wholeCalls(events.flatMap((event) => ('calls' in event ? (event.calls ?? []) : [])));

  it('has arguments that are valid under the schema, and ids of its own', {
    tags: 'slow',
    timeout: 240_000,
  }, async () => {
    const isValid = new Ajv2020().compile(parameters);
    for (let seed = 0; seed < 4; seed++) {
      const answer = await wholeAnswer(engine, asked({ choice: { name: 'weather' }, parallel: false }, { seed }));
      expect(answer.finishReason).toBe('tool_calls');
      expect(answer.text).toBe('');
      const [call, ...more] = callsOf(answer);
      expect([call!.function.name, more]).toEqual(['weather', []]);
      expect(call!.id).toMatch(/^call_[0-9a-z]{24}$/);
      expect(isValid(JSON.parse(call!.function.arguments)), call!.function.arguments).toBe(true);
    }
  });

  it('calls where it must, and answers in text where it may and does not', async () => {
    const called = await wholeAnswer(engine, asked({ choice: 'required' }, { temperature: 0, maxTokens: 60 }));
    expect(callsOf(called).length).toBeGreaterThan(0);
    const free = await wholeAnswer(engine, asked({}, { maxTokens: 8 }));
    expect([free.text.length > 0, callsOf(free)]).toEqual([true, []]);
    const none = await wholeAnswer(engine, asked({ choice: 'none' }, { maxTokens: 8 }));
    expect(none.usage.promptTokens).toBeLessThan(free.usage.promptTokens / 2);
  });
});

/** What Mistral's templates do with functions and calls; ids of another length are refused, as theirs refuse them. */
const MISTRAL_LIKE = `{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}{% for m in messages %}
{%- if m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}{% if c.id | length != 9 %}{{ raise_exception('id') }}{% endif %}
{{- c.function | tojson }}{{ c.id }}{% endfor %}]{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.tool_call_id }}{{ m.content }}
{%- else %}[INST]{{ m.content }}[/INST]{% endif %}{% endfor %}`;

describe('calls in the form of the model’s own template', () => {
  // Its advice in English and the names of tokens that this model does not have are longer than its context.
  const llama3 = readFileSync(fixture('chat-templates', 'llama3_2.jinja'), 'utf8')
    .replace('tojson(indent=4)', 'tojson')
    .replaceAll(/\{\{- "(Given[\s\S]*?variables|Cutting|Today)[^}]*\}\}/g, '')
    .replaceAll(/<\|eot_id\|>|<\|start_header_id\|>(?!ipython)/g, '.');
  it.each([
    ['Llama 3', llama3],
    ['Mistral', MISTRAL_LIKE],
  ])('are written, streamed and told of again: %s', { timeout: 120_000 }, async (_, chatTemplate) => {
    const own = await openLlamaCppEngine({ name: 'own', threads: 1, gpu: false, model: gguf.model, chatTemplate });
    try {
      const parameters = { type: 'object', properties: { days: { enum: [1, 2, 3] } }, required: ['days'] };
      const tools: Tools = {
        list: [{ type: 'function', function: { name: 'weather', parameters } }],
        ...{ choice: 'required', parallel: false },
      };
      const user = { role: 'user' as const, content: 'Paris?' };
      const ask = (prompt: Prompt) => wholeAnswer(own, request('', { prompt, temperature: 0.8, maxTokens: 60 }));
      const answer = await ask({ kind: 'chat', messages: [user], tools });
      const calls = wholeCalls(answer.events.flatMap((event) => ('calls' in event ? (event.calls ?? []) : [])));
      expect([answer.finishReason, answer.text, calls]).toMatchObject([
        'tool_calls',
        '',
        [{ function: { name: 'weather' } }],
      ]);
      expect(JSON.parse(calls[0]!.function.arguments)).toEqual({ days: expect.any(Number) });
      const toolCalls = [calls[0]!, { ...calls[0]!, id: 'call_other-1' }];
      const results = toolCalls.map(({ id }) => ({ role: 'tool' as const, content: 'sun', toolCallId: id }));
      const messages = [user, { role: 'assistant' as const, content: '', toolCalls }, ...results];
      const after = await ask({ kind: 'chat', messages, tools: { ...tools, choice: 'none' } });
      expect(after.usage.promptTokens).toBeGreaterThan(20);
    } finally {
      await own.close();
    }
  });
});

describe('token ids of logit_bias', () => {
  it('change what is chosen, and are the model’s own', async () => {
    const { tokens } = await wholeAnswer(engine, request(PROMPT, { maxTokens: 1, topLogprobs: 2 }));
    const [best, second] = tokens[0]!.detail!.top;
    const id = engine.vocabulary.encode(best!.token.trim())[0]!;
    const biased = await wholeAnswer(
      engine,
      request(PROMPT, { maxTokens: 1, topLogprobs: 2, logitBias: new Map([[id, -100]]) }),
    );
    if (engine.vocabulary.decode([id]) === best!.token) expect(biased.tokens[0]!.detail!.token).toBe(second!.token);
    expect(biased.tokens[0]!.detail!.top).toEqual(tokens[0]!.detail!.top);
    const unknown = wholeAnswer(engine, request(PROMPT, { logitBias: new Map([[1_000_000, 1]]) }));
    await expect(unknown).rejects.toMatchObject({ code: 'request-invalid' });
  });
});

const folder = process.env.CRAYON_REAL_BASES;

describe.skipIf(folder === undefined)(
  'SmolLM2, whose template knows no functions',
  { tags: 'slow', timeout: 600_000 },
  () => {
    let real: LlamaCppEngine;
    beforeAll(async () => {
      const { file } = fixtureJson<{ file: string }>('real-bases', 'smollm2.json');
      real = await openLlamaCppEngine({
        name: 'smollm2',
        gpu: false,
        model: join(folder!, file),
        sequences: 1,
        contextTokens: 1024,
      });
    }, 300_000);
    afterAll(() => real?.close());

    const said = (content: string, tools?: Tools): Prompt => ({
      kind: 'chat',
      messages: [{ role: 'user', content }],
      ...(tools && { tools }),
    });

    it('writes what the schema wants, and calls with valid arguments', async () => {
      const schema = { ...SCHEMAS[0]!, required: ['name', 'age', 'tags', 'address'] };
      const prompt = said('Describe Ann, 31, of Elm Street, as JSON with name, age, tags and address.');
      const isValid = new Ajv2020({ strict: false }).compile(schema);
      for (let seed = 0; seed < 3; seed++) {
        const { text } = await wholeAnswer(
          real,
          request('', { prompt, format: schemaOf(schema), seed, temperature: 0.8, maxTokens: 200 }),
        );
        expect(isValid(JSON.parse(text)), text).toBe(true);
      }
      const parameters = {
        type: 'object',
        properties: { city: { type: 'string', maxLength: 20 } },
        required: ['city'],
      };
      const tools: Tools = {
        list: [{ type: 'function', function: { name: 'weather', parameters } }],
        choice: 'required',
        parallel: false,
      };
      const called = await wholeAnswer(real, request('', { prompt: said('Weather in Paris?', tools), maxTokens: 100 }));
      const [call] = wholeCalls(called.tokens.flatMap((token) => token.calls ?? []));
      expect([called.finishReason, call!.function.name, Object.keys(JSON.parse(call!.function.arguments))]).toEqual([
        'tool_calls',
        'weather',
        ['city'],
      ]);
    });
  },
);

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
