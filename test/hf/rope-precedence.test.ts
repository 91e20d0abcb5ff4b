/** Every spelling of a rotary embedding in config.json, with the frequencies that transformers turns by (scripts/fixtures/identity.py). */

import { describe, expect, it } from 'vitest';
import { isCrayonError } from '../../src/core/errors.js';
import type { JsonObject } from '../../src/files/json.js';
import { parseModelConfig } from '../../src/hf/config.js';
import { rotaryFrequencies } from '../../src/hf/rope.js';
import { fixtureJson, relativeDifference } from '../helpers/fixtures.js';

type Turned = [frequencies: number[], attentionFactor: number];
interface Case {
  name: string;
  family: string;
  changes: JsonObject;
  /** for each length, of each kind of layer; null where transformers refuses */
  frequencies: Turned[][] | null;
}

const { lengths, config, cases } = fixtureJson<{ lengths: number[]; config: JsonObject; cases: Case[] }>(
  'identity',
  'ropes.json',
);

describe('rotary embeddings as transformers reads them', () => {
  it.each(cases.map((one) => [one.name, one] as const))('%s', (_, { family, changes, frequencies }) => {
    const given: JsonObject = { model_type: family, ...config, ...changes };
    if (family === 'phi3') delete given.head_dim;
    let parsed: ReturnType<typeof parseModelConfig>;
    try {
      parsed = parseModelConfig(given, 'config.json');
    } catch (error) {
      if (!isCrayonError(error) || frequencies !== null) throw error;
      expect(error.code).toMatch(/^model-/);
      return;
    }
    if (frequencies === null) {
      // more than transformers takes: its old name of longrope, with the length beside it
      expect(parsed.ropeScaling?.type).toBe('longrope');
      return;
    }
    const ropes = parsed.slidingRope === null ? [parsed] : [parsed, parsed.slidingRope];
    lengths.forEach((length, i) => {
      ropes.forEach((rope, j) => {
        const [expected, factor] = frequencies[i]![j]!;
        const found = rotaryFrequencies(rope, parsed.rotaryDim, length);
        expect(relativeDifference(found.frequencies, expected)).toBeLessThan(1e-5);
        expect(found.frequencies.every((f, k) => Math.abs(f / expected[k]! - 1) < 1e-4)).toBe(true);
        expect(found.attentionFactor).toBeCloseTo(factor, 5);
      });
    });
  });
});
