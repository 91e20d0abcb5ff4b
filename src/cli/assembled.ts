/** The engines of a configuration, without customisations: what `calibrate` and `route` ask, and what tests replace. */

import type { EdgeConfig } from '../serve/config.js';
import type { ServeParts } from '../serve/parts.js';

/** Makes the engines that a configuration names; tests give scripted ones. */
export type Assemble = (
  config: EdgeConfig,
) => Promise<Pick<ServeParts, 'edge' | 'server' | 'scope' | 'adapters' | 'close'>>;

export const assembled: Assemble = async (config) => {
  const { assembleEdge } = await import('../serve/assemble.js');
  return assembleEdge(config, { withoutCustomizations: true });
};
