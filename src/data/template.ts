/**
 * Jinja templates over a record's fields, as lm-evaluation-harness uses them, but strict: a field that the record lacks
 * is an error instead of an empty text.
 */

import { Template } from '@huggingface/jinja';
import { CrayonError, reasonOf } from '../core/errors.js';

export type DataRecord = Readonly<Record<string, unknown>>;

/** Turns a record into a value. Throws a plain Error whose message says what the record lacks. */
export type RecordFunction<T> = (record: DataRecord) => T;

const BUILT_IN = new Set('range loop true false none True False None namespace raise_exception'.split(' '));

/**
 * A template that gives text. Like in lm-eval, a template that is just the name of a field gives that field.
 *
 * @param where file and key, for errors
 * @throws CrayonError `yaml-invalid` when the template has a syntax error
 */
export function textTemplate(source: string, where: string): RecordFunction<string> {
  const evaluate = compile(source, where);
  return (record) => {
    const value = Object.hasOwn(record, source) ? record[source] : evaluate(record);
    if (typeof value !== 'string') throw new Error(`field "${source}" is not text`);
    return value;
  };
}

/** A template of one expression, `{{ ... }}`, or a field's name, that gives any value: a list, a number, a text. */
export function valueTemplate(source: string, where: string): RecordFunction<unknown> {
  const [, expression] = /^\s*\{\{(?!.*\}\}.)(.*)\}\}\s*$/s.exec(source) ?? [];
  if (expression === undefined) return textTemplate(source, where);
  // A template can only give text, so the value travels as JSON.
  const evaluate = compile(`{{ (${expression.trim()}) | tojson }}`, where);
  return (record) => JSON.parse(evaluate(record));
}

function compile(source: string, where: string): RecordFunction<string> {
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw new CrayonError('yaml-invalid', `${where}: not a valid template (${reasonOf(error)})`, { cause: error });
  }
  const fields = [...freeNames(template.parsed)];
  return (record) => {
    const missing = fields.find((name) => !Object.hasOwn(record, name));
    if (missing !== undefined) {
      throw new Error(`has no field "${missing}" (it has ${Object.keys(record).slice(0, 10).join(', ')})`);
    }
    return template.render({ ...record });
  };
}

/** Names that a parsed template takes from its surroundings: those it neither sets nor loops over. */
function freeNames(program: unknown): Set<string> {
  const used = new Set<string>();
  const bound = new Set(BUILT_IN);
  const visit = (node: unknown): void => {
    if (node instanceof Map) {
      for (const [key, value] of node) {
        visit(key);
        visit(value);
      }
    } else if (Array.isArray(node)) node.forEach(visit);
    else if (typeof node === 'object' && node !== null) visitNode(node as Record<string, unknown>);
  };
  const bind = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { type, value } = node as Record<string, unknown>;
    if (type === 'Identifier') bound.add(String(value));
    else if (Array.isArray(value)) value.forEach(bind);
  };
  const visitNode = (node: Record<string, unknown>): void => {
    switch (node.type) {
      case 'Identifier':
        used.add(String(node.value));
        return;
      case 'MemberExpression':
        visit(node.object);
        if (node.computed) visit(node.property); // x.name has no free name
        return;
      case 'FilterExpression':
        visit(node.operand);
        visit((node.filter as Record<string, unknown>).args);
        return;
      case 'TestExpression':
        visit(node.operand);
        return;
      case 'KeywordArgumentExpression':
        visit(node.value);
        return;
      case 'Set':
        bind(node.assignee);
        visit([node.value, node.body]);
        return;
      case 'For':
        bind(node.loopvar);
        visit([node.iterable, node.body, node.defaultBlock]);
        return;
      default: {
        const { operator: _, ...parts } = node; // `and` and `in` look like names
        visit(Object.values(parts));
      }
    }
  };
  visit(program);
  return new Set([...used].filter((name) => !bound.has(name)));
}
