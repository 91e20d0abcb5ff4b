import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { clusterGate } from '../../../src/blend/cluster-gate.js';
import { readPromptClusters } from '../../../src/blend/prompt-clusters.js';
import { countedIn } from '../../../src/cli/calibrate/clusters.js';
import type { CalibrateFlags } from '../../../src/cli/calibrate/flags.js';
import { runCalibrate } from '../../../src/cli/calibrate/run.js';
import { runRoute } from '../../../src/cli/route.js';
import { createRandom } from '../../../src/core/random.js';
import type { Query } from '../../../src/engine/types.js';
import { sparseRows } from '../../../src/pool/sparse-rows.js';
import type { Assemble } from '../../../src/serve/assemble.js';
import { loadEdgeConfig } from '../../../src/serve/config.js';
import { fixedAdapters } from '../../../src/serve/customizations/adapter-set.js';
import { temporaryDir } from '../../helpers/files.js';
import { createScriptedEngine } from '../../helpers/scripted.js';
import { keptTerminal } from '../../helpers/terminal.js';

const EDGE = `model: m
examples: mine.jsonl
routing:
  confidence: { measure: mean-logprob, tokens: 4 }
server:
  base_url: http://127.0.0.1:1/v1
  model: big
`;

/** Kinds of questions, no pool: known to the device alone, to the server alone (two of them), to neither, and to both. */
const KINDS = ['device', 'server', 'nobody', 'everybody', 'larger'];
const D = 32;
const kindOf = (text: string) =>
  Math.max(
    0,
    KINDS.findIndex((kind) => text.includes(kind)),
  );
const numberOf = (text: string) => Number(/question (\d+)/.exec(text)?.[1] ?? 0);

function vectorOf(text: string): Float32Array {
  const vector = new Float32Array(D).map((_, j) => 0.03 * (((numberOf(text) + 1) * (j + 1) * Math.SQRT2) % 1));
  vector[kindOf(text)] = 1;
  const length = Math.hypot(...vector);
  return vector.map((x) => x / length);
}

/** @param knows of each kind, whether the device is right, and the server */
function assembleOf(knows: Array<[device: boolean, server: boolean]>): Assemble {
  const answer = (party: 0 | 1) => (query: Query) =>
    knows[kindOf(query.text)]![party] ? `answer ${numberOf(query.text)}` : 'wrong';
  const device = createScriptedEngine({
    promptNll: 2,
    // as sure of what it gets wrong as of the rest
    answers: ({ query }) => ({
      tokens: [{ text: answer(0)(query), logprob: -0.1 - ((numberOf(query.text) * Math.SQRT2) % 1) }],
    }),
  });
  const server = createScriptedEngine({ answers: ({ query }) => answer(1)(query) });
  const embedder = {
    ...{ d: D, kind: 'first-attention' },
    embed: (text: string) => ({ vector: vectorOf(text), tokens: 1 }),
    embedAside: () => expect.unreachable(),
  };
  return async (config) => {
    const gate = config.clusters === null ? null : clusterGate(readPromptClusters(config.clusters));
    return {
      ...{ device, server: config.server === null ? null : server, embedder, adapters: fixedAdapters([]) },
      scope: () => ({ percentile: 50, similarity: 0.5 }),
      clusters: gate && ((query: Query) => gate(query.vector(embedder))),
      close: async () => {},
    };
  };
}

const KNOWS: Array<[boolean, boolean]> = [
  [true, false],
  [false, true],
  [false, false],
  [true, true],
  [false, true],
];

describe('clusters of the questions', () => {
  let dir: string;
  let flags: CalibrateFlags;
  const at = (name: string) => join(dir, name);
  const examples = (name: string, kinds: readonly string[], from: number, to: number) => {
    const lines = Array.from({ length: to - from }, (_, k) => {
      const i = from + k;
      return JSON.stringify({ prompt: `question ${i} of ${kinds[i % kinds.length]}`, completion: ` answer ${i}` });
    });
    writeFileSync(at(name), lines.join('\n'));
    return [at(name)];
  };
  const route = async (config: string, kind: string, knows = KNOWS) => {
    const said = keptTerminal();
    const asked = { explain: `question 333 of ${kind}`, config: at(config), prompt: 'chat' as const };
    await runRoute(asked, said.terminal, assembleOf(knows));
    return said.stdout();
  };

  beforeEach(() => {
    dir = temporaryDir();
    writeFileSync(at('mine.jsonl'), '{"prompt":"my question","completion":" mine"}\n');
    writeFileSync(at('edge.yaml'), EDGE);
    flags = {
      ...{ config: at('edge.yaml'), data: examples('held-out.jsonl', KINDS, 0, 200), split: 'test', prompt: 'chat' },
      ...{ match: 'exact', seed: 0, questionClusters: true, resamples: 100, fresh: false, force: true },
    };
  });

  it('without a pool tell what to send: what the server alone gets right, and no more', async () => {
    const said = keptTerminal();
    await runCalibrate({ ...flags, targetShare: 0.8 }, said.terminal, assembleOf(KNOWS));
    const config = loadEdgeConfig(at('edge.calibrated.yaml'));
    expect(config.clusters).toBe(at('edge.calibrated.clusters.safetensors'));
    expect(readFileSync(at('edge.calibrated.yaml'), 'utf8')).toContain(
      '\nclusters: edge.calibrated.clusters.safetensors',
    );
    const { thresholds, success, serverSuccess } = config.routing;
    expect(thresholds.advantage ?? thresholds.gain).toBeGreaterThan(0); // four fifths may be sent, two are worth it
    expect(success).toHaveLength(serverSuccess!.length);
    expect(said.stdout()).toMatch(/8 of the questions, taken/);
    expect(said.stdout()).toMatch(/these thresholds, held out +│ +[34]\d\.\d % [^│]+│ +7\d\.\d %/);
    const answers = await Promise.all(KINDS.map((kind) => route('edge.calibrated.yaml', kind)));
    expect(answers.map((text) => text.split(' answers')[0])).toEqual([
      'The device',
      'The server',
      'The device',
      'The device',
      'The server',
    ]);
    expect(answers[1]).toMatch(/the server is right (about such queries more often|with probability 0\.9)/);
  });

  it('go away with the rule that needed them', async () => {
    await runCalibrate({ ...flags, targetShare: 0.3 }, keptTerminal().terminal, assembleOf(KNOWS));
    const without = { ...flags, config: at('edge.calibrated.yaml'), out: at('again.yaml'), fresh: true };
    await runCalibrate(
      { ...without, questionClusters: false, targetShare: 0.3 },
      keptTerminal().terminal,
      assembleOf(KNOWS),
    );
    const { clusters, routing } = loadEdgeConfig(at('again.yaml'));
    expect([clusters, routing.success, routing.serverSuccess]).toEqual([null, null, null]);
    expect(existsSync(at('again.clusters.safetensors'))).toBe(false);
  });

  it('are not chosen where all questions are answered alike', async () => {
    const all = KNOWS.map((): [boolean, boolean] => [true, true]);
    await runCalibrate({ ...flags, targetShare: 0.3 }, keptTerminal().terminal, assembleOf(all));
    expect(loadEdgeConfig(at('edge.calibrated.yaml')).clusters).toBeNull();
  });

  it('have no say where a part of errors is promised', async () => {
    await runCalibrate({ ...flags, maxRisk: 0.7 }, keptTerminal().terminal, assembleOf(KNOWS));
    const { clusters, routing } = loadEdgeConfig(at('edge.calibrated.yaml'));
    expect([clusters, routing.success]).toEqual([null, null]);
  });

  it('carry a rule to a user whom it has not seen, shifted for both parties', async () => {
    await runCalibrate({ ...flags, targetShare: 0.7, asProbability: true }, keptTerminal().terminal, assembleOf(KNOWS));
    const rule = loadEdgeConfig(at('edge.calibrated.yaml'));
    expect(rule.routing.thresholds).toMatchObject({ advantage: null, correctness: null });
    expect(rule.routing.thresholds.gain).not.toBeNull();
    writeFileSync(at('new.yaml'), EDGE);
    const said = keptTerminal();
    const given = { ...flags, config: at('new.yaml'), from: at('edge.calibrated.yaml') };
    // Of what was the device's alone the server is right here, and the device wrong.
    const changed = KNOWS.map(([device, server], n): [boolean, boolean] =>
      n === 0 ? [false, true] : [device, server],
    );
    await runCalibrate(
      { ...given, data: examples('ten.jsonl', ['device'], 300, 310) },
      said.terminal,
      assembleOf(changed),
    );
    const { clusters, routing } = loadEdgeConfig(at('new.calibrated.yaml'));
    expect(clusters).toBe(rule.clusters);
    expect(routing.correctnessShift).toBeLessThan(-1);
    expect(routing.serverShift).toBeGreaterThan(1);
    expect(said.stdout()).toMatch(/right by the server, found +│ +100\.0 %/);
    expect(said.stdout()).toMatch(/sent to the server +│ +[0-3]0\.0 % │ +100\.0 %/);
    expect(await route('edge.calibrated.yaml', 'device')).toMatch(/^The device answers/);
    expect(await route('new.calibrated.yaml', 'device', changed)).toMatch(/^The server answers/);
  });
});

describe('what rates are counted in', () => {
  it('is the pool where its clusters tell more, and nothing where there is none and nothing tells', () => {
    const records = Array.from({ length: 80 }, (_, i) => ({
      ...{ edgeCorrect: i % 2, serverCorrect: 1 },
      clusters: i % 2 === 0 ? [1, 0, 0] : [0, 1, 0],
    }));
    const random = createRandom(0, 'alike');
    const vectors = records.map(() => Float32Array.from({ length: D }, () => random.normal() / Math.sqrt(D)));
    const alike = sparseRows(vectors);
    const ofPool = countedIn(records, alike, { kind: 'tfidf', seed: 0 });
    expect(ofPool.taken).toMatchObject({ of: 'pool', n: 2 });
    expect(ofPool.records).toBe(records);
    expect(ofPool.clusters).toBeNull();
    const lone = records.map(({ clusters: _, ...record }) => record);
    expect(countedIn(lone, alike, { kind: 'tfidf', seed: 0 }).taken).toMatchObject({ of: 'nothing' });
    expect(countedIn(lone, null, { kind: '', seed: 0 }).tried).toHaveLength(1);
  });
});
