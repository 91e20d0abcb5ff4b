/** A user's examples as a scope function: how near a prompt is to them. */

import type { Rows } from '../../blend/coefficients.js';
import { buildScopeProfile, type ScopeFunction, scopeScore } from '../../routing/signals/scope.js';
import type { TextEmbedder } from '../embedder.js';

export function scopeOf({ data, n, d }: Rows, embedder: TextEmbedder): ScopeFunction {
  const profile = buildScopeProfile(data, n, d);
  return (query) => scopeScore(profile, query.vector(embedder));
}
