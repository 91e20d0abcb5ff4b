/** The variables of a template where it is rendered, and what is set and compared there. */

import type { Target } from './ast.js';
import { contains, equal, listOf, Members, order, refuse } from './values.js';

/** The value of a name that the template does not set itself, or undefined. */
export type Variables = (name: string) => unknown;

export class Scope {
  readonly vars = new Map<string, unknown>();
  constructor(
    readonly parent: Scope | undefined,
    readonly root: Variables,
  ) {}
  inner(): Scope {
    return new Scope(this, this.root);
  }
}

/** Names that no template can spell: the caller of a call block, the text of a filter block. */
export const CALLER = '{% call %}';
export const BODY = '{% filter %}';

/** Sets a target in a scope. */
export function assigner(target: Target): (scope: Scope, value: unknown) => undefined {
  if (target.kind === 'name') return (scope, value) => void scope.vars.set(target.name, value);
  if (target.kind === 'member') {
    return (scope, value) => {
      let found: unknown;
      for (let at: Scope | undefined = scope; at !== undefined && found === undefined; at = at.parent) {
        found = at.vars.get(target.of);
      }
      if (!(found instanceof Members && found.isOpen)) return refuse(`"${target.of}" is no namespace`);
      found.members.set(target.name, value);
      return undefined;
    };
  }
  const parts = target.items.map(assigner);
  return (scope, value) => {
    const items = listOf(value);
    if (items.length !== parts.length) refuse(`${items.length} values where ${parts.length} are set`);
    for (const [i, assign] of parts.entries()) assign(scope, items[i]);
    return undefined;
  };
}

/** What a comparison's operator asks. */
export function compares(operator: string): (a: unknown, b: unknown) => boolean {
  switch (operator) {
    case '==':
      return equal;
    case '!=':
      return (a, b) => !equal(a, b);
    case 'in':
      return (a, b) => contains(b, a);
    case 'not in':
      return (a, b) => !contains(b, a);
    case '<':
      return (a, b) => order(a, b, operator) < 0;
    case '<=':
      return (a, b) => order(a, b, operator) <= 0;
    case '>':
      return (a, b) => order(a, b, operator) > 0;
    default:
      return (a, b) => order(a, b, operator) >= 0;
  }
}
