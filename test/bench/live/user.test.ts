import { describe, expect, it } from 'vitest';
import { cellOf } from '../../../src/bench/cells.js';
import type { EndpointAnswers } from '../../../src/bench/live/endpoint.js';
import { ARMS, hybridName, planLiveCells } from '../../../src/bench/live/plan.js';
import { type BenchLive, LIVE_SCHEMA, LOAD_SCHEMA } from '../../../src/bench/live/settings.js';
import { calibrationRecords, liveCosts, liveUser } from '../../../src/bench/live/user.js';
import { planLoad } from '../../../src/bench/load/run.js';
import type { BenchTask, UserWithExamples } from '../../../src/bench/users.js';
import type { TimedAnswer } from '../../../src/engine/server/chat-client.js';
import { answer } from '../../helpers/bench-run.js';
import { errorOf } from '../../helpers/files.js';

const example = (i: number) => ({ id: `t:${i}`, dataset: 't', prompt: `prompt ${i}`, completion: ' yes' });
const examples = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => example(from + i));
const TASK: BenchTask = {
  name: 't',
  shown: examples(0, 40),
  test: examples(100, 110),
  generates: true,
  overlapping: 0,
};
const USER: UserWithExamples = {
  id: 'one',
  info: { name: 'one', kind: 'seen', tasks: ['t'], k: 3 },
  taskPaths: ['t.yaml'],
  seed: 0,
  isFirst: true,
  tasks: [TASK],
  shown: examples(0, 3),
  test: examples(100, 104),
  method: 'generation',
};
const live = (over: object = {}) => LIVE_SCHEMA.parse(over);

const timed = (over: Partial<TimedAnswer> = {}): TimedAnswer => ({
  text: 'yes',
  piecesMs: [1],
  endMs: 2,
  finishReason: 'stop',
  details: [],
  source: null,
  reason: null,
  signals: {},
  usage: { promptTokens: 100, completionTokens: 10, cachedTokens: null },
  ...over,
});

describe('liveUser', () => {
  it('calibrates on examples that are neither shown nor tested, drawn by the seed', () => {
    const { calibration } = liveUser(USER, 25);
    expect(calibration.length).toBe(25);
    const used = new Set([...USER.shown, ...USER.test].map(({ prompt }) => prompt));
    expect(calibration.some(({ prompt }) => used.has(prompt))).toBe(false);
    expect(liveUser(USER, 25).calibration).toEqual(calibration);
    expect(liveUser({ ...USER, seed: 1 }, 25).calibration).not.toEqual(calibration);
    expect(liveUser(USER, 1000).calibration.length).toBe(37);
  });
  it('refuses when too few are left', () => {
    const few = { ...TASK, shown: examples(0, 22) };
    expect(errorOf(() => liveUser({ ...USER, tasks: [few] }, 25)).code).toBe('dataset-too-small');
  });
});

const keysOf = (settings: BenchLive) => planLiveCells(USER, settings).map(({ key }) => key);

describe('planLiveCells', () => {
  it('are the device, the server and the router', () => {
    expect(keysOf(live())).toEqual(['one--edge-live', 'one--server-live', 'one--hybrid-live_20']);
    expect(hybridName(0.35)).toBe('hybrid-live@35');
    expect(keysOf(live({ thresholds: ['pooled'] }))[2]).toBe('one--hybrid-pooled_20');
  });
  it('change one thing at a time in the conditions', () => {
    const conditions = { networks: ['loopback', '4g', 'offline'], devices: ['default', 'phone'] };
    const keys = keysOf(live({ conditions })).slice(3);
    expect(keys.length).toBe(ARMS.length + 2 * 2 + ARMS.length);
    expect(keys).toContain('one--both--network=4g--device=default');
    expect(keys).toContain('one--neither--network=loopback--device=phone');
    // without the server a network changes nothing
    expect(keys.filter((key) => key.includes('4g') && /neither|blending/.test(key))).toEqual([]);
    expect(new Set(keys).size).toBe(keys.length);
  });
  it('leave out users that are not named', () => {
    expect(keysOf(live({ conditions: { users: ['two'] } })).length).toBe(3);
  });
});

describe('planLoad', () => {
  it('crosses devices, networks and patterns', () => {
    const load = LOAD_SCHEMA.parse({
      clients: [1, 4],
      rates: [2.5],
      networks: ['loopback', '4g'],
      devices: ['default'],
    });
    expect(planLoad(load).map(({ key }) => key)).toEqual([
      'default--loopback--closed-1',
      'default--loopback--closed-4',
      'default--loopback--open-2.5-1',
      'default--4g--closed-1',
      'default--4g--closed-4',
      'default--4g--open-2.5-1',
    ]);
  });
});

describe('a live cell', () => {
  const records = [
    answer('t', 0, 1, { source: 'in_cloud', latencyMs: 10 }),
    answer('t', 1, 0, { source: 'on_device', latencyMs: 20 }),
    answer('t', 2, 1, { source: 'in_cloud', latencyMs: 30 }),
    answer('t', 3, 1, { source: 'on_device', latencyMs: 40 }),
  ];
  const answered = (answers: Array<TimedAnswer | null>): EndpointAnswers => ({
    records,
    answers,
    notices: [],
  });
  const prices = { input_per_million: 1, output_per_million: 5 };
  const blend = { ms: 7, bytes: 4000, coefficients: [0.5, 0.5] };
  const make = (answers: Array<TimedAnswer | null>, over: { blend?: null; prices?: null } = {}) => {
    const costs = liveCosts(answered(answers), 'blend' in over ? null : blend, 'prices' in over ? null : prices);
    const { info, test, seed } = USER;
    return cellOf({ key: 'k', user: info, strategy: 's', table: 'hybrid', options: {}, seed, test, records, ...costs });
  };

  it('has accuracy, share, latency, cost and the prompts that left the device', () => {
    expect(make([timed(), timed(), timed(), timed()])).toMatchObject({
      strategy: 's',
      table: 'hybrid',
      examples: 4,
      accuracy: 0.75,
      serverShare: 0.5,
      bytesToServer: 2 * 'prompt 100'.length,
      customisationMs: 7,
      adapterBytes: 4000,
      adapterParameters: 1000,
      coefficients: [0.5, 0.5],
      loss: null,
      accuracyNorm: null,
      latencyMs: { mean: 25, p50: 25 },
    });
    // two answers of 100 + 10 tokens in four queries
    expect(make([timed(), timed(), timed(), timed()]).costPer1000).toBeCloseTo((1000 * 2 * (100 + 50)) / 1e6 / 4, 12);
  });
  it('knows no cost without prices or counts', () => {
    expect(make([timed(), null, timed(), null], { prices: null }).costPer1000).toBeNull();
    expect(make([timed({ usage: null }), null, timed(), null]).costPer1000).toBeNull();
    expect(make([null, timed({ usage: null }), timed(), null]).costPer1000).toBeCloseTo((1000 * 150) / 1e6 / 4, 12);
  });
  it('has no adapter without a blend', () => {
    const cell = make([timed(), timed(), timed(), timed()], { blend: null });
    expect(cell).toMatchObject({ customisationMs: 0, adapterBytes: 0, adapterParameters: 0 });
    expect(cell.coefficients).toBeUndefined();
  });
});

describe('calibrationRecords', () => {
  it('pair both sides, without the queries that either failed', () => {
    const side = (bits: string, answers: Array<TimedAnswer | null>, signals = {}): EndpointAnswers => ({
      answers,
      notices: [],
      records: [...bits].map((bit, i) => answer('t', i, bit === '1' ? 1 : 0, signals)),
    });
    const edge = side('101', [timed(), timed(), timed()], { scope: 40, confidence: -0.2 });
    const server = side('011', [timed(), null, timed({ usage: null })]);
    expect(calibrationRecords(edge, server)).toEqual([
      {
        id: 't:0',
        scope: 40,
        complexity: null,
        confidence: -0.2,
        edgeCorrect: 1,
        serverCorrect: 0,
        serverCost: 0,
        tokens: { edge: 10, serverPrompt: 100, serverCompletion: 10 },
      },
      {
        id: 't:2',
        scope: 40,
        complexity: null,
        confidence: -0.2,
        edgeCorrect: 1,
        serverCorrect: 1,
        serverCost: 0,
        tokens: { edge: 10, serverPrompt: 0, serverCompletion: 0 },
      },
    ]);
  });
});
