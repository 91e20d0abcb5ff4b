/** Model names: the base, `<base>:<customisation>`, and the server LLM's own. */

import type { AdapterScale, Query } from '../../engine/types.js';
import type { ScopeFunction } from '../../routing/signals/scope.js';
import { HttpError } from '../http/error.js';
import type { ServeParts } from '../parts.js';

/** What a model name stands for. */
export interface ServedModel {
  name: string;
  adapters(query: Query): AdapterScale[];
  /** Whether the adapters depend on the query's embedding. */
  isGated: boolean;
  scope: ScopeFunction | null;
  /** To be called when the request has ended. */
  release(): void;
}

/**
 * What a request's `model` stands for. The server LLM's name routes like the base: the mode decides who answers.
 *
 * @throws HttpError 404; 409 and 503 for a customisation that cannot be used
 */
export function resolveModel(name: string, parts: ServeParts): ServedModel {
  const { base, adapters, scope, server, customizations } = parts;
  if (name === base || name === server?.name) {
    const { isGated } = adapters;
    return { name: base, adapters: (query) => adapters.choose(query), isGated, scope, release: () => {} };
  }
  const id = name.startsWith(`${base}:`) ? name.slice(base.length + 1) : null;
  if (id === null || customizations?.has(id) !== true) throw unknownModel(name);
  const used = customizations.get(id).serve();
  const { isGated } = used.adapters;
  return { name, adapters: (query) => used.adapters.choose(query), isGated, scope: used.scope, release: used.hold() };
}

export function unknownModel(name: string): HttpError {
  return new HttpError(404, `The model ${JSON.stringify(name.slice(0, 64))} does not exist: see GET /v1/models.`, {
    param: 'model',
    code: 'model_not_found',
  });
}

/** @param created when the server started, seconds since 1970 @param all with the customisations: for those who have the key */
export function modelCards({ base, server, customizations }: ServeParts, created: number, all: boolean) {
  // `root` is the model underneath, as vLLM shows it for adapters.
  const card = (id: string, owner: string, root: string, parent: string | null, at = created) => {
    return { id, object: 'model', created: at, owned_by: owner, root, parent };
  };
  const kept = all ? (customizations?.list() ?? []) : [];
  return [
    card(base, 'crayon', base, null),
    ...kept.map((one) => card(`${base}:${one.id}`, 'crayon', base, base, one.created)),
    ...(server === null || server.name === base ? [] : [card(server.name, 'server', server.name, null)]),
  ];
}
