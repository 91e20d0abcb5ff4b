import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import {
  camelCased,
  checked,
  filled,
  jsonSchemaOf,
  matching,
  notNegative,
  positive,
  refuseProblems,
  sha256Text,
  text,
  unshown,
  valueAt,
  variableName,
  whole,
} from '../../src/files/schema.js';
import { errorOf } from '../helpers/files.js';

const SOURCE = { where: 'a.yaml', code: 'config-invalid' } as const;

/** What `checked` says of a value, without the file's name; '' for nothing. */
function saidOf(schema: z.ZodType, value: unknown): string {
  try {
    checked(schema, value, SOURCE);
    return '';
  } catch {
    const { code, message } = errorOf(() => checked(schema, value, SOURCE));
    expect(code).toBe('config-invalid');
    expect(message.startsWith('a.yaml: ')).toBe(true);
    return message.slice('a.yaml: '.length);
  }
}

const INNER = z.strictObject({ depth: whole(1), width: whole(1).optional() });
const ENTRY = z.union([text, INNER]);

describe('checked', () => {
  it('gives back the value with its defaults and its type', () => {
    const schema = z.strictObject({ a: whole(1).default(5), b: z.strictObject({ c: text.default('x') }).prefault({}) });
    const found: { a: number; b: { c: string } } = checked(schema, { a: 2 }, SOURCE);
    expect(found).toEqual({ a: 2, b: { c: 'x' } });
  });

  it.each<[string, z.ZodType, unknown, string]>([
    ['text', text, '', 'top level is "", expected text'],
    ['text', text, 7, 'top level is 7, expected text'],
    ['a flag', z.boolean(), 'yes', 'top level is "yes", expected true or false'],
    ['a number', z.number(), Number.NaN, 'top level is NaN, expected a finite number'],
    ['a number', z.number(), Number.POSITIVE_INFINITY, 'top level is Infinity, expected a finite number'],
    ['a number', z.number().max(3), 4, 'top level is 4, expected a number up to 3'],
    ['a number', positive, 0, 'top level is 0, expected a number above 0'],
    ['a number', notNegative, -0.5, 'top level is -0.5, expected a number from 0'],
    ['a whole number', whole(1), 1.5, 'top level is 1.5, expected a whole number from 1'],
    ['a whole number', whole(1), 0, 'top level is 0, expected a whole number from 1'],
    ['a whole number', whole(1), Number.NaN, 'top level is NaN, expected a whole number from 1'],
    ['a whole number', whole(0), 2 ** 53, 'top level is 9007199254740992, expected a whole number from 0'],
    ['a whole number', whole(0, 9), 10, 'top level is 10, expected a whole number from 0 to 9'],
    ['a tuple', z.tuple([text]), 'a', 'top level is "a", expected a list'],
    ['a pattern', matching(/^a$/, 'an a'), 5, 'top level is 5, expected an a'],
    ['a digest', sha256Text, 'ab', 'top level is "ab", expected 64 hexadecimal digits'],
    ['a choice', z.enum(['a', 'b']), 'c', 'top level is "c", expected "a" or "b"'],
    ['a choice', z.literal(['a', false]), true, 'top level is true, expected "a" or false'],
    ['a list', z.array(text), {}, 'top level is {}, expected a list'],
    ['a list', filled(text), [], 'top level is [], expected at least one'],
    ['a list', z.array(text).min(2), ['a'], 'top level is ["a"], expected at least 2 items'],
    ['a list', z.array(text).max(1), ['a', 'b'], 'top level is ["a","b"], expected at most 1 items'],
    ['an object', INNER, null, 'top level is null, expected an object'],
    ['an object', INNER, ['x'], 'top level is ["x"], expected an object'],
    ['a record', z.record(z.string(), text), 'x', 'top level is "x", expected an object'],
    ['nothing', text, undefined, 'top level is missing, expected text'],
    ['a long text', whole(1), 'x'.repeat(99), `top level is "${'x'.repeat(59)}..., expected a whole number from 1`],
  ])('refuses a wrong value where %s is expected', (_, schema, value, expected) => {
    expect(saidOf(schema, value)).toBe(expected);
  });

  it.each<[string, z.ZodType, unknown, string]>([
    ['keys', z.strictObject({ a: INNER }), { a: { depth: 0 } }, 'a.depth is 0, expected a whole number from 1'],
    ['missing keys', z.strictObject({ a: INNER }), { a: {} }, 'a.depth is missing, expected a whole number from 1'],
    ['lists', z.array(z.array(text)), [['a'], ['b', 1]], '[1][1] is 1, expected text'],
    [
      'lists of objects',
      z.strictObject({ a: z.array(INNER) }),
      { a: [{}] },
      'a[0].depth is missing, expected a whole number from 1',
    ],
    ['records', z.record(z.string(), whole(1)), { one: 1, two: 0 }, 'two is 0, expected a whole number from 1'],
    ['tuples', z.tuple([text, whole(1)]), ['a', 0], '[1] is 0, expected a whole number from 1'],
    [
      'defaults',
      z.strictObject({ a: INNER.nullable().default(null) }),
      { a: { depth: '1' } },
      'a.depth is "1", expected a whole number from 1',
    ],
  ])('names the path through %s', (_, schema, value, expected) => {
    expect(saidOf(schema, value)).toBe(expected);
  });

  it.each<[string, unknown, string]>([
    ['none of its kinds', 5, 'top level is 5, expected text, or an object'],
    ['the kind that was meant', { depth: 0 }, 'depth is 0, expected a whole number from 1'],
    ['a misspelt key in it', { depth: 1, widht: 2 }, 'widht is not a known key, did you mean width?'],
    ['text with its own fault', '', 'top level is "", expected text'],
  ])('says of a union what is wrong with %s', (_, value, expected) => {
    expect(saidOf(ENTRY, value)).toBe(expected);
  });

  it('says of a union within others where its fault is', () => {
    const schema = z.strictObject({ task: z.array(ENTRY), files: z.record(z.string(), ENTRY) });
    const value = { task: ['a', { dpth: 1 }], files: { train: { depth: 1, with: 2 } } };
    expect(saidOf(schema, value)).toBe(
      'task[1].depth is missing, expected a whole number from 1; task[1].dpth is not a known key, did you mean depth?; ' +
        'files.train.with is not a known key, did you mean width?',
    );
    expect(saidOf(z.union([z.literal('auto'), whole(1)]), 'all')).toBe(
      'top level is "all", expected "auto", or a whole number from 1',
    );
  });

  it('names the nearest known key, or all of them', () => {
    expect(saidOf(INNER, { depth: 1, dpeth: 1 })).toBe('dpeth is not a known key, did you mean depth?');
    expect(saidOf(INNER, { depth: 1, colour: 1 })).toBe('colour is not a known key, expected depth, width');
    expect(saidOf(z.strictObject({ a: INNER.prefault({ depth: 1 }) }), { a: { depth: 1, wide: 1 } })).toContain(
      'a.wide is not a known key',
    );
  });

  it('tells the line of each problem that has one', () => {
    const lines: Record<string, number> = { a: 1, 'a.depth': 2, 'a.dpeth': 3 };
    const lineOf = (path: readonly PropertyKey[]) => lines[path.join('.')];
    const schema = z.strictObject({ a: INNER, b: text });
    const { message } = errorOf(() => checked(schema, { a: { depth: 0, dpeth: 1 } }, { ...SOURCE, lineOf }));
    expect(message).toBe(
      'a.yaml: a.depth is 0, expected a whole number from 1 (line 2); ' +
        'a.dpeth is not a known key, did you mean depth? (line 3); b is missing, expected text',
    );
  });

  it('abridges what has more than twenty problems, and gives the hint', () => {
    const error = errorOf(() => checked(z.array(text), Array(23).fill(0), { ...SOURCE, hint: 'Start over.' }));
    expect(error.message).toMatch(/; \[19\] is 0, expected text; and 3 more$/);
    expect(error.hint).toBe('Start over.');
  });
});

describe('a secret', () => {
  const KEY = 'sk-4711';
  const phrase = 'a name; never the key';
  const named = unshown(z.string(phrase).regex(/^[A-Z]+$/, phrase));

  it.each<[string, z.ZodType, unknown]>([
    ['itself', z.strictObject({ key: named }), { key: KEY }],
    ['described', z.strictObject({ key: named.describe('for editors') }), { key: KEY }],
    ['nullable with a default', z.strictObject({ key: named.nullable().default(null) }), { key: KEY }],
    ['described after all that', z.strictObject({ key: named.nullable().default(null).describe('x') }), { key: KEY }],
    ['optional and transformed', z.strictObject({ key: named.transform((x) => x.length).optional() }), { key: KEY }],
    ['of another type', z.strictObject({ key: named }), { key: [KEY] }],
    ['in a list', z.strictObject({ key: z.array(named) }), { key: [KEY] }],
    ['in a record', z.strictObject({ key: z.record(z.string(), named) }), { key: { a: KEY } }],
    ['in a tuple', z.strictObject({ key: z.tuple([named]) }), { key: [KEY] }],
    ['in a union', z.strictObject({ key: z.union([whole(1), z.strictObject({ key: named })]) }), { key: { key: KEY } }],
  ])('is never shown: %s', (_, schema, value) => {
    const said = saidOf(schema, value);
    expect(said).toMatch(/^key\S* is not a name; never the key$/);
    expect(said).not.toContain('4711');
  });

  it('is not shown as a part of what is refused as a whole', () => {
    expect(saidOf(z.array(text), { key: KEY })).toBe('top level is {...}, expected a list');
    expect(saidOf(INNER, [{ key: KEY }])).toBe('top level is [{...}], expected an object');
  });

  it('is what stands in place of a variable`s name', () => {
    expect(saidOf(variableName, KEY)).toMatch(/^top level is not the name of an environment variable/);
    expect([
      saidOf(variableName, 'MY_KEY'),
      saidOf(variableName, null),
      checked(variableName, undefined, SOURCE),
    ]).toEqual([...['', '', null]]);
  });
});

describe('refuseProblems', () => {
  it('throws what a schema cannot see, and nothing where there is nothing', () => {
    expect(() => refuseProblems([], SOURCE)).not.toThrow();
    const problems = [
      { path: ['a'], message: 'a needs b' },
      { path: ['c'], message: 'c needs d' },
    ];
    const lineOf = ([key]: readonly PropertyKey[]) => (key === 'c' ? 4 : undefined);
    expect(errorOf(() => refuseProblems(problems, { ...SOURCE, lineOf }))).toMatchObject({
      code: 'config-invalid',
      message: 'a.yaml: a needs b; c needs d (line 4)',
    });
  });
});

describe('valueAt', () => {
  it('follows a path as far as it goes', () => {
    const value = { a: [{ b: 0 }], c: null };
    expect([valueAt(value, []), valueAt(value, ['a', 0, 'b']), valueAt(value, ['c', 'd', 'e'])]).toEqual([
      ...[value, 0, undefined],
    ]);
  });
});

describe('camelCased', () => {
  const schema = z.strictObject({
    batch_size: whole(1).default(3),
    half_open_after_seconds: z.number().optional(),
    user_names: z.record(z.string(), z.strictObject({ top_k: whole(1) })),
    data_files: z.array(z.union([text, z.strictObject({ file_name: text })])).nullable(),
    a_pair: z.tuple([z.strictObject({ on_it: text }), text]).optional(),
    kept: z.unknown(),
  });

  it('spells the keys of objects, however deep, and leaves those of records and of what it does not know', () => {
    const value = checked(
      schema,
      {
        user_names: { my_name: { top_k: 1 } },
        data_files: ['a_b', { file_name: 'c_d' }],
        a_pair: [{ on_it: 'x_y' }, 'z'],
        kept: { as_is: 1 },
      },
      SOURCE,
    );
    const found = camelCased(schema, value);
    expect(found).toEqual({
      batchSize: 3,
      userNames: { my_name: { topK: 1 } },
      dataFiles: ['a_b', { fileName: 'c_d' }],
      aPair: [{ onIt: 'x_y' }, 'z'],
      kept: { as_is: 1 },
    });
    const size: number = found.batchSize;
    const topK: number | undefined = found.userNames.my_name?.topK;
    expect([size, topK, found.halfOpenAfterSeconds]).toEqual([3, 1, undefined]);
    expect(camelCased(schema, { ...value, data_files: null }).dataFiles).toBeNull();
  });
});

describe('jsonSchemaOf', () => {
  it('describes what a file may hold: what has a default may be missing', () => {
    const schema = z.strictObject({
      size: whole(1).default(3).describe('How many.'),
      url: text.transform((url) => url.length),
      names: z.record(z.string(), z.enum(['a', 'b'])).prefault({}),
      rate: z.union([positive, z.literal(Number.POSITIVE_INFINITY)]).default(1),
      byKind: z.partialRecord(z.enum(['x', 'y']), text).optional(),
    });
    expect(jsonSchemaOf(schema, 'a title')).toEqual({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      title: 'a title',
      type: 'object',
      properties: {
        size: { type: 'integer', minimum: 1, default: 3, description: 'How many.' },
        url: { type: 'string', minLength: 1 },
        names: { type: 'object', additionalProperties: { type: 'string', enum: ['a', 'b'] }, default: {} },
        rate: {
          anyOf: [
            { type: 'number', exclusiveMinimum: 0 },
            { type: 'number', not: {} },
          ],
          default: 1,
        },
        byKind: {
          type: 'object',
          propertyNames: { type: 'string', enum: ['x', 'y'] },
          additionalProperties: { type: 'string', minLength: 1 },
        },
      },
      required: ['url'],
      additionalProperties: false,
    });
  });
});
