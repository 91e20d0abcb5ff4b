/** A LoRA from the blend in words: of one just made, or of its crayon.json. */

import type { TrainedRecord } from '../blend/trained-record.js';

export function trainedWords({ rank, steps, batchSize, learningRate, pull, before, after }: TrainedRecord): string {
  const held = pull === 0 ? '' : `, pulled back by ${pull}`;
  const how = `rank ${rank}, ${steps} steps of ${batchSize} examples at a rate of ${learningRate}${held}`;
  return `${how}; loss of the examples ${before.toFixed(3)} before, ${after.toFixed(3)} after`;
}
