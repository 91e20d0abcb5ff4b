/** Jinja source as a tree, with the grammar and the precedences of jinja2's parser (3.1, `parser.py`). */

import type { Arguments, Expression, Signature, Statement, Target } from './ast.js';
import { Cursor } from './cursor.js';
import { type LexerSettings, tokenize } from './lexer.js';

export interface ParserSettings extends LexerSettings {
  /** `break` and `continue`. */
  loopControls?: boolean;
  /** `generation`, with which transformers marks what an assistant said. */
  generation?: boolean;
}

const CONSTANTS = new Map<string, boolean | null>(
  Object.entries({ true: true, True: true, false: false, False: false, none: null, None: null }),
);
const RESERVED = new Set([...CONSTANTS.keys()]);
const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='];

/** @throws Error for what jinja2 would refuse, and for statements that need other files */
export function parse(source: string, settings: ParserSettings = {}): Statement[] {
  const cursor = new Cursor(tokenize(source, settings));
  let loops = 0;
  return block([]);

  function block(ends: readonly string[]): Statement[] {
    const body: Statement[] = [];
    for (;;) {
      const token = cursor.current;
      if (token.type === 'eof') {
        if (ends.length > 0) cursor.fail(`the template ends without ${ends.join(' or ')}`);
        return body;
      }
      cursor.skip();
      if (token.type === 'data') body.push({ kind: 'text', text: token.text });
      else if (token.type === 'open') {
        body.push({ kind: 'output', value: tuple() });
        cursor.expect('close');
      } else {
        if (cursor.isWord(...ends)) return body;
        const made = cursor.nested(statement);
        body.push(...made);
        cursor.expect('end');
      }
    }
  }

  /** A block's body after the end of its tag; the tag that ends it is taken but for its `%}`. */
  function body(...ends: string[]): Statement[] {
    cursor.take(cursor.isOperator(':'));
    cursor.expect('end');
    return block(ends);
  }

  function statement(): Statement[] {
    const token = cursor.expect('name');
    switch (token.text) {
      case 'if':
        return [conditional()];
      case 'for':
        return [loop()];
      case 'set':
        return [assignment()];
      case 'macro': {
        const { text: name } = cursor.expect('name');
        return [{ kind: 'macro', name, signature: signature(), body: ended('endmacro', true) }];
      }
      case 'call': {
        const parameters = cursor.isOperator('(') ? signature() : { names: [], defaults: [] };
        const call = unary();
        if (call.kind !== 'call') cursor.fail('{% call %} without a call', token);
        return [{ kind: 'callBlock', call, signature: parameters, body: ended('endcall', true) }];
      }
      case 'filter':
        return [{ kind: 'filterBlock', filter: filters(undefined, true)!, body: ended('endfilter') }];
      case 'with': {
        const sets: Array<[Target, Expression]> = [];
        while (!cursor.is('end')) {
          if (sets.length > 0) cursor.operator(',');
          const to = target();
          cursor.operator('=');
          sets.push([to, expression()]);
        }
        return [{ kind: 'with', sets, body: ended('endwith') }];
      }
      case 'break':
      case 'continue':
        if (settings.loopControls === true && loops > 0) return [{ kind: token.text }];
        return cursor.fail(
          `{% ${token.text} %} ${settings.loopControls === true ? 'outside of a loop' : 'is not known'}`,
          token,
        );
      case 'generation':
        if (settings.generation === true) return [{ kind: 'with', sets: [], body: ended('endgeneration') }];
    }
    return cursor.fail(`{% ${token.text} %} is not supported`, token);
  }

  /** @param isFunction whether `break` within it has no loop */
  function ended(end: string, isFunction = false): Statement[] {
    const around = loops;
    if (isFunction) loops = 0;
    const statements = body(end);
    loops = around;
    cursor.skip();
    return statements;
  }

  function conditional(): Statement {
    const test = tuple(false);
    const then = body('elif', 'else', 'endif');
    const { text: end } = cursor.next();
    if (end === 'elif') return { kind: 'if', test, body: then, otherwise: [cursor.nested(conditional)] };
    return { kind: 'if', test, body: then, otherwise: end === 'else' ? ended('endif') : [] };
  }

  function loop(): Statement {
    const to = target(['in']);
    cursor.expect('name', 'in');
    const over = tuple(false, ['recursive', 'if']);
    const test = cursor.take(cursor.isWord('if')) ? expression() : undefined;
    const recursive = cursor.take(cursor.isWord('recursive'));
    loops++;
    const statements = body('endfor', 'else');
    loops--;
    const otherwise = cursor.next().text === 'else' ? ended('endfor') : [];
    return { kind: 'for', target: to, over, test, recursive, body: statements, otherwise };
  }

  function assignment(): Statement {
    const to = target([], true);
    if (cursor.take(cursor.isOperator('='))) return { kind: 'set', target: to, value: tuple() };
    const filter = filters(undefined);
    return { kind: 'setBlock', target: to, filter, body: ended('endset') };
  }

  function target(ends: readonly string[] = [], withMembers = false): Target {
    const one = (): Target => {
      if (cursor.take(cursor.isOperator('('))) {
        const inner = target([], withMembers);
        cursor.operator(')');
        return inner;
      }
      const token = cursor.expect('name');
      if (RESERVED.has(token.text)) cursor.fail(`"${token.text}" cannot be set`, token);
      if (!withMembers || !cursor.take(cursor.isOperator('.'))) return { kind: 'name', name: token.text };
      return { kind: 'member', of: token.text, name: cursor.expect('name').text };
    };
    const items = [one()];
    if (!cursor.isOperator(',')) return items[0]!;
    while (cursor.take(cursor.isOperator(','))) {
      if (cursor.isOperator('=', ')') || cursor.is('end') || cursor.isWord(...ends)) break;
      items.push(one());
    }
    return { kind: 'tuple', items };
  }

  function signature(): Signature {
    const made: Signature = { names: [], defaults: [] };
    cursor.operator('(');
    while (!cursor.isOperator(')')) {
      if (made.names.length > 0) cursor.operator(',');
      const token = cursor.expect('name');
      if (RESERVED.has(token.text) || made.names.includes(token.text))
        cursor.fail(`the parameter "${token.text}"`, token);
      made.names.push(token.text);
      if (cursor.take(cursor.isOperator('='))) made.defaults.push(expression());
      else if (made.defaults.length > 0) cursor.fail('a parameter without default after one with', token);
    }
    cursor.operator(')');
    return made;
  }

  function tuple(withConditional = true, ends: readonly string[] = [], inParentheses = false): Expression {
    const items: Expression[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length > 0) cursor.operator(',');
      if (cursor.is('close') || cursor.is('end') || cursor.isOperator(')') || cursor.isWord(...ends)) break;
      items.push(expression(withConditional));
      if (!cursor.isOperator(',')) break;
      isTuple = true;
    }
    if (isTuple) return { kind: 'tuple', items };
    if (items.length > 0) return items[0]!;
    return inParentheses
      ? { kind: 'tuple', items }
      : cursor.fail(`${cursor.shown(cursor.current)} where an expression should be`);
  }

  function expression(withConditional = true): Expression {
    return cursor.nested(() => {
      let made = disjunction();
      while (withConditional && cursor.take(cursor.isWord('if'))) {
        const test = disjunction();
        made = {
          kind: 'conditional',
          test,
          yes: made,
          no: cursor.take(cursor.isWord('else')) ? expression() : undefined,
        };
      }
      return made;
    });
  }

  function disjunction(): Expression {
    let left = conjunction();
    while (cursor.take(cursor.isWord('or'))) left = { kind: 'or', left, right: conjunction() };
    return left;
  }

  function conjunction(): Expression {
    let left = negation();
    while (cursor.take(cursor.isWord('and'))) left = { kind: 'and', left, right: negation() };
    return left;
  }

  function negation(): Expression {
    return cursor.take(cursor.isWord('not')) ? { kind: 'not', of: cursor.nested(negation) } : comparison();
  }

  function comparison(): Expression {
    const first = sum();
    const rest: Array<[string, Expression]> = [];
    for (;;) {
      const next = cursor.following;
      if (cursor.isOperator(...COMPARISONS)) rest.push([cursor.next().text, sum()]);
      else if (cursor.take(cursor.isWord('in'))) rest.push(['in', sum()]);
      else if (cursor.isWord('not') && next?.type === 'name' && next.text === 'in') {
        cursor.skip(2);
        rest.push(['not in', sum()]);
      } else return rest.length === 0 ? first : { kind: 'compare', first, rest };
    }
  }

  function chain(operators: readonly string[], operand: () => Expression): Expression {
    let left = operand();
    while (cursor.isOperator(...operators)) {
      const { text } = cursor.next();
      left = { kind: 'arithmetic', operator: text, left, right: operand() };
    }
    return left;
  }

  function sum(): Expression {
    return chain(['+', '-'], concatenation);
  }

  function concatenation(): Expression {
    const items = [product()];
    while (cursor.take(cursor.isOperator('~'))) items.push(product());
    return items.length === 1 ? items[0]! : { kind: 'concatenation', items };
  }

  function product(): Expression {
    return chain(['*', '/', '//', '%'], () => chain(['**'], unary));
  }

  function unary(withFilters = true): Expression {
    const sign = cursor.isOperator('-', '+') ? cursor.next().text : undefined;
    const kind = sign === '-' ? 'negative' : 'positive';
    const made = postfix(sign === undefined ? primary() : { kind, of: cursor.nested(() => unary(false)) });
    if (!withFilters) return made;
    let result = made;
    for (;;) {
      if (cursor.isOperator('|')) result = filters(result)!;
      else if (cursor.take(cursor.isWord('is'))) result = testOf(result);
      else if (cursor.isOperator('(')) result = { kind: 'call', callee: result, args: callArguments() };
      else return result;
    }
  }

  function primary(): Expression {
    const token = cursor.next();
    switch (token.type) {
      case 'name':
        if (CONSTANTS.has(token.text)) return { kind: 'constant', value: CONSTANTS.get(token.text)! };
        return { kind: 'name', name: token.text };
      case 'string': {
        let value = token.text;
        while (cursor.is('string')) value += cursor.next().text;
        return { kind: 'constant', value };
      }
      case 'integer': {
        const big = BigInt(token.text.replaceAll('_', '').toLowerCase());
        return { kind: 'constant', value: Number.isSafeInteger(Number(big)) ? Number(big) : big };
      }
      case 'float':
        return { kind: 'float', value: Number(token.text.replaceAll('_', '')) };
      case 'operator':
        if (token.text === '(') {
          const made = tuple(true, [], true);
          cursor.operator(')');
          return made;
        }
        if (token.text === '[') return { kind: 'list', items: cursor.separated(']', expression) };
        if (token.text === '{') {
          const pair = (): [Expression, Expression] => {
            const key = expression();
            cursor.operator(':');
            return [key, expression()];
          };
          return { kind: 'dict', pairs: cursor.separated('}', pair) };
        }
    }
    return cursor.fail(`unexpected ${cursor.shown(token)}`, token);
  }

  function postfix(start: Expression): Expression {
    let made = start;
    for (;;) {
      if (cursor.take(cursor.isOperator('.'))) {
        const token = cursor.next();
        if (token.type === 'name') made = { kind: 'attribute', of: made, name: token.text };
        else if (token.type === 'integer') {
          made = { kind: 'item', of: made, index: { kind: 'constant', value: Number(token.text) } };
        } else cursor.fail('a dot without a name', token);
      } else if (cursor.take(cursor.isOperator('['))) {
        const parts = cursor.separated(']', subscript);
        if (parts.length === 0) cursor.fail('an empty subscript');
        const index: Expression = parts.length === 1 ? parts[0]! : { kind: 'tuple', items: parts };
        made = { kind: 'item', of: made, index };
      } else if (cursor.isOperator('(')) made = { kind: 'call', callee: made, args: callArguments() };
      else return made;
    }
  }

  function subscript(): Expression {
    const parts: Array<Expression | undefined> = [cursor.isOperator(':') ? undefined : expression()];
    if (!cursor.isOperator(':')) return parts[0]!;
    while (parts.length < 3 && cursor.take(cursor.isOperator(':'))) {
      parts.push(cursor.isOperator(':', ']', ',') ? undefined : expression());
    }
    return { kind: 'slice', parts };
  }

  function callArguments(): Arguments {
    const args: Arguments = { positional: [], named: [], spread: undefined, namedSpread: undefined };
    cursor.operator('(');
    let isFirst = true;
    while (!cursor.isOperator(')')) {
      if (!isFirst) cursor.operator(',');
      if (!isFirst && cursor.isOperator(')')) break;
      isFirst = false;
      const token = cursor.current;
      if (args.namedSpread !== undefined) cursor.fail('an argument after **', token);
      const next = cursor.following;
      if (cursor.take(cursor.isOperator('*'))) {
        if (args.spread !== undefined) cursor.fail('two lists of arguments', token);
        args.spread = expression();
      } else if (cursor.take(cursor.isOperator('**'))) args.namedSpread = expression();
      else if (cursor.is('name') && next.type === 'operator' && next.text === '=') {
        cursor.skip(2);
        args.named.push([token.text, expression()]);
      } else {
        if (args.spread !== undefined || args.named.length > 0)
          cursor.fail('an argument without a name after one with', token);
        args.positional.push(expression());
      }
    }
    cursor.operator(')');
    return args;
  }

  /** @param isInline whether the first has no `|` before it */
  function filters(of: Expression | undefined, isInline = false): Expression | undefined {
    let made = of;
    let starts = isInline;
    while (starts || cursor.take(cursor.isOperator('|'))) {
      starts = false;
      const name = cursor.dotted();
      made = { kind: 'filter', of: made, name, args: cursor.isOperator('(') ? callArguments() : noArguments() };
    }
    return made;
  }

  function testOf(of: Expression): Expression {
    const isNegated = cursor.take(cursor.isWord('not'));
    const name = cursor.dotted();
    let args = noArguments();
    if (cursor.isOperator('(')) args = callArguments();
    else if (startsPrimary() && !cursor.isWord('else', 'or', 'and')) {
      if (cursor.isWord('is')) cursor.fail('a test of a test');
      args.positional.push(postfix(primary()));
    }
    const test: Expression = { kind: 'test', of, name, args };
    return isNegated ? { kind: 'not', of: test } : test;
  }

  function startsPrimary(): boolean {
    return ['name', 'string', 'integer', 'float'].includes(cursor.current.type) || cursor.isOperator('[', '{');
  }

  function noArguments(): Arguments {
    return { positional: [], named: [], spread: undefined, namedSpread: undefined };
  }
}
