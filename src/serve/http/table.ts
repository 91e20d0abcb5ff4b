/** Routes by path and method. `*` in a path is its last part or the one before, which may hold anything but a slash. */

import type { Handler } from './call.js';
import { HttpError } from './error.js';

const METHODS = ['GET', 'POST', 'DELETE'] as const;

export interface Route extends Partial<Record<(typeof METHODS)[number], Handler>> {
  /** For the metrics. */
  name: string;
  /** Answered without the key. */
  isPublic?: boolean;
  /** Answered while the model is loading too. */
  always?: boolean;
}

export type RouteTable = Record<string, Route>;

/**
 * The handler of all routes of a table.
 *
 * @param around what stands before a route's own handler
 * @param unknown the 404 of a path that is in no row
 * @throws HttpError 405 with Allow for a method that a route does not have, and what the routes throw
 */
export function dispatch(
  table: RouteTable,
  around: (route: Route) => (handler: Handler) => Handler,
  unknown: (pathname: string) => HttpError,
): Handler {
  return (call) => {
    const { pathname } = call.url;
    const found = findRoute(table, pathname);
    if (found === null) throw unknown(pathname);
    const { route, param } = found;
    call.route = route.name;
    call.param = param;
    return around(route)(handlerOf(route, call.request.method))(call);
  };
}

/** The route of a path, and what stands at its `*`. */
export function findRoute(table: RouteTable, pathname: string): { route: Route; param: string } | null {
  if (Object.hasOwn(table, pathname)) return { route: table[pathname]!, param: '' };
  const parts = pathname.split('/');
  for (const at of [parts.length - 1, parts.length - 2]) {
    const path = parts.with(at, '*').join('/');
    if (parts[at] === '' || !Object.hasOwn(table, path)) continue;
    try {
      return { route: table[path]!, param: decodeURIComponent(parts[at]!) };
    } catch {} // a broken percent sign names nothing
  }
  return null;
}

function handlerOf(route: Route, method: string): Handler {
  const asked = METHODS.find((known) => known === (method === 'HEAD' ? 'GET' : method));
  const handler = asked && route[asked];
  if (handler !== undefined) return handler;
  const allow = METHODS.filter((known) => route[known] !== undefined)
    .map((known) => (known === 'GET' ? 'GET, HEAD' : known))
    .join(', ');
  throw new HttpError(405, `${method.slice(0, 16)} is not allowed here, only ${allow}.`, {
    code: 'method_not_allowed',
    headers: { allow },
  });
}
