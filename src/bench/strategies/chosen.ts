/** What `crayon blend --choose` would choose, mixtures for each prompt included: then the pool itself answers. */

import { embedExamples } from '../../blend/blend-pool.js';
import { BARE_MODEL } from '../../blend/choice-record.js';
import { estimateBlend } from '../../blend/coefficients.js';
import type { Candidate } from '../../choose/candidates.js';
import type { ExampleEvidence } from '../../choose/evidence.js';
import type { Example } from '../../data/dataset.js';
import { poolSpace } from '../../pool/embed/space.js';
import { memberCoefficients, openPool } from '../../pool/pool.js';
import { adapted, plain, type Strategy } from './strategy.js';

export const chosen: Strategy = {
  name: 'chosen',
  title: 'Crayon, chosen by evidence',
  role: 'crayon',
  looksAtExamples: true,
  usesStandards: true,
  poolOf: ({ pool }) => pool,
  async customise(cell, { id, shown }, { base, pools, signal }) {
    const [{ forwardEvidence }, { chooseBy }, { gatesOf }, { embedPrompts, stackPool }] = await Promise.all([
      import('../../choose/forward.js'),
      import('../../choose/choice.js'),
      import('../../choose/leave-one-out.js'),
      import('../../pool/gate.js'),
    ]);
    const started = performance.now();
    const pool = openPool(pools.path(cell.pool));
    const { source, model } = base;
    const read = { pool, source, read: shown, where: id, addEnd: true };
    const examples = await embedExamples({ long: 'truncate', forward: { model } }, read);
    const { evidence, losses } = await forwardEvidence(examples, { model, signal });
    const { ofAll } = chooseBy(evidence);
    const made = {
      chosen: ofAll.name,
      evidence: evidence.flatMap(({ candidate, examples: found }) =>
        found === null ? [] : [record(candidate, found)],
      ),
      ms: performance.now() - started,
      bytesToServer: 0,
    };
    if (ofAll.name === BARE_MODEL) return { ...plain(base), ...made };
    const stack = stackPool(pool, source);
    const sent = 4 * pool.manifest.N; // float32
    if (ofAll.kind === 'fixed') {
      const { estimator, ...rule } = ofAll.rule(pool.manifest);
      const { coefficients } = estimateBlend(pool, estimator, { ...examples.seen, losses }, rule);
      return {
        ...adapted(base, { ...stack, gates: [memberCoefficients(pool.manifest, coefficients)] }),
        ...made,
        bytesToServer: sent,
        coefficients,
      };
    }
    const space = poolSpace(pool);
    const loraFor = async (asked: Example[]) => {
      const data = await embedPrompts(space, base, asked);
      const weights = gatesOf(pool, { data, n: asked.length, d: space.d }, ofAll);
      return { ...stack, gates: weights.map((alpha) => memberCoefficients(pool.manifest, alpha)) };
    };
    return { ...plain({ ...base, loraFor }), ...made, parameters: stack.layout.size };
  },
};

const record = ({ name }: Candidate, found: readonly ExampleEvidence[]) => ({
  candidate: name,
  losses: found.map(({ loss }) => loss),
  right: found.map(({ isRight }): 0 | 1 => (isRight ? 1 : 0)),
});
