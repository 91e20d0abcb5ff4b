/** `crayon calibrate --from` on scripted engines: another user's rule, shifted by a few answers of a new one. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CalibrateFlags } from '../../../src/cli/calibrate/flags.js';
import { runCalibrate } from '../../../src/cli/calibrate/run.js';
import { runRoute } from '../../../src/cli/route.js';
import type { Query } from '../../../src/engine/types.js';
import type { Assemble } from '../../../src/serve/assemble.js';
import { loadEdgeConfig } from '../../../src/serve/config.js';
import { fixedAdapters } from '../../../src/serve/customizations/adapter-set.js';
import { temporaryDir } from '../../helpers/files.js';
import { createScriptedEngine } from '../../helpers/scripted.js';
import { keptTerminal } from '../../helpers/terminal.js';

const EDGE = `model: model
examples: mine.jsonl
routing:
  confidence: { measure: mean-logprob, tokens: 4 }
server:
  base_url: http://127.0.0.1:1/v1
  model: big
`;

const numberOf = (text: string) => Number(/question (\d+)/.exec(text)?.[1] ?? 0);
const spread = (i: number, by: number) => (i * by) % 1;
const surest = (i: number) => 0.02 + 0.96 * spread(i, Math.SQRT2);

/** The device is right where its probability and the scope are together above `bar`: for the users of a calibration above 1. */
function assembleOf(bar: number): Assemble {
  const device = createScriptedEngine({
    promptNll: 2,
    answers: ({ query }: { query: Query }) => {
      const i = numberOf(query.text);
      const isRight = surest(i) + spread(i, 1.618034) > bar;
      return { tokens: [{ text: isRight ? `answer ${i}` : 'wrong', logprob: Math.log(surest(i)) }] };
    },
  });
  const server = createScriptedEngine({ answers: ({ query }) => `answer ${numberOf(query.text)}` });
  return async (config) => ({
    device,
    server: config.server === null ? null : server,
    scope: ({ text }) => ({ percentile: 100 * spread(numberOf(text), 1.618034), similarity: 0.5 }),
    embedder: null,
    adapters: fixedAdapters([]),
    close: async () => {},
  });
}

describe('crayon calibrate --from', () => {
  let dir: string;
  let flags: CalibrateFlags;
  const at = (name: string) => join(dir, name);
  const examples = (name: string, from: number, to: number) => {
    const lines = Array.from({ length: to - from }, (_, k) => {
      return JSON.stringify({ prompt: `question ${from + k}`, completion: ` answer ${from + k}` });
    });
    writeFileSync(at(name), lines.join('\n'));
    return [at(name)];
  };

  beforeEach(async () => {
    dir = temporaryDir();
    writeFileSync(at('mine.jsonl'), '{"prompt":"my question","completion":" mine"}\n');
    writeFileSync(at('edge.yaml'), EDGE);
    writeFileSync(at('new.yaml'), EDGE);
    flags = {
      ...{ config: at('edge.yaml'), data: examples('held-out.jsonl', 0, 200), split: 'test', prompt: 'chat' },
      ...{ match: 'exact', seed: 0, questionClusters: true, resamples: 100, fresh: false, force: false },
    };
    await runCalibrate({ ...flags, targetShare: 0.5, asProbability: true }, keptTerminal().terminal, assembleOf(1));
  });

  const shiftedBy = async (bar: number, more: Partial<CalibrateFlags> = {}) => {
    const said = keptTerminal();
    const given = { ...flags, config: at('new.yaml'), data: examples('ten.jsonl', 300, 310), force: true, fresh: true };
    await runCalibrate({ ...given, from: at('edge.calibrated.yaml'), ...more }, said.terminal, assembleOf(bar));
    return { ...said, routing: loadEdgeConfig(at('new.calibrated.yaml')).routing };
  };

  it('keeps weights, map and cut, and shifts by what the device gets right of ten', async () => {
    const rule = loadEdgeConfig(at('edge.calibrated.yaml')).routing;
    expect(rule.correctness).not.toBeNull();
    const never = await shiftedBy(3);
    expect(never.routing).toMatchObject({
      ...{ correctness: rule.correctness, correctnessMap: rule.correctnessMap, thresholds: rule.thresholds },
    });
    expect(never.routing.correctnessShift).toBeLessThan(-1);
    expect(never.stdout()).toMatch(/sent to the server +│ +\d+\.\d % │ +100\.0 %/);
    expect(readFileSync(at('new.calibrated.yaml'), 'utf8')).toMatch(/# crayon calibrate: the rule of .*, shifted by -/);
    // The written configuration routes by it, and says so.
    const routed = keptTerminal();
    const asked = { explain: 'question 301', config: at('new.calibrated.yaml'), prompt: 'chat' as const };
    await runRoute(asked, routed.terminal, assembleOf(3));
    expect(routed.stdout()).toMatch(/probability of a right answer.*, shifted by -\d/);

    const always = await shiftedBy(0);
    expect(always.routing.correctnessShift).toBeGreaterThan(1);
    const [, before, after] = /sent to the server +│ +(\d+\.\d) % │ +(\d+\.\d) %/.exec(always.stdout())!;
    expect(Number(after)).toBeLessThan(Number(before));
    const alike = await shiftedBy(1);
    expect(Math.abs(alike.routing.correctnessShift)).toBeLessThan(1);
  });

  it('takes an earlier shift away when the rule is fitted anew, and starts from the rule itself when it is shifted again', async () => {
    const once = await shiftedBy(3);
    const twice = await shiftedBy(3, { from: at('new.calibrated.yaml') });
    expect(twice.routing.correctnessShift).toBe(once.routing.correctnessShift);
    const again = { ...flags, config: at('new.calibrated.yaml'), targetShare: 0.5, asProbability: true };
    await runCalibrate({ ...again, out: at('anew.yaml') }, keptTerminal().terminal, assembleOf(1));
    expect(loadEdgeConfig(at('anew.yaml')).routing.correctnessShift).toBe(0);
  });

  it.each<[string, Partial<CalibrateFlags>, Record<string, string>, string]>([
    ['a rule that is no probability', { from: 'edge.yaml' }, {}, 'config-invalid'],
    ['two examples', { data: ['two.jsonl'] }, {}, 'dataset-too-small'],
    ['another look at answers', {}, { 'new.yaml': EDGE.replace('tokens: 4', 'tokens: 8') }, 'config-invalid'],
  ])('refuses %s', async (_, more, files, code) => {
    examples('two.jsonl', 0, 2);
    for (const [name, text] of Object.entries(files)) writeFileSync(at(name), text);
    const placed = {
      ...more,
      ...(more.from && { from: at(more.from) }),
      ...(more.data && { data: more.data.map(at) }),
    };
    await expect(shiftedBy(1, placed)).rejects.toMatchObject({ code });
  });

  it('refuses answers that lack what the rule weighs', async () => {
    const without: Assemble = async (config) => ({ ...(await assembleOf(1)(config)), scope: null });
    const given = { ...flags, config: at('new.yaml'), data: examples('ten.jsonl', 300, 310), from: at('rule.yaml') };
    const rule = readFileSync(at('edge.calibrated.yaml'), 'utf8');
    writeFileSync(at('rule.yaml'), rule.replace(/correctness: \{[^}]*\}/, 'correctness: { probability: 1, scope: 1 }'));
    await expect(runCalibrate(given, keptTerminal().terminal, without)).rejects.toMatchObject({
      code: 'config-invalid',
      message: expect.stringContaining('lacks a signal'),
    });
  });
});
