/** `ast.literal_eval`: a text that is a literal of Python, as its value. */

import { negative } from './arithmetic.js';
import type { Expression } from './ast.js';
import { parse } from './parser.js';
import { float, isNumber, refuse, setKey, strip, Tuple } from './values.js';

/**
 * The value, or undefined for a text that is none; Jinja's literals are a subset of Python's, and what only Python has (bytes, raw
 * strings, sets, complex numbers) is refused.
 */
export function literalOf(text: string): unknown {
  const trimmed = strip(text, ' \t', 'left');
  if (/(?:^|[[({,:\s])(?:[bBrRuUfF]{1,2})['"]|'''|"""|#/.test(withoutStrings(trimmed)))
    refuse(`the literal ${text.slice(0, 60)}`);
  if (/\n/.test(withoutStrings(trimmed.replace(/\s+$/, ''))) && !/^[[({]/.test(trimmed)) return undefined;
  if (/['"][\s\S]*\n/.test(text) && hasOpenLine(text)) return undefined;
  let expression: Expression;
  try {
    const statements = parse(`{{ ${trimmed} }}`);
    const [only] = statements;
    if (statements.length !== 1 || only?.kind !== 'output') return undefined;
    expression = only.value;
  } catch {
    return undefined;
  }
  return evaluated(expression);
}

const STRINGS = /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"/g;
const withoutStrings = (text: string) => text.replace(STRINGS, (found) => found[0]! + found[0]!);
/** A line feed within quotes, which Python refuses. */
const hasOpenLine = (text: string) => (text.match(STRINGS) ?? []).some((found) => /(?<!\\)(?:\\\\)*\n/.test(found));

function evaluated(node: Expression): unknown {
  switch (node.kind) {
    case 'constant':
      return node.value;
    case 'float':
      return float(node.value);
    case 'list':
      return all(node.items);
    case 'tuple': {
      const items = all(node.items);
      return items === undefined ? undefined : new Tuple(items);
    }
    case 'dict': {
      const made = new Map();
      for (const pair of node.pairs) {
        const [key, value] = all(pair) ?? [];
        if (key === undefined) return undefined;
        setKey(made, key, value);
      }
      return made;
    }
    case 'negative':
    case 'positive': {
      const value = evaluated(node.of);
      if (!isNumber(value) || typeof value === 'boolean') return undefined;
      return node.kind === 'negative' ? negative(value) : value;
    }
    default:
      return undefined;
  }
}

function all(nodes: readonly Expression[]): unknown[] | undefined {
  const values = nodes.map(evaluated);
  return values.includes(undefined) ? undefined : values;
}
