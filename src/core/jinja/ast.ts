/** The tree of a Jinja template. */

export type Expression =
  | { kind: 'constant'; value: string | boolean | null | number | bigint }
  | { kind: 'float'; value: number }
  | { kind: 'name'; name: string }
  | { kind: 'list' | 'tuple'; items: Expression[] }
  | { kind: 'dict'; pairs: Array<[Expression, Expression]> }
  | { kind: 'conditional'; test: Expression; yes: Expression; no: Expression | undefined }
  | { kind: 'and' | 'or'; left: Expression; right: Expression }
  | { kind: 'not' | 'negative' | 'positive'; of: Expression }
  | { kind: 'compare'; first: Expression; rest: Array<[operator: string, right: Expression]> }
  | { kind: 'arithmetic'; operator: string; left: Expression; right: Expression }
  | { kind: 'concatenation'; items: Expression[] }
  | { kind: 'attribute'; of: Expression; name: string }
  | { kind: 'item'; of: Expression; index: Expression }
  | { kind: 'slice'; parts: Array<Expression | undefined> }
  | { kind: 'call'; callee: Expression; args: Arguments }
  | { kind: 'filter'; of: Expression | undefined; name: string; args: Arguments }
  | { kind: 'test'; of: Expression; name: string; args: Arguments };

export interface Arguments {
  positional: Expression[];
  named: Array<[string, Expression]>;
  /** `*list` */
  spread: Expression | undefined;
  /** `**dict` */
  namedSpread: Expression | undefined;
}

export type Target =
  | { kind: 'name'; name: string }
  | { kind: 'tuple'; items: Target[] }
  | { kind: 'member'; of: string; name: string };

export interface Signature {
  names: string[];
  /** Of the last names. */
  defaults: Expression[];
}

export type Statement =
  | { kind: 'text'; text: string }
  | { kind: 'output'; value: Expression }
  | { kind: 'if'; test: Expression; body: Statement[]; otherwise: Statement[] }
  | {
      kind: 'for';
      target: Target;
      over: Expression;
      test: Expression | undefined;
      recursive: boolean;
      body: Statement[];
      otherwise: Statement[];
    }
  | { kind: 'set'; target: Target; value: Expression }
  | { kind: 'setBlock'; target: Target; filter: Expression | undefined; body: Statement[] }
  | { kind: 'filterBlock'; filter: Expression; body: Statement[] }
  | { kind: 'macro'; name: string; signature: Signature; body: Statement[] }
  | { kind: 'callBlock'; call: Expression; signature: Signature; body: Statement[] }
  | { kind: 'with'; sets: Array<[Target, Expression]>; body: Statement[] }
  | { kind: 'break' | 'continue' };
