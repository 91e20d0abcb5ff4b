/** Questions whose choices share a prompt, and the check that packing them changes no score, for the back end of a process. */

import { afterAll, beforeAll, expect, it } from 'vitest';
import { createRandom } from '../../src/core/random.js';
import { HfModel } from '../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { initialParameters, poolLayout } from '../../src/model/lora-layout.js';
import type { BackendName } from '../../src/model/names.js';
import { openNetwork } from '../../src/model/open-network.js';
import type { TrainingExample } from '../../src/train/batches.js';
import { type EvaluationLora, scoreCompletions } from '../../src/train/evaluate.js';
import { packedBatches } from '../../src/train/packing.js';
import { fixture } from './fixtures.js';

/** Choices of one token, of several, two that begin alike, two that are the same but for their last token. */
export const CHOICES = [[7], [8, 9, 10], [8, 9, 11], [8, 12], [13, 14]];

/** Questions of prompts of several lengths, with as many choices each as are wanted. @param before what all of them begin with */
export function questions(count: number, choices = CHOICES, before: readonly number[] = [1]): TrainingExample[] {
  const random = createRandom(3, 'packing');
  return Array.from({ length: count }, (_, q) => {
    const prompt = [...before, ...Array.from({ length: 20 + 5 * q }, () => 3 + random.int(50))];
    return choices.map((choice) => ({ ids: Int32Array.of(...prompt, ...choice), promptLength: prompt.length }));
  }).flat();
}

// gemma3 and mistral have layers that see a window, shorter than the longest of these prompts; gemma3 has two rotary bases
export function packedScores(backend: BackendName, families: readonly string[]): void {
  beforeAll(async () => {
    await chooseBackend(backend);
  });
  afterAll(releaseBackend);

  it.each(families)('of %s are those of every sequence alone, through every question’s own mixture', async (name) => {
    const source = HfModel.open(fixture('models', name));
    const model = openNetwork(source);
    // the last four have a beginning in common, longer than a window, and the two of a mixture read it once
    const examples = [
      ...questions(7),
      ...questions(
        4,
        CHOICES,
        Array.from({ length: 40 }, (_, i) => 3 + ((7 * i) % 50)),
      ),
    ];
    const layout = poolLayout(source, { targets: 'all', r: 2 }, 3);
    const parameters = initialParameters(layout, 1);
    const random = createRandom(5, 'factors');
    for (const { bOffset, out } of layout.modules) {
      for (let i = 0; i < out * 6; i++) parameters[bOffset + i] = 0.2 * random.normal();
    }
    const [first, second] = [Float64Array.of(0.7, 0.3, 0), Float64Array.of(0, 0.1, 0.9)];
    const gates = examples.map((_, i) => (i % 10 < 5 ? first : second));
    for (const lora of [undefined, { layout, parameters, loraAlpha: 4, gates }] as Array<EvaluationLora | undefined>) {
      expect(packedBatches(examples, new Int32Array(examples.length))).toBeDefined();
      const packed = await scoreCompletions(model, examples, { lora });
      for (const [i, example] of examples.entries()) {
        const [alone] = await scoreCompletions(model, [example], { lora: lora && { ...lora, gates: [gates[i]!] } });
        expect(Math.abs(packed[i]!.logprob - alone!.logprob)).toBeLessThan(2e-4);
        expect(packed[i]).toMatchObject({ tokens: alone!.tokens, likeliest: alone!.likeliest });
      }
    }
    model.dispose();
    source.close();
  });
}
