/**
 * Jinja templates with Python's semantics: what jinja2 renders, or a refusal that names what we lack. The tree of parser.ts becomes
 * functions once; rendering calls them.
 */

import { arithmetic, negative } from './arithmetic.js';
import type { Arguments, Expression, Signature, Statement } from './ast.js';
import { type Access, DIALECTS, type Dialect } from './dialect.js';
import { filterNamed } from './filters.js';
import { globals, loopMembers } from './globals.js';
import { attribute, entries, item } from './methods.js';
import { parse } from './parser.js';
import { assigner, BODY, CALLER, compares, Scope, type Variables } from './scope.js';
import { testNamed } from './tests.js';
import {
  type Callable,
  defined,
  float,
  listOf,
  Members,
  type Named,
  refuse,
  Slice,
  setKey,
  str,
  Tuple,
  truth,
  typeName,
  Undefined,
} from './values.js';

export interface Template {
  /** @throws TemplateError for what Python would refuse, and for what is not supported */
  render(variables: Variables): string;
}

type Evaluate = (scope: Scope) => unknown;
/** Writes into `out`; whether the loop around goes on, ends, or goes to its next item. */
type Run = (scope: Scope, out: string[]) => Signal;
type Signal = 'break' | 'continue' | undefined;
type Call = (scope: Scope, extra?: Named) => [positional: unknown[], named: Map<string, unknown>];

/** @throws Error for a syntax error, TemplateError for a filter, a test or a statement that is not supported */
export function compileTemplate(source: string, dialect: Dialect): Template {
  const settings = DIALECTS[dialect];
  const context = { isStrict: false, isSandboxed: false, ...settings };
  const run = onStack(() => new Compiler(context).block(parse(source, settings)));
  return {
    render(variables) {
      const out: string[] = [];
      onStack(() => run(new Scope(undefined, variables), out));
      return out.join('');
    },
  };
}

/** Chains of ten thousand operators, and macros that call themselves, end as Python ends them. */
function onStack<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof RangeError) refuse('too deep: operators in a chain, or macros within each other');
    throw error;
  }
}

class Compiler {
  readonly #context: Access;
  readonly #globals: ReadonlyMap<string, unknown>;
  /** Names read since the loop or macro began that is being compiled. */
  #read = new Set<string>();

  constructor(context: Access) {
    this.#context = context;
    this.#globals = globals();
  }

  block(statements: readonly Statement[]): Run {
    const runs = statements.map((statement) => this.#statement(statement));
    if (runs.length === 1) return runs[0]!;
    return (scope, out) => {
      for (const run of runs) {
        const signal = run(scope, out);
        if (signal !== undefined) return signal;
      }
      return undefined;
    };
  }

  /** Compiles, and says which names were read within. */
  #reading<T>(compile: () => T): [T, Set<string>] {
    const around = this.#read;
    this.#read = new Set();
    const made = compile();
    const within = this.#read;
    for (const name of within) around.add(name);
    this.#read = around;
    return [made, within];
  }

  #statement(node: Statement): Run {
    switch (node.kind) {
      case 'text':
        return (_, out) => void out.push(node.text);
      case 'output': {
        const value = this.#expression(node.value);
        return (scope, out) => void out.push(str(value(scope)));
      }
      case 'if': {
        const [test, body, otherwise] = [
          this.#expression(node.test),
          this.block(node.body),
          this.block(node.otherwise),
        ];
        return (scope, out) => (truth(test(scope)) ? body : otherwise)(scope, out);
      }
      case 'for':
        return this.#loop(node);
      case 'set': {
        const [value, assign] = [this.#expression(node.value), assigner(node.target)];
        return (scope) => assign(scope, value(scope));
      }
      case 'setBlock': {
        const [assign, written] = [assigner(node.target), this.#captured(node.body, node.filter)];
        return (scope) => assign(scope, written(scope));
      }
      case 'filterBlock': {
        const written = this.#captured(node.body, node.filter);
        return (scope, out) => void out.push(str(written(scope)));
      }
      case 'macro': {
        const macro = this.#macro(node.name, node.signature, node.body);
        return (scope) => {
          scope.vars.set(node.name, macro(scope));
          return undefined;
        };
      }
      case 'callBlock': {
        const [call, caller] = [this.#expression(node.call), this.#macro('caller', node.signature, node.body)];
        return (scope, out) => {
          const inner = scope.inner();
          inner.vars.set(CALLER, caller(scope));
          out.push(str(call(inner)));
          return undefined;
        };
      }
      case 'with': {
        const sets = node.sets.map(([target, value]) => [assigner(target), this.#expression(value)] as const);
        const body = this.block(node.body);
        return (scope, out) => {
          const inner = scope.inner();
          for (const [assign, value] of sets) assign(inner, value(scope));
          return body(inner, out);
        };
      }
      default:
        return () => node.kind;
    }
  }

  #captured(body: readonly Statement[], filter: Expression | undefined): Evaluate {
    const run = this.block(body);
    const apply = filter === undefined ? undefined : this.#expression(filter);
    return (scope) => {
      const out: string[] = [];
      const inner = scope.inner();
      run(inner, out);
      if (apply === undefined) return out.join('');
      inner.vars.set(BODY, out.join(''));
      return apply(inner);
    };
  }

  #loop(node: Statement & { kind: 'for' }): Run {
    const over = this.#expression(node.over);
    const assign = assigner(node.target);
    const test = node.test === undefined ? undefined : this.#expression(node.test);
    const [body, read] = this.#reading(() => this.block(node.body));
    const otherwise = this.block(node.otherwise);
    const usesLoop = read.has('loop');
    const iterate = (values: unknown, scope: Scope, out: string[], depth: number): Signal => {
      let items = listOf(values);
      if (test !== undefined) {
        items = items.filter((value) => {
          const inner = scope.inner();
          assign(inner, value);
          return truth(test(inner));
        });
      } else if (Array.isArray(values)) items = [...items]; // a body may append
      if (items.length === 0) return otherwise(scope.inner(), out);
      const again: Callable | undefined = node.recursive
        ? ([more]) => {
            const text: string[] = [];
            iterate(more, scope, text, depth + 1);
            return text.join('');
          }
        : undefined;
      const loop = usesLoop ? loopMembers(items, depth, again, this.#context.isStrict) : undefined;
      for (let i = 0; i < items.length; i++) {
        const inner = scope.inner();
        if (loop !== undefined) inner.vars.set('loop', loop(i));
        assign(inner, items[i]);
        if (body(inner, out) === 'break') break;
      }
      return undefined;
    };
    return (scope, out) => iterate(over(scope), scope, out, 0);
  }

  /** Gives the macro in a scope, which it sees. */
  #macro(title: string, { names, defaults }: Signature, statements: readonly Statement[]): (scope: Scope) => Callable {
    const byDefault = defaults.map((value) => this.#expression(value));
    const [body, read] = this.#reading(() => this.block(statements));
    const first = names.length - byDefault.length;
    return (scope) => (args, named) => {
      const inner = scope.inner();
      const rest = new Map(named);
      names.forEach((name, i) => {
        let value = args[i];
        if (value === undefined && rest.has(name)) value = rest.get(name);
        else if (rest.has(name)) refuse(`${title}() with "${name}" twice`);
        rest.delete(name);
        value ??= i >= first && value === undefined ? byDefault[i - first]!(inner) : value;
        inner.vars.set(name, value === undefined ? this.#undefined(`the parameter "${name}" was not provided`) : value);
      });
      if (read.has('caller') && !names.includes('caller')) {
        inner.vars.set('caller', rest.get('caller') ?? this.#undefined('no caller defined'));
        rest.delete('caller');
      }
      if (read.has('varargs')) inner.vars.set('varargs', new Tuple(args.slice(names.length)));
      else if (args.length > names.length) refuse(`${title}() takes not more than ${names.length} arguments`);
      if (read.has('kwargs')) inner.vars.set('kwargs', rest);
      else if (rest.size > 0) refuse(`${title}() takes no argument "${[...rest.keys()][0]}"`);
      const out: string[] = [];
      body(inner, out);
      return out.join('');
    };
  }

  #undefined(problem: string): Undefined {
    return new Undefined(problem, this.#context.isStrict);
  }

  #expression(node: Expression): Evaluate {
    switch (node.kind) {
      case 'constant':
        return () => node.value;
      case 'float':
        return () => float(node.value);
      case 'name':
        return this.#name(node.name);
      case 'list':
      case 'tuple': {
        const items = node.items.map((one) => this.#expression(one));
        const isTuple = node.kind === 'tuple';
        return (scope) => {
          const values = items.map((one) => one(scope));
          return isTuple ? new Tuple(values) : values;
        };
      }
      case 'dict': {
        const pairs = node.pairs.map((pair) => pair.map((one) => this.#expression(one)) as [Evaluate, Evaluate]);
        return (scope) => {
          const made = new Map();
          for (const [key, value] of pairs) setKey(made, key(scope), value(scope));
          return made;
        };
      }
      case 'conditional': {
        const [test, yes] = [this.#expression(node.test), this.#expression(node.yes)];
        const no =
          node.no === undefined ? () => new Undefined('the inline if has no else', false) : this.#expression(node.no);
        return (scope) => (truth(test(scope)) ? yes : no)(scope);
      }
      case 'and':
      case 'or': {
        const [left, right] = [this.#expression(node.left), this.#expression(node.right)];
        const isOr = node.kind === 'or';
        return (scope) => {
          const value = left(scope);
          return truth(value) === isOr ? value : right(scope);
        };
      }
      case 'not': {
        const of = this.#expression(node.of);
        return (scope) => !truth(of(scope));
      }
      case 'negative':
      case 'positive': {
        const of = this.#expression(node.of);
        return node.kind === 'negative' ? (scope) => negative(of(scope)) : (scope) => negative(negative(of(scope)));
      }
      case 'compare': {
        const first = this.#expression(node.first);
        const rest = node.rest.map(([operator, right]) => [compares(operator), this.#expression(right)] as const);
        return (scope) => {
          let left = first(scope);
          for (const [holds, right] of rest) {
            const value = right(scope);
            if (!holds(left, value)) return false;
            left = value;
          }
          return true;
        };
      }
      case 'arithmetic': {
        const [left, right] = [this.#expression(node.left), this.#expression(node.right)];
        return (scope) => arithmetic(node.operator, left(scope), right(scope));
      }
      case 'concatenation': {
        const items = node.items.map((one) => this.#expression(one));
        return (scope) => items.map((one) => str(one(scope))).join('');
      }
      case 'attribute': {
        const of = this.#expression(node.of);
        return (scope) => attribute(of(scope), node.name, this.#context);
      }
      case 'item': {
        const [of, index] = [this.#expression(node.of), this.#expression(node.index)];
        return (scope) => item(of(scope), index(scope), this.#context);
      }
      case 'slice': {
        const parts = node.parts.map((one) => (one === undefined ? () => null : this.#expression(one)));
        return (scope) => new Slice(parts.map((one) => one(scope)));
      }
      case 'call': {
        const [callee, args] = [this.#expression(node.callee), this.#arguments(node.args)];
        return (scope) => {
          const value = callee(scope);
          const caller = scope.vars.get(CALLER);
          scope.vars.delete(CALLER);
          const [positional, named] = args(scope);
          if (caller !== undefined) named.set('caller', caller);
          const call = value instanceof Members ? value.call : value;
          if (typeof call !== 'function') return refuse(`a ${typeName(defined(value))} is called`);
          return (call as Callable)(positional, named);
        };
      }
      case 'filter': {
        const apply = filterNamed(node.name, this.#context);
        const of = node.of === undefined ? (scope: Scope) => scope.vars.get(BODY) : this.#expression(node.of);
        const args = this.#arguments(node.args);
        return (scope) => apply(of(scope), ...args(scope), this.#context);
      }
      case 'test': {
        const [test, of, args] = [testNamed(node.name), this.#expression(node.of), this.#arguments(node.args)];
        return (scope) => {
          const [positional, named] = args(scope);
          if (named.size > 0) refuse(`the test "${node.name}" with named arguments`);
          return test(of(scope), ...positional);
        };
      }
    }
  }

  #name(name: string): Evaluate {
    this.#read.add(name);
    if (name === 'self') return () => refuse('"self" is not supported');
    return (start) => {
      for (let scope: Scope | undefined = start; scope !== undefined; scope = scope.parent) {
        const value = scope.vars.get(name);
        if (value !== undefined) return value;
      }
      const value = start.root(name);
      return value === undefined ? (this.#globals.get(name) ?? this.#undefined(`"${name}" is undefined`)) : value;
    };
  }

  #arguments({ positional, named, spread, namedSpread }: Arguments): Call {
    const values = positional.map((one) => this.#expression(one));
    const pairs = named.map(([name, one]) => [name, this.#expression(one)] as const);
    const [list, map] = [spread, namedSpread].map((one) => (one === undefined ? undefined : this.#expression(one)));
    return (scope) => {
      const all = values.map((one) => one(scope));
      if (list !== undefined) all.push(...listOf(list(scope)));
      const byName = new Map(pairs.map(([name, one]) => [name, one(scope)]));
      if (map !== undefined) {
        for (const [key, value] of entries(map(scope))) {
          if (typeof key !== 'string' || byName.has(key)) refuse(`an argument named ${str(key)}, by **`);
          byName.set(key as string, value);
        }
      }
      return [all, byName];
    };
  }
}
