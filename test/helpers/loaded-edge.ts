/** The embedded device model, ready to answer as a bench's base model does. */

import { afterAll, beforeAll } from 'vitest';
import type { LoadedModel } from '../../src/bench/answers.js';
import { HfModel } from '../../src/hf/model.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { openNetwork } from '../../src/model/open-network.js';
import { EDGE } from './edge-gguf.js';

/** Call once at the top of a test file. @returns what gives it, from the first test on */
export function loadedEdge(backend: Parameters<typeof chooseBackend>[0]): () => LoadedModel {
  let base: LoadedModel | undefined;
  beforeAll(async () => {
    await chooseBackend(backend);
    const source = HfModel.open(EDGE);
    base = { source, model: openNetwork(source), tokenizer: loadTokenizer(EDGE) };
  });
  afterAll(() => {
    base?.model.dispose();
    base?.source.close();
    releaseBackend();
  });
  return () => base!;
}
