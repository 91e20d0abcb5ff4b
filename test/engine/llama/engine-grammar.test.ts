/** Answers that are held to a grammar: valid JSON whatever is drawn, of a model that knows nothing of JSON; and what else is asked with it. */

import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LlamaCppEngine, openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import type { ResponseFormat } from '../../../src/engine/types.js';
import type { JsonObject } from '../../../src/files/json.js';
import { edgeGguf, request, wholeAnswer } from '../../helpers/edge-gguf.js';

const gguf = edgeGguf();
let engine: LlamaCppEngine;
beforeAll(async () => {
  engine = await openLlamaCppEngine({ name: 'edge', threads: 1, gpu: false, model: gguf.model, sequences: 2 });
});
afterAll(() => engine.close());

const PROMPT = 'Once upon a time there was a man who';
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

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
