import { describe, expect, it } from 'vitest';
import {
  type CollectedRecord,
  type CollectParts,
  collectRecords,
  fitsDevice,
  type Question,
} from '../../../src/routing/calibrate/collect.js';
import { CONFIDENCE_MEASURES } from '../../../src/routing/signals/signal.js';
import { createScriptedEngine } from '../../helpers/scripted.js';

const questions: Question[] = Array.from({ length: 6 }, (_, i) => ({
  id: `q:${i}`,
  prompt: `question ${i} `,
  completion: ` answer ${i}`,
}));

function setUp(overrides: Partial<CollectParts> = {}) {
  const number = (text: string) => Number(/\d+/.exec(text)![0]);
  const textOf = (prompt: { kind: string }) => JSON.stringify(prompt);
  const device = createScriptedEngine({
    name: 'edge',
    promptNll: (prompt) => number(textOf(prompt)) / 10,
    // Right for even questions, and sure of it.
    answers: ({ query }) => {
      const i = number(query.text);
      return { tokens: [{ text: i % 2 === 0 ? `answer ${i}` : 'something', logprob: i % 2 === 0 ? -0.1 : -2 }] };
    },
  });
  const server = createScriptedEngine({
    name: 'server',
    answers: ({ query }) => `answer ${number(query.text)}`,
  });
  const parts: CollectParts = {
    device,
    server,
    scope: ({ text }) => ({ percentile: 10 * number(text), similarity: 0.5 }),
    adapters: ({ text }) => [{ id: text, path: 'a.gguf', scale: 1 }],
    confidence: { measure: 'mean-logprob', tokens: 4 },
    maxTokens: 8,
    prices: { inputPerMillion: 1000, outputPerMillion: 2000 },
    form: 'chat',
    match: 'exact',
    ...overrides,
  };
  return { device, server, parts };
}

async function collectAll(parts: CollectParts, parallel = 3): Promise<CollectedRecord[]> {
  const records: CollectedRecord[] = [];
  await collectRecords(questions, parts, {
    parallel,
    signal: new AbortController().signal,
    onRecord: (record) => records.push(record),
  });
  return records.sort((a, b) => a.id.localeCompare(b.id));
}

describe('collectRecords', () => {
  it('records what each signal said, who was right, and what it cost', async () => {
    const { parts } = setUp();
    const records = await collectAll(parts);
    expect(records).toHaveLength(6);
    expect(records[3]).toEqual({
      id: 'q:3',
      scope: 30,
      complexity: 0.3,
      confidence: -2,
      confidences: { 'mean-logprob': -2, 'min-probability': Math.exp(-2) },
      edgeCorrect: 0,
      serverCorrect: 1,
      tokens: { edge: 1, serverPrompt: 3, serverCompletion: 2 },
      serverCost: (3 * 1000 + 2 * 2000) / 1e6,
      edgeAnswer: 'something',
      serverAnswer: 'answer 3',
    });
    expect(records.map((r) => r.edgeCorrect)).toEqual([1, 0, 1, 0, 1, 0]);
  });

  it("keeps the prompt's gate where the device has a pool", async () => {
    const { parts } = setUp({ clusters: ({ text }) => Float64Array.of(1 / 3, 2 / 3, text.includes('3') ? 1 : 0) });
    const records = await collectAll(parts);
    expect(records[0]!.clusters).toEqual([0.3333, 0.6667, 0]);
    expect(records[3]!.clusters).toEqual([0.3333, 0.6667, 1]);
  });

  it('records every measure of the confidence where that is wanted, which takes whole distributions', async () => {
    const plain = setUp();
    await collectAll(plain.parts);
    expect(plain.device.requests[0]!.request.distribution).toBe(false);
    const { parts, device } = setUp({ allMeasures: true });
    const records = await collectAll(parts);
    expect(device.requests[0]!.request.distribution).toBe(true);
    expect(Object.keys(records[0]!.confidences!)).toEqual([...CONFIDENCE_MEASURES]);
  });

  it('puts the question as it will be put: one user`s message as it stands, or a text without white space at its end, with the adapters', async () => {
    const { parts, device, server } = setUp();
    await collectAll(parts);
    for (const { request } of [...device.requests, ...server.requests]) {
      expect(request.query.prompt).toEqual({
        kind: 'chat',
        messages: [{ role: 'user', content: expect.stringMatching(/^question \d\s*$/) }],
      });
      expect(request.temperature).toBe(0);
    }
    expect(device.requests[0]!.request.adapters).toEqual([
      { id: expect.stringMatching(/^question/), path: 'a.gguf', scale: 1 },
    ]);
    expect(server.requests[0]!.request.adapters).toBeUndefined();
    const text = setUp({ form: 'text' });
    await collectAll(text.parts);
    expect(text.device.requests[0]!.request.query.prompt).toEqual({ kind: 'text', text: 'question 0' });
  });

  it('asks the device for distributions only where the measure needs them', async () => {
    const { parts, device } = setUp({ confidence: { measure: 'margin', tokens: 1 } });
    const records = await collectAll(parts);
    expect(device.requests.every(({ request }) => request.distribution === true)).toBe(true);
    expect(records[0]!.confidence).toBeNaN(); // the script gives no margin: said by calibration, not hidden here
  });

  it('stops at the first failure, and leaves nothing running', async () => {
    const server = createScriptedEngine({
      answers: [
        { tokens: 'x' },
        { tokens: 'x', fail: { at: 'open', error: 'server-refused' } },
        { tokens: 'x', hangAt: 0 },
      ],
    });
    const { parts, device } = setUp({ server });
    await expect(collectAll(parts)).rejects.toMatchObject({ code: 'server-refused' });
    expect(device.load().running).toBe(0);
    expect(server.load().running).toBe(0);
    expect(server.requests.length).toBeLessThan(6);
  });

  it('stops when it is told to', async () => {
    const { parts, device } = setUp();
    const controller = new AbortController();
    const records: CollectedRecord[] = [];
    const run = collectRecords(questions, parts, {
      parallel: 1,
      signal: controller.signal,
      onRecord: (record) => {
        records.push(record);
        if (records.length === 2) controller.abort();
      },
    });
    await expect(run).rejects.toMatchObject({ code: 'interrupted' });
    expect(records).toHaveLength(2);
    expect(device.requests).toHaveLength(2);
  });

  it('knows what does not fit the device', () => {
    const { parts } = setUp({ maxTokens: 2045 });
    expect(fitsDevice(questions[0]!, parts)).toBe(true); // BOS and two words, in a context of 2048
    expect(fitsDevice(questions[0]!, { ...parts, maxTokens: 2046 })).toBe(false);
  });
});
