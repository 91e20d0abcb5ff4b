/** GET /v1/crayon: what this server has beside OpenAI's API, for a page or a program that shows why an answer came from where. */

import { EXAMPLE_LIMITS } from '../blend/coefficients.js';
import { CRAYON_VERSION } from '../files/package.js';
import { SIGNALS } from '../routing/signals/index.js';
import type { AppSettings, ServeParts } from './parts.js';
import type { CrayonFacts } from './playground/wire.js';

export function crayonFacts(parts: ServeParts, { routing }: Pick<AppSettings, 'routing'>): CrayonFacts {
  const { base, adapters, server, router, pool = null, customizations } = parts;
  const { config } = router.parts;
  const clusters = pool?.manifest.clusters ?? [];
  return {
    object: 'crayon',
    version: CRAYON_VERSION,
    base,
    is_gated: adapters.isGated,
    server: server?.name ?? null,
    mode: routing.mode,
    mode_per_request: routing.modePerRequest,
    signals: SIGNALS.map(({ name, title, unit, doubt, toServer }) => {
      const threshold = config.thresholds[name] ?? null;
      return { name, title, unit: unit(config), doubt, to_server: toServer, threshold };
    }),
    held_tokens: config.confidence.tokens,
    pool: customizations && {
      clusters: clusters.map(({ size, tasks }) => ({ size, tasks })),
      examples: { ...EXAMPLE_LIMITS },
    },
  };
}
