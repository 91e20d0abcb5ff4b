/**
 * Schemas as grammars: which texts llama.cpp then admits, compared with what ajv holds valid; and what is refused, by its name.
 */

import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Llama } from 'node-llama-cpp';
import { beforeAll, describe, expect, it } from 'vitest';
import { type CrayonError, isCrayonError } from '../../../../src/core/errors.js';
import { answerGrammar } from '../../../../src/engine/llama/grammar/answer.js';
import type { JsonObject } from '../../../../src/files/json.js';
import { endLlamaCpp, llamaCpp } from '../../../helpers/llama-cpp.js';

endLlamaCpp();
let llama: Llama;
beforeAll(async () => {
  llama = await llamaCpp();
});

const NO_TOOLS = { kind: 'text', text: '' } as const;
const grammarOf = (schema: JsonObject) =>
  answerGrammar({ type: 'json_schema', json_schema: { name: 'a', schema } }, NO_TOOLS)!;

/** Whether llama.cpp's grammar takes a text as a whole. */
function admits(schema: JsonObject, texts: readonly string[]): boolean[] {
  const { AddonGrammar } = (
    llama as unknown as {
      _bindings: { AddonGrammar: new (text: string) => { isTextCompatible(text: string): boolean } };
    }
  )._bindings;
  const grammar = new AddonGrammar(grammarOf(schema));
  return texts.map((text) => grammar.isTextCompatible(text));
}

function refusal(schema: unknown): CrayonError {
  try {
    grammarOf(schema as JsonObject);
  } catch (error) {
    if (isCrayonError(error, 'format-unsupported')) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

const S = { type: 'string' } as const;
const I = { type: 'integer' } as const;

/** A schema, texts that are valid and admitted, and texts that are neither. */
const CASES: ReadonlyArray<[name: string, schema: JsonObject, valid: unknown[], invalid: unknown[]]> = [
  ['string', S, ['', 'a"\\\n\u0001é😀'], [1, null]],
  ['lengths', { type: 'string', minLength: 2, maxLength: 3 }, ['ab', 'é😀c'], ['a', 'abcd']],
  [
    'long lengths',
    { type: 'string', minLength: 2100, maxLength: 2200 },
    ['a'.repeat(2100), 'a'.repeat(2200)],
    ['a'.repeat(2099), 'a'.repeat(2201)],
  ],
  ['integers', { ...I, minimum: -12, maximum: 105 }, [-12, -1, 0, 9, 10, 99, 100, 105], [-13, 106, 1.5, 1000]],
  ['integers above', { ...I, exclusiveMinimum: 9 }, [10, 19, 100, 123456], [9, -10, 0]],
  ['integers below', { ...I, exclusiveMaximum: -99 }, [-100, -101, -1234], [-99, 0, 5]],
  ['integers of zod', { ...I, minimum: -9007199254740991, maximum: 9007199254740991 }, [0, -5, 123456789012345], [0.5]],
  ['numbers', { type: 'number', minimum: 0, maximum: 1 }, [0, 0.25, 1], [1.01, -0.1, 2]],
  [
    'numbers between',
    { type: 'number', exclusiveMinimum: -2, exclusiveMaximum: 12 },
    [-1.99, -1, 0, 3.5, 11.99],
    [-2, 12, 12.5, -2.5],
  ],
  ['free numbers', { type: 'number' }, [0, -1.5, 1e21, 2.5e-7], ['1']],
  ['boolean or null', { type: ['boolean', 'null'] }, [true, false, null], [0, 'null']],
  ['const', { const: { a: [1, 'x"\\'] } }, [{ a: [1, 'x"\\'] }], [{ a: [1] }]],
  ['enum', { enum: ['a', 'ab', 1, null, [2]] }, ['a', 'ab', 1, null, [2]], ['b', 2, []]],
  ['enum of a type', { type: 'string', enum: ['a', 1] }, ['a'], [1]],
  ['anything', {}, [{ a: [1, { b: null }] }, 'x', [true]], []],
  ['object', { type: 'object' }, [{}, { x: { y: [1] } }], [[], 'x']],
  [
    'properties',
    { type: 'object', properties: { a: S, b: I, c: { type: 'boolean' } }, required: ['b'] },
    [{ b: 1 }, { a: '', b: 2 }, { a: '', b: 3, c: true }, { b: 1, c: false }],
    [{}, { a: '' }, { b: '1' }],
  ],
  [
    'optional properties',
    { type: 'object', properties: { a: S, b: I }, additionalProperties: false },
    [{}, { a: 'x' }, { b: 1 }, { a: 'x', b: 1 }],
    [{ c: 1 }],
  ],
  [
    'required by name alone',
    { type: 'object', required: ['n'], additionalProperties: I },
    [{ n: 1 }],
    [{}, { n: 'x' }],
  ],
  ['map', { type: 'object', additionalProperties: I }, [{}, { a: 1 }, { a: 1, 'b"': 2 }], [{ a: 'x' }]],
  ['nothing in it', { type: 'object', additionalProperties: false }, [{}], [{ a: 1 }]],
  ['list', { type: 'array', items: I, minItems: 1, maxItems: 3 }, [[1], [1, 2, 3]], [[], [1, 2, 3, 4], ['a']]],
  ['free list', { type: 'array' }, [[], [1, 'a', {}]], [{}]],
  [
    'first items',
    { type: 'array', prefixItems: [S, I], items: false },
    [['a', 1]],
    [
      [1, 'a'],
      ['a', 1, 2],
    ],
  ],
  [
    'first items and more',
    { type: 'array', prefixItems: [S], items: I, maxItems: 3 },
    [['a'], ['a', 1, 2]],
    [[1], ['a', 'b'], ['a', 1, 2, 3]],
  ],
  [
    'any of',
    { anyOf: [I, { type: 'object', properties: { a: S }, required: ['a'] }, { type: 'null' }] },
    [1, { a: 'x' }, null],
    ['x', {}],
  ],
  ['one of', { oneOf: [S, { type: 'null' }] }, ['a', null], [1]],
  [
    'one of, told apart by a property',
    {
      oneOf: [
        { type: 'object', properties: { kind: { const: 'cat' }, lives: I }, required: ['kind', 'lives'] },
        { $ref: '#/$defs/dog' },
      ],
      $defs: { dog: { type: 'object', properties: { kind: { enum: ['dog', 'wolf'] } }, required: ['kind'] } },
    },
    [{ kind: 'cat', lives: 9 }, { kind: 'wolf' }],
    [{ kind: 'cat' }, { kind: 'cow' }],
  ],
  ['all of one', { allOf: [{ $ref: '#/$defs/x' }], $defs: { x: I } }, [1], ['a']],
  [
    'a list of its own kind',
    {
      type: 'object',
      properties: { v: I, next: { anyOf: [{ $ref: '#' }, { type: 'null' }] } },
      required: ['v', 'next'],
    },
    [
      { v: 1, next: null },
      { v: 1, next: { v: 2, next: null } },
    ],
    [{ v: 1 }, { v: 1, next: { v: 2 } }],
  ],
  ['references with odd names', { $ref: '#/$defs/a~1b%20c', $defs: { 'a/b c': I } }, [4], ['x']],
  ['date', { type: 'string', format: 'date' }, ['2024-02-28', '1999-12-31'], ['2023-02-30', '2024-13-01', '24-01-01']],
  [
    'date and time',
    { type: 'string', format: 'date-time' },
    ['2024-02-28T23:59:59Z', '2024-04-30T00:00:00.5+02:00'],
    ['2024-02-28 23:59:59', '2024-04-31T00:00:00Z'],
  ],
  [
    'uuid',
    { type: 'string', format: 'uuid' },
    ['123e4567-e89b-12d3-a456-426614174000'],
    ['123e4567e89b12d3a456426614174000'],
  ],
  ['ipv4', { type: 'string', format: 'ipv4' }, ['0.0.0.0', '255.249.199.9'], ['256.1.1.1', '01.1.1.1', '1.1.1']],
  ['email', { type: 'string', format: 'email' }, ['Bob.b+x@mail.Example.org'], ['bob', '@x.org']],
  [
    'notes',
    { type: 'integer', title: 't', description: 'd', default: 3, examples: [1], 'x-more': {}, discriminator: {} },
    [1],
    ['a'],
  ],
];

const FORMATS: Record<string, RegExp> = {
  date: /^\d{4}-\d\d-\d\d$/,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/,
  uuid: /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/,
  ipv4: /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/,
  email: /^[^@\s]+@[^@\s]+\.[a-z]+$/i,
};
const isDay = (text: string) =>
  !Number.isNaN(Date.parse(text)) && new Date(text.slice(0, 10)).getUTCDate() === Number(text.slice(8, 10));

describe('a schema as a grammar', () => {
  const ajv = new Ajv2020({ strict: false });
  for (const [name, format] of Object.entries(FORMATS)) {
    ajv.addFormat(name, (text: string) => format.test(text) && (!name.startsWith('date') || isDay(text)));
  }

  it.each(CASES)('admits what is valid: %s', (_, schema, valid, invalid) => {
    const isValid = ajv.compile(schema);
    expect(valid.map((value) => isValid(value))).toEqual(valid.map(() => true));
    expect(invalid.map((value) => isValid(value))).toEqual(invalid.map(() => false));
    const texts = (values: unknown[]) => values.map((value) => JSON.stringify(value));
    expect(admits(schema, texts(valid))).toEqual(valid.map(() => true));
    expect(admits(schema, texts(invalid))).toEqual(invalid.map(() => false));
  });

  it('lets JSON be written with or without spaces, and ends with its value', () => {
    const schema = { type: 'object', properties: { a: { type: 'array', items: I }, b: S } };
    const texts = ['{"a":[1,2],"b":""}', '{ "a": [1, 2], "b": "" }', '{\n  "a": [\n    1,\n    2\n  ]\n}'];
    expect(admits(schema, texts)).toEqual([true, true, true]);
    expect(admits(schema, ['{"a":[1]} ', ' {"a":[1]}', '{"a":[1]', '{"a":[01]}', '{"b":"\\ud800"}'])).toEqual([
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  it('makes an object of json_object', () => {
    const grammar = answerGrammar({ type: 'json_object' }, NO_TOOLS)!;
    expect(grammar).toContain('root ::= object');
    expect(answerGrammar(null, NO_TOOLS)).toBeNull();
  });
});

const within = (depth: number, make: (inner: JsonObject) => JsonObject): JsonObject =>
  depth === 0 ? I : make(within(depth - 1, make));

describe('what no grammar is made of', () => {
  it.each<[unknown, RegExp]>([
    [{ type: 'string', pattern: '^a' }, /schema\.pattern is not supported/],
    [{ type: 'object', properties: { a: { not: S } } }, /schema\.properties\.a\.not is not supported/],
    [{ type: 'array', uniqueItems: true }, /uniqueItems/],
    [{ type: 'array', items: [S] }, /items is no JSON Schema/],
    [{ type: 'object', patternProperties: {} }, /patternProperties/],
    [{ type: 'number', minimum: 0.5 }, /minimum 0.5 is not supported/],
    [{ type: 'integer', multipleOf: 5 }, /multipleOf 5/],
    [{ type: 'integer', minimum: 5, maximum: 4 }, /bounds that no number/],
    [{ type: 'number', exclusiveMinimum: 5, maximum: 5 }, /bounds that no number/],
    [{ type: 'integer', minimum: '5' }, /minimum is expected to be a number/],
    [{ type: 'string', format: 'regex' }, /format is not one of/],
    [{ type: 'string', minLength: 3, maxLength: 2 }, /minLength is more/],
    [{ type: 'array', minItems: 3, maxItems: 2 }, /minItems is more/],
    [{ type: 'array', prefixItems: [S], items: false, minItems: 2 }, /minItems is more/],
    [{ type: 'text' }, /type is expected to be one of/],
    [{ type: 'object', required: ['a'], additionalProperties: false }, /required names "a"/],
    [
      {
        oneOf: [
          { type: 'object', properties: { a: S } },
          { type: 'object', properties: { b: S } },
        ],
      },
      /oneOf has alternatives/,
    ],
    [{ allOf: [S, S] }, /allOf of several/],
    [{ $ref: '#/$defs/no' }, /\$ref is expected/],
    [{ $ref: 'http://example.org/schema' }, /\$ref is expected/],
    [{ $ref: '#', type: 'string' }, /type is not supported beside \$ref/],
    [{ $ref: '#' }, /leads to itself/],
    [{ enum: [] }, /enum is expected to be a list/],
    [{ const: 1, type: 'string' }, /const has no value of the type/],
    [{ properties: { a: false } }, /properties\.a admits no value/],
    [[], /is no JSON Schema/],
    // sizes
    [{ enum: Array.from({ length: 3000 }, (_, i) => i) }, /one part too many/],
    [within(300, (inner) => ({ type: 'array', items: inner })), /deeper than 200 levels/],
    [{ enum: ['a'.repeat(300_000)] }, /more than 262144 characters/],
    [{ type: 'string', maxLength: 1_000_000 }, /counts up to more than 20000/],
    [
      within(12, (inner) => ({
        anyOf: [
          { type: 'array', items: inner },
          { type: 'array', items: inner, maxItems: 5 },
        ],
      })),
      /too many alternatives|one part too many/,
    ],
    [
      {
        $ref: '#/$defs/n',
        $defs: {
          n: {
            anyOf: [
              I,
              { type: 'array', items: { $ref: '#/$defs/n' } },
              { type: 'array', maxItems: 3, items: { $ref: '#/$defs/n' } },
            ],
          },
        },
      },
      /too many alternatives/,
    ],
  ])('%#', (schema, message) => {
    expect(refusal(schema).message).toMatch(message);
  });
});
