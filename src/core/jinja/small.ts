/**
 * Templates that cannot run away: what they compute and write is at most so many times as much as they are given. They need no process
 * of their own.
 */

import type { Arguments, Expression, Statement } from './ast.js';
import { DIALECTS, type Dialect } from './dialect.js';
import { parse } from './parser.js';

/** Expressions of such a template: each reads, or writes, what it is given once at most. */
const MOST_EXPRESSIONS = 200;

/** Whose result is no longer than what they are of, in time in proportion to it. */
const METHODS = new Set([
  'strip',
  'lstrip',
  'rstrip',
  'lower',
  'upper',
  'capitalize',
  'title',
  'startswith',
  'endswith',
]);
const FILTERS = new Set(['trim', 'lower', 'upper', 'capitalize', 'title', 'length', 'count', 'first', 'last', 'int']);

/**
 * Whether a template has no loop, macro or assignment, no product, and no call but of METHODS and FILTERS, and is short. A template that is none has
 * no small form either.
 */
export function isSmallTemplate(source: string, dialect: Dialect): boolean {
  if (source.length > 20_000) return false;
  let count = 0;
  try {
    return parse(source, DIALECTS[dialect]).every(isSmallStatement);
  } catch {
    return false;
  }

  function isSmallStatement(statement: Statement): boolean {
    if (statement.kind === 'text') return true;
    if (statement.kind === 'output') return isSmall(statement.value);
    if (statement.kind !== 'if') return false;
    return (
      isSmall(statement.test) && statement.body.every(isSmallStatement) && statement.otherwise.every(isSmallStatement)
    );
  }

  function isSmall(expression: Expression | undefined): boolean {
    if (expression === undefined) return true;
    if (++count > MOST_EXPRESSIONS) return false;
    switch (expression.kind) {
      case 'constant':
      case 'float':
      case 'name':
        return true;
      case 'attribute':
      case 'not':
        return isSmall(expression.of);
      case 'item':
        return isSmall(expression.of) && isSmall(expression.index);
      case 'list':
      case 'tuple':
        return expression.items.every(isSmall);
      case 'conditional':
        return [expression.test, expression.yes, expression.no].every(isSmall);
      case 'and':
      case 'or':
        return isSmall(expression.left) && isSmall(expression.right);
      case 'compare':
        return isSmall(expression.first) && expression.rest.every(([, right]) => isSmall(right));
      case 'arithmetic':
        return '+-'.includes(expression.operator) && isSmall(expression.left) && isSmall(expression.right);
      case 'concatenation':
        return expression.items.every(isSmall);
      case 'test':
        return hasNone(expression.args) && isSmall(expression.of);
      case 'filter':
        return FILTERS.has(expression.name) && hasNone(expression.args) && isSmall(expression.of);
      case 'call': {
        const { callee, args } = expression;
        return callee.kind === 'attribute' && METHODS.has(callee.name) && isSmall(callee.of) && isSmallArguments(args);
      }
      default:
        return false;
    }
  }

  function isSmallArguments({ positional, named, spread, namedSpread }: Arguments): boolean {
    return named.length === 0 && spread === undefined && namedSpread === undefined && positional.every(isSmall);
  }
}

const hasNone = ({ positional, named, spread, namedSpread }: Arguments): boolean =>
  positional.length === 0 && named.length === 0 && spread === undefined && namedSpread === undefined;
