/** What takes the place of a member that was not fetched, in a blend that gives it no weight. */

import assert from 'node:assert';
import type { PeftAdapter } from '../peft/read.js';

/**
 * An adapter without weights: as the others of its pool, in its own rank. A blend looks at no more of those at coefficient 0, so that it
 * has the same bytes as with the member itself, in a pool whose members are all on the same modules.
 */
export function standIn(
  { dir, r, loraAlpha }: { dir: string; r: number; loraAlpha: number },
  like: PeftAdapter,
): PeftAdapter {
  const refuse = (): never => assert.fail(`${dir} was not fetched`);
  const scale = loraAlpha / r;
  return {
    dir,
    config: { ...like.config, r, loraAlpha },
    modules: like.modules.map((module) => ({ ...module, r, scale })),
    copies: [],
    sizeBytes: 0,
    readA: refuse,
    readB: refuse,
    readAInto: refuse,
    readBInto: refuse,
    compareCopies: refuse,
    validate: refuse,
    close: () => {},
  };
}
