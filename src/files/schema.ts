/**
 * Checks of what is read from YAML and JSON, by zod: one schema gives the type, the defaults, the JSON Schema that an
 * editor completes by, and messages that name every problem at once, with its line where the file has lines.
 *
 * A message reads "<path> is <found>, expected <phrase>"; a schema's `error` is that phrase: `z.int().min(3, 'at least 3')`.
 */

import * as z from 'zod';
import { CrayonError, type ErrorCode } from '../core/errors.js';
import { nearestName, shown } from '../core/format.js';

const MAX_SHOWN = 20;

type Path = readonly PropertyKey[];
type Issue = z.core.$ZodIssue;
type Schema = z.core.$ZodType;

/** What is looked at of zod's definition of a schema; which of these there are depends on its type. */
interface Definition {
  type: string;
  shape?: Record<PropertyKey, Schema>;
  element?: Schema;
  items?: readonly Schema[];
  valueType?: Schema;
  options?: readonly Schema[];
  innerType?: Schema;
  in?: Schema;
}
const definitionOf = (schema: Schema) => schema._zod.def as Definition;

/** Definitions of schemas whose values never appear in a message: `describe` makes another schema of the same definition. */
const SECRETS = new WeakSet<object>();

/**
 * What may hold a secret by mistake: messages say what is expected and not what was found. Checks go inside,
 * `unshown(z.string().regex(...))`; `describe`, `nullable` and `default` may follow.
 */
export function unshown<T extends z.ZodType>(schema: T): T {
  SECRETS.add(schema._zod.def);
  return schema;
}

const RATE = 'a rate from 0 to 1';
export const rate = z.number(RATE).min(0, RATE).max(1, RATE);

/** A key that may be left out, or be null: then it is null. */
export const orNull = <T extends z.ZodType>(schema: T) => schema.nullable().default(null);

export const text = z.string().min(1, 'text');
export const positive = z.number().gt(0, 'a number above 0');
export const notNegative = z.number().min(0, 'a number from 0');
export const matching = (pattern: RegExp, phrase: string) => z.string(phrase).regex(pattern, phrase);
export const sha256Text = matching(/^[0-9a-f]{64}$/, '64 hexadecimal digits');

const VARIABLE = 'the name of an environment variable (letters, digits and _; never the key itself)';
/** The name of an environment variable that holds a key, or null. A key written in its place is never shown. */
export const variableName = unshown(matching(/^[A-Za-z_][A-Za-z0-9_]*$/, VARIABLE))
  .nullable()
  .default(null);

/** A whole number from `min`, to `max` where given. */
export function whole(min: number, max?: number) {
  const phrase = max === undefined ? `a whole number from ${min}` : `a whole number from ${min} to ${max}`;
  const from = z.int(phrase).min(min, phrase);
  return max === undefined ? from : from.max(max, phrase);
}

/** A list with at least one item. */
export function filled<T extends z.ZodType>(item: T) {
  return z.array(item).min(1, 'at least one');
}

/** One, or a list of some. */
export const oneOrMore = <T extends z.ZodType>(item: T) => z.union([item, filled(item)]);

export interface Source {
  /** names the file in messages */
  where: string;
  code: ErrorCode;
  hint?: string;
  /** see YamlFile */
  lineOf?: ((path: Path) => number | undefined) | undefined;
}

/**
 * Checks a value against a schema and returns it with defaults filled in.
 *
 * @throws CrayonError `source.code` naming all problems
 */
export function checked<T extends z.ZodType>(schema: T, value: unknown, source: Source): z.output<T> {
  const plain = schema.safeParse(value);
  if (plain.success) return plain.data;
  // Again for our own words: a check with an error map is five times slower, and a bench run has 100,000 answers.
  const { error } = schema.safeParse(value, { error: (issue) => phraseOf(issue as Issue) });
  const { issues } = error!;
  const shownProblems = issues.slice(0, MAX_SHOWN).flatMap((issue) => problemsOf(issue, schema, value));
  throw refusal(shownProblems, source, issues.length - MAX_SHOWN);
}

/** Something wrong with what stands at a path. */
export interface Problem {
  path: Path;
  /** a whole sentence */
  message: string;
}

/** @throws CrayonError `source.code` where there are problems: for those that a schema cannot see */
export function refuseProblems(problems: readonly Problem[], source: Source): void {
  if (problems.length > 0) throw refusal(problems, source);
}

/** @param unseen more problems, that nobody has put into words */
function refusal(problems: readonly Problem[], { where, code, hint, lineOf }: Source, unseen = 0): CrayonError {
  const sentences = problems.slice(0, MAX_SHOWN).map(({ path, message }) => {
    const line = lineOf?.(path);
    return line === undefined ? message : `${message} (line ${line})`;
  });
  const more = problems.length - sentences.length + Math.max(0, unseen);
  const rest = more > 0 ? `; and ${more} more` : '';
  return new CrayonError(code, `${where}: ${sentences.join('; ')}${rest}`, { hint });
}

function problemsOf(issue: Issue, schema: Schema, root: unknown, base: Path = []): Problem[] {
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(schemaAt(schema, path, root)?.shape ?? {});
    return issue.keys.map((key, i) => {
      if (i >= MAX_SHOWN) return { path, message: '' }; // counted, and not shown
      const near = nearestName(key, known);
      const help = near === undefined ? `expected ${known.join(', ')}` : `did you mean ${near}?`;
      return { path: [...path, key], message: `${pathText([...path, key])} is not a known key, ${help}` };
    });
  }
  if (issue.code === 'invalid_union' && issue.message === UNION) {
    // What got beyond its own first look is what was meant: its problems, rather than that it is none of the others.
    const isWithin = (inner: Issue) => inner.path.length > 0 || inner.code === 'unrecognized_keys';
    const [meant, another] = issue.errors.filter((branch) => branch.every(isWithin));
    if (meant !== undefined && another === undefined) {
      return meant.flatMap((inner) => problemsOf(inner, schema, root, path));
    }
    const phrases = new Set(issue.errors.map(([first]) => first?.message ?? 'another value'));
    return [problem(path, [...phrases].join(', or ') || 'another value', schema, root)];
  }
  return [problem(path, issue.message, schema, root)];
}

function problem(path: Path, phrase: string, schema: Schema, root: unknown): Problem {
  const where = pathText(path);
  const definition = schemaAt(schema, path, root);
  const isSecret = definition !== undefined && SECRETS.has(definition);
  const found = isSecret ? 'not' : `${shown(valueAt(root, path))}, expected`;
  return { path, message: `${where} is ${found} ${phrase}` };
}

const UNION = 'union';

/** What is expected where a schema itself does not say. */
function phraseOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return EXPECTED[issue.expected] ?? issue.expected;
    case 'invalid_value':
      return issue.values.map((value) => JSON.stringify(value)).join(' or ');
    case 'too_small':
      if (issue.origin === 'array') return `at least ${issue.minimum} items`;
      return issue.inclusive ? `a number from ${issue.minimum}` : `a number above ${issue.minimum}`;
    case 'too_big':
      return issue.origin === 'array' ? `at most ${issue.maximum} items` : `a number up to ${issue.maximum}`;
    case 'invalid_union':
      return UNION;
    default:
      return 'another value';
  }
}

const EXPECTED: Record<string, string> = {
  string: 'text',
  boolean: 'true or false',
  number: 'a finite number',
  int: 'a whole number',
  array: 'a list',
  tuple: 'a list',
  object: 'an object',
  record: 'an object',
};

/** The first item that is in a list a second time, or undefined. */
export function firstTwice<T>(items: readonly T[]): T | undefined {
  const seen = new Set<T>();
  return items.find((item) => seen.size === seen.add(item).size);
}

/** What stands at a path of nested objects and lists, or undefined. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
  return value;
}

export function pathText(path: Path): string {
  if (path.length === 0) return 'top level';
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`),
    '',
  );
}

/** The definition without defaults, optional and the like; of a union, that of the branch whose kind the value is of. */
function definitionFor(schema: Schema, value: unknown): Definition {
  const definition = definitionOf(schema);
  const inner = definition.innerType ?? (definition.type === 'pipe' ? definition.in : undefined);
  if (inner !== undefined) return definitionFor(inner, value);
  if (definition.options === undefined) return definition;
  const types = Array.isArray(value)
    ? ['array', 'tuple']
    : typeof value === 'object'
      ? ['object', 'record']
      : [typeof value];
  const branches = definition.options.map((option) => definitionFor(option, value));
  return branches.find(({ type }) => types.includes(type)) ?? definition;
}

function schemaAt(schema: Schema, path: Path, root: unknown): Definition | undefined {
  let here = definitionFor(schema, root);
  for (const [i, key] of path.entries()) {
    const next = childOf(here, key);
    if (next === undefined) return undefined;
    here = definitionFor(next, valueAt(root, path.slice(0, i + 1)));
  }
  return here;
}

function childOf({ shape, element, items, valueType }: Definition, key: PropertyKey): Schema | undefined {
  if (shape !== undefined) return Object.hasOwn(shape, key) ? shape[key] : undefined;
  return element ?? items?.[Number(key)] ?? valueType;
}

/** The keys of a value in the program's own spelling: `batch_size` as `batchSize`; those of records stay. */
export type Camel<T> = T extends readonly [number, number]
  ? T
  : T extends readonly (infer Item)[]
    ? Camel<Item>[]
    : T extends object
      ? string extends keyof T
        ? { [K in keyof T]: Camel<T[K]> }
        : { [K in keyof T as K extends string ? CamelKey<K> : K]: Camel<T[K]> }
      : T;
type CamelKey<S extends string> = S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelKey<Tail>>}` : S;

/**
 * snake_case to camelCase over a checked value, as deep as its schema knows the keys: those of a record are the user's own
 * names and stay.
 *
 * @example
 * camelCased(SCHEMA, checked(SCHEMA, yaml, source)).limits.maxTokens;
 */
export function camelCased<T extends z.ZodType>(schema: T, value: z.output<T>): Camel<z.output<T>> {
  return camelAt(schema, value) as Camel<z.output<T>>;
}

function camelAt(schema: Schema | undefined, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || schema === undefined) return value;
  const definition = definitionFor(schema, value);
  const inner = (item: unknown, key: PropertyKey) => camelAt(childOf(definition, key), item);
  if (Array.isArray(value)) return value.map(inner);
  const name = (key: string) => (definition.shape === undefined ? key : camelKey(key));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [name(key), inner(item, key)]));
}

const camelKey = (key: string) => key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** The JSON Schema (2020-12) of what a file may hold, for editors: `# yaml-language-server: $schema=...`. */
export function jsonSchemaOf(schema: z.ZodType, title: string): object {
  const plain = z.toJSONSchema(schema, {
    io: 'input',
    override: ({ jsonSchema }) => {
      if (jsonSchema.const === Number.POSITIVE_INFINITY) Object.assign(jsonSchema, { const: undefined, not: {} }); // JSON has none
      // What goes without saying of a whole number, and of a key.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (JSON.stringify(jsonSchema.propertyNames) === '{"type":"string"}') delete jsonSchema.propertyNames;
    },
  });
  return { title, ...plain };
}
