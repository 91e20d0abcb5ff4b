/** Configurations that earlier versions of `crayon calibrate` have written: they load, and decide as they did. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runRoute } from '../../../src/cli/route.js';
import type { Assemble } from '../../../src/serve/assemble.js';
import { fixedAdapters } from '../../../src/serve/customizations/adapter-set.js';
import { temporaryDir } from '../../helpers/files.js';
import { createScriptedEngine } from '../../helpers/scripted.js';
import { keptTerminal } from '../../helpers/terminal.js';

const HEAD = `model: model
pool: pool
examples: mine.jsonl
server: { base_url: http://127.0.0.1:1/v1, model: big }
routing:
`;
const THRESHOLDS = `  thresholds:
    # crayon calibrate: target share 0.2; on 320 examples, held out: accuracy 0.909
    scope: 12.5
    complexity: null
    confidence: -0.25
`;
const WEIGHTS = `  thresholds: { scope: null, complexity: null, confidence: null, correctness: 0.62 }
  correctness: { intercept: -1.5, probability: 4.25, log_scope: 0.3 }
`;
const MAP = `  thresholds: { scope: null, success: null, complexity: null, confidence: null, correctness: 0.8 }
  correctness: { intercept: -1.5, probability: 4.25, log_scope: 0.3 }
  correctness_map: [ [ 0, 0.05 ], [ 0.6, 0.2 ], [ 1, 0.98 ] ]
`;
const RATES = `  thresholds: { scope: null, success: 0.7, complexity: null, confidence: null, correctness: null }
  success: [ 0.95, 0.4, 0.5 ]
`;

const LOGPROB = -0.5;
const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));
const probability = sigmoid(-1.5 + 4.25 * Math.exp(LOGPROB) + 0.3 * Math.log1p(40));

const assemble: Assemble = async () => ({
  device: createScriptedEngine({ promptNll: 2, answers: () => ({ tokens: [{ text: 'yes', logprob: LOGPROB }] }) }),
  server: null,
  scope: () => ({ percentile: 40, similarity: 0.5 }),
  clusters: () => Float64Array.of(0.5, 0.5, 0),
  embedder: null,
  adapters: fixedAdapters([]),
  close: async () => {},
});

describe('a calibrated configuration of an earlier version', () => {
  it.each([
    ['of signals alone', THRESHOLDS, 'in_cloud', 'confidence', LOGPROB],
    ['of weights', WEIGHTS, 'on_device', 'accepted', probability],
    ['of weights and a map', MAP, 'in_cloud', 'correctness', 0.2 + (0.78 * (probability - 0.6)) / 0.4],
    ['of rates', RATES, 'in_cloud', 'success', 0.675],
  ])('%s decides as it did', async (_, routing, source, reason, score) => {
    const path = join(temporaryDir(), 'edge.calibrated.yaml');
    writeFileSync(path, HEAD + routing);
    const { terminal, stdout } = keptTerminal();
    terminal.json = true;
    await runRoute({ explain: 'question', config: path, prompt: 'chat' }, terminal, assemble);
    expect(JSON.parse(stdout())).toMatchObject({ source, reason, score: expect.closeTo(score, 12) });
  });
});
