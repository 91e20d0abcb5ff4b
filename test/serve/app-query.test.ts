/** What a prompt costs before it is answered: it is tokenised once and embedded once, however many ask. */

import { describe, expect, it } from 'vitest';
import { gate } from '../../src/core/gate.js';
import { scopeOf } from '../../src/serve/base-model.js';
import { gatedAdapters } from '../../src/serve/customizations/adapter-set.js';
import { SERVER, testApp, textEmbedder, user } from './helpers.js';

const CHAT = '/v1/chat/completions';
const ROWS = { data: Float32Array.of(1, 0, 1, 0.1, 1, 0.2), n: 3, d: 2 };

function countingApp() {
  const embedded: string[] = [];
  const embedder = textEmbedder((text) => {
    embedded.push(text);
    return { vector: Float32Array.of(1, 0.1), tokens: 1 };
  });
  const named = ['a', 'b'].map((id) => ({ id, path: `/x/${id}`, name: id }));
  const adapters = gatedAdapters(
    named,
    { centroids: Float32Array.of(1, 0, 0, 1), weigh: (cosines) => gate(cosines, 0.5) },
    embedder,
  );
  const scope = scopeOf(ROWS, embedder);
  const routing = { thresholds: { scope: 1, complexity: 9, confidence: -5 } };
  const app = testApp({
    adapters,
    parts: { embedder, scope },
    config: { server: SERVER, examples: 'three.jsonl', routing },
  });
  return { ...app, embedded };
}

describe('a request', () => {
  it('has its prompt tokenised once and embedded once, with gate, scope, complexity and confidence on', async () => {
    const { post, device, embedded } = countingApp();
    const answer = await post(CHAT, { model: 'edge', messages: user('why is it so') });
    expect(await answer.json()).toMatchObject({
      crayon: { source: 'on_device', reason: 'accepted', signals: { prompt_tokens: 5, complexity: 1 } },
    });
    expect(device.requests[0]!.request.adapters).toHaveLength(2);
    expect(device.nllRequests).toHaveLength(1);
    expect(device.tokenized).toEqual(['why is it so']);
    expect(embedded).toEqual(['why is it so']);
    await post(CHAT, { model: 'edge', messages: user('why is it so') });
    expect([device.tokenized.length, embedded.length]).toEqual([2, 2]); // nothing of a request outlives it
  });

  it('for the server alone has neither', async () => {
    const { post, device, server, embedded } = countingApp();
    await post(CHAT, { model: 'edge', messages: user('why is it so'), crayon: { mode: 'only_in_cloud' } });
    expect(server.requests).toHaveLength(1);
    expect([device.tokenized, embedded]).toEqual([[], []]);
  });
});
