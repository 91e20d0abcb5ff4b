/** Crayon's adapters weighed anew for every prompt: no blend is made, and no example is needed. */

import { plain, type Strategy } from './strategy.js';

export const perQuery: Strategy = {
  name: 'per-query',
  title: 'Crayon, per query',
  role: 'crayon',
  looksAtExamples: false,
  pools: ({ pool }) => [pool],
  async customise(cell, _user, { base, pools }) {
    const { loadPoolGates } = await import('../../pool/gate.js');
    const gates = loadPoolGates(pools.path(cell.pool), base.source, base.model, base.tokenizer, cell.blend.tau);
    return { ...plain({ ...base, loraFor: gates.loraFor }), parameters: gates.layout.size };
  },
};
