/**
 * Checks of what is read from YAML and JSON, by zod: one schema gives the type, the defaults, the JSON Schema that an
 * editor completes by, and messages that name every problem at once, with its line where the file has lines.
 *
 * A message reads "<path> is <found>, expected <phrase>"; a schema's `error` is that phrase: `z.int().min(3, 'at least 3')`.
 */

import * as z from 'zod';
import { abridge } from '../core/abridge.js';
import { CrayonError, type ErrorCode } from '../core/errors.js';
import { nearestName } from '../core/nearest-name.js';

const MAX_SHOWN = 20;

type Path = readonly PropertyKey[];
type Issue = z.core.$ZodIssue;

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

export const text = z.string().min(1, 'text');
export const positive = z.number().gt(0, 'a number above 0');
export const notNegative = z.number().min(0, 'a number from 0');
export const sha256Text = z.string().regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits');

const VARIABLE = 'the name of an environment variable (letters, digits and _; never the key itself)';
/** The name of an environment variable that holds a key, or null. A key written in its place is never shown. */
export const variableName = unshown(z.string(VARIABLE).regex(/^[A-Za-z_][A-Za-z0-9_]*$/, VARIABLE))
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
  const result = schema.safeParse(value, { error: (issue) => phraseOf(issue as Issue) });
  if (result.success) return result.data;
  throw refusal(
    result.error.issues.flatMap((issue) => problemsOf(issue, schema, value)),
    source,
  );
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

function refusal(problems: readonly Problem[], { where, code, hint, lineOf }: Source): CrayonError {
  const sentences = problems.map(({ path, message }) => {
    const line = lineOf?.(path);
    return line === undefined ? message : `${message} (line ${line})`;
  });
  return new CrayonError(code, `${where}: ${abridge(sentences, MAX_SHOWN)}`, hint === undefined ? {} : { hint });
}

function problemsOf(issue: Issue, schema: z.core.$ZodType, root: unknown, base: Path = []): Problem[] {
  const path = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schemaAt(schema, path, root));
    return issue.keys.map((key) => {
      const near = nearestName(key, known);
      const help = near === undefined ? `expected ${known.join(', ')}` : `did you mean ${near}?`;
      return { path: [...path, key], message: `${pathText([...path, key])} is not a known key, ${help}` };
    });
  }
  if (issue.code === 'invalid_union' && issue.message === UNION) {
    // What got beyond its own first look is what was meant: its problems, rather than that it is none of the others.
    const meant = issue.errors.filter((branch) => branch.every((inner) => inner.path.length > 0 || isShallow(inner)));
    const branch = meant.length === 1 ? meant[0]! : undefined;
    if (branch !== undefined) return branch.flatMap((inner) => problemsOf(inner, schema, root, path));
    const phrases = new Set(issue.errors.map(([first]) => first?.message ?? 'another value'));
    return [problem(path, [...phrases].join(', or ') || 'another value', schema, root)];
  }
  return [problem(path, issue.message, schema, root)];
}

/** A branch of a union whose kind of value is right: only its keys are not. */
const isShallow = (issue: Issue) => issue.code === 'unrecognized_keys';

function problem(path: Path, phrase: string, schema: z.core.$ZodType, root: unknown): Problem {
  const where = pathText(path);
  const found = valueAt(root, path);
  const { def } = schemaAt(schema, path, root)?._zod ?? {};
  if (def !== undefined && SECRETS.has(def)) return { path, message: `${where} is not ${phrase}` };
  return { path, message: `${where} is ${shown(found)}, expected ${phrase}` };
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
      return `at most ${issue.maximum}`;
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
  object: 'an object',
  record: 'an object',
};

/** What stands at a path of nested objects and lists, or undefined. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
  return value;
}

function pathText(path: Path): string {
  if (path.length === 0) return 'top level';
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? String(key) : `${text}.${String(key)}`),
    '',
  );
}

/** What was found, in short; of objects nothing, because some key of theirs may hold a secret. */
function shown(found: unknown): string {
  if (typeof found === 'number') return String(found); // NaN and infinity too
  const hidden = (_: string, value: unknown) => (isFilled(value) ? '{...}' : value);
  const json = JSON.stringify(found, hidden)?.replaceAll('"{...}"', '{...}') ?? 'missing';
  return json.length > 60 ? `${json.slice(0, 60)}...` : json;
}

function isFilled(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
}

/** Without defaults, optional and the like. */
function bare(schema: z.core.$ZodType): z.core.$ZodType {
  const def = schema._zod.def as { innerType?: z.core.$ZodType; in?: z.core.$ZodType; type: string };
  if (def.innerType !== undefined) return bare(def.innerType);
  return def.type === 'pipe' && def.in !== undefined ? bare(def.in) : schema;
}

/** The schema of what stands at a path; of a union, the branch whose kind the value found there is of. */
function schemaAt(schema: z.core.$ZodType, path: Path, root: unknown): z.core.$ZodType | undefined {
  let here: z.core.$ZodType | undefined = branchFor(bare(schema), root);
  for (const [i, key] of path.entries()) {
    const def = here?._zod.def as
      | { shape?: Record<PropertyKey, z.core.$ZodType>; element?: z.core.$ZodType; valueType?: z.core.$ZodType }
      | undefined;
    const next: z.core.$ZodType | undefined = def?.shape?.[key] ?? def?.element ?? def?.valueType;
    if (next === undefined) return undefined;
    here = branchFor(bare(next), valueAt(root, path.slice(0, i + 1)));
  }
  return here;
}

function branchFor(schema: z.core.$ZodType, value: unknown): z.core.$ZodType {
  const { options } = schema._zod.def as { options?: z.core.$ZodType[] };
  if (options === undefined) return schema;
  const type = Array.isArray(value) ? 'array' : typeof value;
  const branches = options.map((option) => branchFor(bare(option), value));
  return (
    branches.find(({ _zod }) => _zod.def.type === type || (type === 'object' && _zod.def.type === 'record')) ?? schema
  );
}

function knownKeys(schema: z.core.$ZodType | undefined): string[] {
  return Object.keys((schema?._zod.def as { shape?: object } | undefined)?.shape ?? {});
}

/** The keys of a value in the program's own spelling: `batch_size` as `batchSize`; those of records stay. */
export type Camel<T> = T extends readonly (infer Item)[]
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

function camelAt(schema: z.core.$ZodType | undefined, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || schema === undefined) return value;
  const def = branchFor(bare(schema), value)._zod.def as {
    shape?: Record<string, z.core.$ZodType>;
    element?: z.core.$ZodType;
    valueType?: z.core.$ZodType;
  };
  if (Array.isArray(value)) return value.map((item) => camelAt(def.element, item));
  const { shape, valueType } = def;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      shape === undefined ? key : camelKey(key),
      camelAt(shape?.[key] ?? valueType, item),
    ]),
  );
}

const camelKey = (key: string) => key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** The JSON Schema (2020-12) of what a file may hold, for editors: `# yaml-language-server: $schema=...`. */
export function jsonSchemaOf(schema: z.ZodType, title: string): object {
  return { ...z.toJSONSchema(schema, { io: 'input', unrepresentable: 'throw' }), title };
}
