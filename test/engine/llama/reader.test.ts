/** How many tokens are read at once: what llama.cpp reserves its buffers for. */

import { expect, it } from 'vitest';
import { largestBatch } from '../../../src/engine/llama/reader.js';

it('reads a block of a prompt, or as many scored tokens as logits are held for, and a token of each sequence, to a multiple of 32', () => {
  expect(largestBatch(1000, 4)).toBe(544);
  expect(largestBatch(49_152, 1)).toBe(352);
  expect(largestBatch(151_936, 256)).toBe(384);
});
