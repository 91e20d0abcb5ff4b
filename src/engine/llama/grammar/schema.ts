/**
 * JSON Schema as a grammar: whatever the grammar admits is valid under the schema. What a grammar cannot say is refused by its name
 * and place, never passed over; what a schema leaves open may be narrower in the grammar: an object has the properties that its
 * schema lists and no others, in the schema's order.
 */

import { CrayonError } from '../../../core/errors.js';
import { LIMITS } from '../../../core/limits.js';
import { isJsonObject, type JsonObject } from '../../../files/json.js';
import { pathText } from '../../../files/schema.js';
import { FORMATS } from './formats.js';
import { type Bounds, integerBetween, MOST_DIGITS, numberBetween } from './numbers.js';
import { either, type GrammarRules, literal } from './rules.js';

const TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'] as const;
type Type = (typeof TYPES)[number];

/** Keywords that a grammar keeps, by the type whose values they are about. */
const KEPT = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
} as const;
const WHOLE = ['$ref', 'const', 'enum', 'anyOf', 'oneOf', 'allOf'] as const;

/** What says nothing about a value. */
const NOTES = new Set([
  ...['title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly', 'discriminator'],
  ...['$schema', '$id', '$comment', '$defs', 'definitions'],
]);

const TYPED = Object.entries(KEPT) as Array<[keyof typeof KEPT, readonly string[]]>;
const KNOWN = new Set<string>(['type', ...WHOLE, ...TYPED.flatMap(([, names]) => names)]);
/** Values with which a keyword asks for nothing. */
const IDLE: Readonly<Record<string, unknown>> = { uniqueItems: false, nullable: false, unevaluatedProperties: true };

/** A part of a schema as a rule. */
interface Node {
  rule: string;
  /** JSON types that it admits */
  kinds: ReadonlySet<string>;
  /** how many readings of one text may be open within it at a time, at most: each costs the engine time and memory */
  ways: number;
}

/** A schema that stands within itself is counted as this many: two of it side by side are then too many. */
const WAYS_WITHIN = LIMITS.grammarWays / 2;

type Path = ReadonlyArray<string | number>;

/**
 * @param schema checked for nothing yet
 * @param what names it in errors, as `response_format.json_schema.schema`
 * @param code of the errors
 * @returns the rule that stands for it
 * @throws CrayonError `code`, naming the keyword and its place
 */
export function schemaRule(
  schema: unknown,
  rules: GrammarRules,
  { what, code }: { what: string; code: 'format-unsupported' | 'tools-unsupported' },
): string {
  return new SchemaReader(schema, rules, (path, problem) => {
    throw new CrayonError(code, `${what}${path.length === 0 ? '' : `.${pathText(path)}`} ${problem}`, {
      hint: 'Leave it out of the schema, or let the server LLM answer.',
    });
  }).read(schema, []).rule;
}

class SchemaReader {
  readonly #schema: unknown;
  readonly #rules: GrammarRules;
  readonly #refuse: (path: Path, problem: string) => never;
  readonly #referred = new Map<string, Node>();
  #parts = 0;

  constructor(schema: unknown, rules: GrammarRules, refuse: (path: Path, problem: string) => never) {
    this.#schema = schema;
    this.#rules = rules;
    this.#refuse = refuse;
  }

  read(schema: unknown, path: Path): Node {
    this.#count(path);
    if (path.length > LIMITS.nesting) this.#refuse(path.slice(0, 8), `… goes deeper than ${LIMITS.nesting} levels`);
    if (schema === true) return ANY;
    if (!isJsonObject(schema)) {
      return this.#refuse(path, schema === false ? 'admits no value at all' : 'is no JSON Schema: expected an object');
    }
    const asked = this.#keywords(schema, path);
    const whole = WHOLE.find((name) => asked.includes(name));
    const node = whole === undefined ? this.#typed(schema, asked, path) : this.#whole(whole, schema, asked, path);
    if (node.ways < LIMITS.grammarWays) return node;
    return this.#refuse(path, 'has too many alternatives that begin alike, within each other');
  }

  #count(path: Path, more = 1): void {
    this.#parts += more;
    if (this.#parts > LIMITS.schemaParts)
      this.#refuse(path, `is one part too many: at most ${LIMITS.schemaParts} are read`);
  }

  /** Those that say something about the value. */
  #keywords(schema: JsonObject, path: Path): string[] {
    const asked = Object.keys(schema).filter((name) => {
      const isIdle = Object.hasOwn(IDLE, name) && schema[name] === IDLE[name];
      return !NOTES.has(name) && !name.startsWith('x-') && !isIdle && schema[name] !== undefined;
    });
    const unknown = asked.find((name) => !KNOWN.has(name));
    if (unknown !== undefined)
      this.#refuse([...path, unknown.slice(0, 64)], 'is not supported by this device’s grammar');
    return asked;
  }

  /** A keyword that says all about a value, so that none of the others may stand beside it. */
  #whole(name: (typeof WHOLE)[number], schema: JsonObject, asked: readonly string[], path: Path): Node {
    const allowed: readonly string[] = name === 'const' || name === 'enum' ? [name, 'type'] : [name];
    const other = asked.find((one) => !allowed.includes(one));
    if (other !== undefined) this.#refuse([...path, other], `is not supported beside ${name}`);
    const value = schema[name];
    if (name === 'const') return this.#values([value], schema, [...path, name]);
    if (name === '$ref') return this.#reference(value, [...path, name]);
    if (!Array.isArray(value) || value.length === 0)
      return this.#refuse([...path, name], 'is expected to be a list of one or more');
    if (name === 'enum') return this.#values(value, schema, [...path, name]);
    if (name === 'allOf') {
      if (value.length > 1)
        this.#refuse([...path, name], 'of several schemas is not supported by this device’s grammar');
      return this.read(value[0], [...path, name, 0]);
    }
    const nodes = value.map((one, i) => this.read(one, [...path, name, i]));
    if (name === 'oneOf') this.#refuseOverlap(value, nodes, [...path, name]);
    return this.#either(nodes);
  }

  #either(nodes: readonly Node[]): Node {
    const apart = [...new Map(nodes.map((node) => [node.rule, node])).values()];
    if (apart.length === 1) return apart[0]!;
    const kinds = new Set(apart.flatMap((node) => [...node.kinds]));
    // A text is of one type: only alternatives that may have it are read side by side.
    const side = [...kinds].map((kind) =>
      apart.filter((node) => node.kinds.has(kind)).reduce((sum, { ways }) => sum + ways, 0),
    );
    return { rule: this.#rules.add(either(apart.map(({ rule }) => rule))), kinds, ways: Math.max(...side) };
  }

  /** A value that two of `oneOf` admit is not valid. */
  #refuseOverlap(list: readonly unknown[], nodes: readonly Node[], path: Path): void {
    for (const [i, a] of nodes.entries()) {
      for (const [j, b] of nodes.slice(0, i).entries()) {
        if (![...a.kinds].some((kind) => b.kinds.has(kind)) || this.#areApart(list[i], list[j])) continue;
        this.#refuse(
          path,
          `has alternatives that one value may both fit (${j} and ${i}): use anyOf, or give each a required property with a const of its own`,
        );
      }
    }
  }

  /** By their constant values, or those of a property that both require. */
  #areApart(a: unknown, b: unknown): boolean {
    const [one, other] = [this.#target(a), this.#target(b)];
    const texts = (schema: JsonObject): string[] | null => {
      const values = 'const' in schema ? [schema.const] : schema.enum;
      return Array.isArray(values) ? values.map((value) => JSON.stringify(value)) : null;
    };
    const differ = (x: JsonObject, y: JsonObject): boolean => {
      const [xs, ys] = [texts(x), texts(y)];
      return xs !== null && ys !== null && !xs.some((value) => ys.includes(value));
    };
    if (differ(one, other)) return true;
    const required = (schema: JsonObject): string[] => (Array.isArray(schema.required) ? schema.required : []);
    return required(one).some((name) => {
      if (!required(other).includes(name) || !isJsonObject(one.properties) || !isJsonObject(other.properties))
        return false;
      return differ(this.#target(one.properties[name]), this.#target(other.properties[name]));
    });
  }

  /** Where references lead; an empty object for what is none. */
  #target(schema: unknown): JsonObject {
    let found = schema;
    for (let i = 0; i < 8 && isJsonObject(found) && typeof found.$ref === 'string'; i++) found = this.#at(found.$ref);
    return isJsonObject(found) ? found : {};
  }

  #at(pointer: string): unknown {
    if (!/^#(\/|$)/.test(pointer)) return undefined;
    let found: unknown = this.#schema;
    for (const part of pointer.split('/').slice(1)) {
      let name = part;
      try {
        name = decodeURIComponent(part);
      } catch {} // as it stands
      name = name.replaceAll('~1', '/').replaceAll('~0', '~');
      const isThere = typeof found === 'object' && found !== null && Object.hasOwn(found, name);
      found = isThere ? (found as JsonObject)[name] : undefined;
    }
    return found;
  }

  #reference(pointer: unknown, path: Path): Node {
    const target = typeof pointer === 'string' ? this.#at(pointer) : undefined;
    if (target === undefined)
      return this.#refuse(path, 'is expected to be a place of this schema that is there, such as #/$defs/name');
    const known = this.#referred.get(pointer as string);
    if (known !== undefined) return known;
    const rule = this.#rules.reserve();
    this.#referred.set(pointer as string, { rule, kinds: ANY.kinds, ways: WAYS_WITHIN });
    const node = this.read(target, path);
    // A rule that is nothing but itself would be read for ever.
    if (node.rule === rule) return this.#refuse(path, 'leads to itself');
    this.#rules.define(rule, node.rule);
    // Within itself it may not be deeper than the text is long.
    const found = { ...node, rule, ways: node.ways >= WAYS_WITHIN ? Math.max(1, node.ways - WAYS_WITHIN) : node.ways };
    this.#referred.set(pointer as string, found);
    return found;
  }

  #values(list: readonly unknown[], schema: JsonObject, path: Path): Node {
    const types = 'type' in schema ? this.#types(schema, path.slice(0, -1)) : TYPES;
    const fitting = list.filter((value) => types.some((type) => isOf(value, type)));
    if (fitting.length === 0) this.#refuse(path, 'has no value of the type');
    this.#count(path, fitting.length);
    const texts = fitting.map((value) => JSON.stringify(value));
    // Values that begin alike are read side by side, as long as they do.
    return { rule: this.#rules.add(either(texts.map(literal))), kinds: new Set(fitting.map(kindOf)), ways: 1 };
  }

  #types(schema: JsonObject, path: Path): Type[] {
    const list = Array.isArray(schema.type) ? schema.type : [schema.type];
    const isKnown = (type: unknown): type is Type => TYPES.includes(type as Type);
    if (list.length > 0 && list.every(isKnown)) return list;
    return this.#refuse([...path, 'type'], `is expected to be one of ${TYPES.join(', ')}, or a list of them`);
  }

  /** By its type; without one, by the keywords that are there. */
  #typed(schema: JsonObject, asked: readonly string[], path: Path): Node {
    if (asked.length === 0) return ANY;
    const about = TYPED.filter(([, names]) => names.some((name) => asked.includes(name))).map(([type]) => type);
    const types = asked.includes('type') ? this.#types(schema, path) : about;
    return this.#either(types.map((type) => this.#ofType(type, schema, path)));
  }

  #ofType(type: Type, schema: JsonObject, path: Path): Node {
    if (type === 'object') return this.#object(schema, path);
    if (type === 'array') return this.#array(schema, path);
    const kinds = new Set([type === 'integer' ? 'number' : type]);
    if (type === 'boolean') return { rule: this.#rules.add('"true" | "false"'), kinds, ways: 1 };
    if (type === 'null') return { rule: literal('null'), kinds, ways: 1 };
    return { rule: type === 'string' ? this.#string(schema, path) : this.#number(type, schema, path), kinds, ways: 1 };
  }

  #object(schema: JsonObject, path: Path): Node {
    const { properties = {}, required = [], additionalProperties: more = true } = schema;
    if (!isJsonObject(properties))
      return this.#refuse([...path, 'properties'], 'is expected to be an object of schemas');
    if (!Array.isArray(required) || !required.every((name) => typeof name === 'string')) {
      return this.#refuse([...path, 'required'], 'is expected to be a list of names');
    }
    const kinds = new Set(['object']);
    const missing = [...new Set<string>(required)].filter((name) => !Object.hasOwn(properties, name));
    const names = [...Object.keys(properties), ...missing];
    if (missing.length > 0 && more === false) {
      this.#refuse(
        [...path, 'required'],
        `names ${JSON.stringify(missing[0]!.slice(0, 64))}, which is no property of this object`,
      );
    }
    const others = () => this.read(more, [...path, 'additionalProperties']);
    if (names.length === 0) {
      if (more === true) return { rule: 'object', kinds, ways: 1 };
      if (more === false) return { rule: this.#rules.add('"{" ws "}"'), kinds, ways: 1 };
      const { rule, ways } = others();
      const pair = `str ":" ws ${rule}`;
      return { rule: this.#rules.add(`"{" ws (${pair} (ws "," ws ${pair})* ws)? "}"`), kinds, ways };
    }
    const nodes = names.map((name) =>
      Object.hasOwn(properties, name) ? this.read(properties[name], [...path, 'properties', name]) : others(),
    );
    const isRequired = names.map((name) => required.includes(name));
    // From the last property back: what may come from each on, and whether something must.
    let next: string | null = null;
    let mustGoOn = false;
    for (let i = names.length - 1; i >= 0; i--) {
      const pair = `${literal(`${JSON.stringify(names[i])}:`)} ws ${nodes[i]!.rule}`;
      const after: string = next === null ? 'ws' : mustGoOn ? `ws "," ws ${next}` : `ws ("," ws ${next})?`;
      const here: string = `${pair} ${after}`;
      next = this.#rules.add(isRequired[i] || next === null ? here : `${here} | ${next}`);
      mustGoOn ||= isRequired[i]!;
    }
    const rule = this.#rules.add(mustGoOn ? `"{" ws ${next} "}"` : `"{" ws ${next}? "}"`);
    return { rule, kinds, ways: Math.max(...nodes.map(({ ways }) => ways)) };
  }

  #array(schema: JsonObject, path: Path): Node {
    const { items, prefixItems = [] } = schema;
    if (!Array.isArray(prefixItems))
      return this.#refuse([...path, 'prefixItems'], 'is expected to be a list of schemas');
    const [min, max] = [
      this.#length('minItems', schema, path, 0),
      this.#length('maxItems', schema, path, Number.POSITIVE_INFINITY),
    ];
    if (min > max) this.#refuse([...path, 'minItems'], 'is more than maxItems');
    const kinds = new Set(['array']);
    const first = prefixItems.slice(0, max).map((one, i) => this.read(one, [...path, 'prefixItems', i]));
    // A list with a schema for its first items has those; more only where they are spoken of, or needed.
    const isOpen = items !== false && (prefixItems.length === 0 || items !== undefined || min > first.length);
    if (!isOpen && min > first.length) this.#refuse([...path, 'minItems'], 'is more than the items that are allowed');
    const item = isOpen && max > first.length ? this.read(items ?? true, [...path, 'items']) : null;
    const ways = Math.max(1, ...[...first, ...(item === null ? [] : [item])].map((node) => node.ways));
    const parts = first.map(({ rule }) => rule).join(' ws "," ws ');
    if (item === null)
      return { rule: this.#rules.add(parts === '' ? '"[" ws "]"' : `"[" ws ${parts} ws "]"`), kinds, ways };
    const [least, most] = [Math.max(0, min - first.length), max - first.length];
    const another = this.#rules.add(`ws "," ws ${item.rule}`);
    if (parts !== '') {
      return {
        rule: this.#rules.add(`"[" ws ${parts} ${this.#rules.repeated(another, least, most)} ws "]"`),
        kinds,
        ways,
      };
    }
    const all = `${item.rule} ${this.#rules.repeated(another, Math.max(0, least - 1), most - 1)} ws`;
    return { rule: this.#rules.add(least > 0 ? `"[" ws ${all} "]"` : `"[" ws (${all})? "]"`), kinds, ways };
  }

  #string(schema: JsonObject, path: Path): string {
    const { format } = schema;
    const [min, max] = [
      this.#length('minLength', schema, path, 0),
      this.#length('maxLength', schema, path, Number.POSITIVE_INFINITY),
    ];
    if (format !== undefined) {
      const known = typeof format === 'string' && Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
      if (known === undefined) this.#refuse([...path, 'format'], `is not one of ${Object.keys(FORMATS).join(', ')}`);
      if (min > 0 || max < Number.POSITIVE_INFINITY)
        this.#refuse([...path, 'format'], 'is not supported beside minLength or maxLength');
      return this.#rules.add(`"\\"" ${known} "\\""`);
    }
    if (min > max) this.#refuse([...path, 'minLength'], 'is more than maxLength');
    if (min === 0 && max === Number.POSITIVE_INFINITY) return 'str';
    return this.#rules.add(`"\\"" ${this.#rules.repeated('chr', min, max)} "\\""`);
  }

  #length(name: string, schema: JsonObject, path: Path, absent: number): number {
    const value = schema[name];
    if (value === undefined) return absent;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    return this.#refuse([...path, name], 'is expected to be a whole number, 0 or more');
  }

  #number(type: 'number' | 'integer', schema: JsonObject, path: Path): string {
    for (const name of KEPT.number) {
      const value = schema[name];
      if (value === undefined) continue;
      if (typeof value !== 'number') this.#refuse([...path, name], 'is expected to be a number');
      const isRead =
        name === 'multipleOf' ? value === 1 && type === 'integer' : type === 'integer' || Number.isInteger(value);
      if (!isRead) {
        const but = name === 'multipleOf' ? 'but for 1 of integers' : 'but for whole numbers';
        this.#refuse([...path, name], `${value} is not supported by this device’s grammar, ${but}`);
      }
    }
    // Beyond the digits that a grammar's number has, a bound is none.
    const bound = (name: string): number | undefined => {
      const value = schema[name] as number | undefined;
      return value === undefined || Math.abs(value) < 10 ** MOST_DIGITS ? value : value * Number.POSITIVE_INFINITY;
    };
    const [minimum, exclusiveMinimum] = [bound('minimum'), bound('exclusiveMinimum')];
    const [maximum, exclusiveMaximum] = [bound('maximum'), bound('exclusiveMaximum')];
    const bounds: Bounds = {
      min: Math.max(minimum ?? Number.NEGATIVE_INFINITY, exclusiveMinimum ?? Number.NEGATIVE_INFINITY),
      max: Math.min(maximum ?? Number.POSITIVE_INFINITY, exclusiveMaximum ?? Number.POSITIVE_INFINITY),
      aboveMin: exclusiveMinimum !== undefined && exclusiveMinimum >= (minimum ?? Number.NEGATIVE_INFINITY),
      belowMax: exclusiveMaximum !== undefined && exclusiveMaximum <= (maximum ?? Number.POSITIVE_INFINITY),
    };
    if (!Number.isFinite(bounds.min) && !Number.isFinite(bounds.max)) return type === 'integer' ? 'int' : 'num';
    const body = type === 'integer' ? integerBetween(bounds) : numberBetween(bounds);
    return body === null ? this.#refuse(path, 'has bounds that no number is between') : this.#rules.add(body);
  }
}

const ANY: Node = {
  rule: 'value',
  kinds: new Set(['object', 'array', 'string', 'number', 'boolean', 'null']),
  ways: 1,
};

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

function isOf(value: unknown, type: Type): boolean {
  return type === 'integer' ? Number.isInteger(value) : kindOf(value) === type;
}
