/** `crayon calibrate` and `crayon route` on scripted engines: what is asked, what is written, what is said. */

import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CalibrateFlags } from '../../../src/cli/calibrate/flags.js';
import { runCalibrate } from '../../../src/cli/calibrate/run.js';
import { runRoute } from '../../../src/cli/route.js';
import type { Query } from '../../../src/engine/types.js';
import type { Assemble } from '../../../src/serve/assemble.js';
import { loadEdgeConfig } from '../../../src/serve/config.js';
import { fixedAdapters } from '../../../src/serve/customizations/adapter-set.js';
import { crayon } from '../../e2e/helpers.js';
import { temporaryDir } from '../../helpers/files.js';
import { createScriptedEngine, type ScriptedOptions } from '../../helpers/scripted.js';
import { keptTerminal } from '../../helpers/terminal.js';

const N = 60;

const YAML = `model: model
examples: mine.jsonl
engine: { sequences: 3 }
routing:
  # The cuts.
  thresholds:
    scope: null
  confidence: { measure: mean-logprob, tokens: 4 }
server:
  base_url: http://127.0.0.1:1/v1
  model: big
  prices: { input_per_million: 1000, output_per_million: 1000, currency: EUR }
`;

/** Question i is hard for the device when i % 3 is 0, and then it is unsure; the server fails on i % 10 = 5. */
function engines(edgeOptions: Partial<ScriptedOptions> = {}) {
  const indexOf = ({ query }: { query: Query }) => Number(/question (\d+)/.exec(query.text)?.[1] ?? 0);
  const device = createScriptedEngine({
    name: 'edge',
    promptNll: 2,
    answers: (request) => {
      const i = indexOf(request);
      return {
        tokens: [
          i % 3 === 0 ? { text: 'wrong', logprob: -2 - i / 1000 } : { text: `answer ${i}`, logprob: -0.1 - i / 1000 },
        ],
      };
    },
    ...edgeOptions,
  });
  const server = createScriptedEngine({
    name: 'server',
    answers: (request) => (indexOf(request) % 10 === 5 ? 'wrong' : `answer ${indexOf(request)}`),
  });
  let assembled = 0;
  const assemble: Assemble = async (config) => {
    assembled++;
    return {
      device,
      server: config.server === null ? null : server,
      scope: ({ text }) => ({ percentile: Number(/\d+/.exec(text)?.[0] ?? 50), similarity: 0.5 }),
      embedder: null,
      adapters: fixedAdapters([{ id: 'a', path: 'a.gguf', name: 'a' }]),
      close: async () => {},
    };
  };
  return { device, server, assemble, assembled: () => assembled };
}

describe('crayon calibrate', () => {
  let dir: string;
  let flags: CalibrateFlags;
  const at = (name: string) => join(dir, name);

  beforeEach(() => {
    dir = temporaryDir();
    writeFileSync(at('edge.yaml'), YAML);
    writeFileSync(at('mine.jsonl'), '{"prompt":"my question","completion":" mine"}\n');
    const examples = Array.from({ length: N }, (_, i) =>
      JSON.stringify({ prompt: `question ${i}`, completion: ` answer ${i}` }),
    );
    writeFileSync(at('held-out.jsonl'), `${examples.join('\n')}\n`);
    flags = {
      config: at('edge.yaml'),
      data: [at('held-out.jsonl')],
      split: 'test',
      prompt: 'chat',
      match: 'exact',
      seed: 0,
      questionClusters: true,
      resamples: 200,
      fresh: false,
      force: false,
    };
  });

  it('finds the signal that tells, writes its cut into a copy with all comments, and shows the curve', async () => {
    const { assemble, device, server } = engines();
    const { terminal: t, stdout, stderr } = keptTerminal();
    await runCalibrate({ ...flags, targetShare: 0.35 }, t, assemble);

    const { thresholds } = loadEdgeConfig(at('edge.calibrated.yaml')).routing;
    expect(thresholds).toMatchObject({ scope: null, complexity: null });
    expect(thresholds.confidence).toBeLessThan(-0.1);
    expect(thresholds.confidence).toBeGreaterThan(-2);
    const yaml = readFileSync(at('edge.calibrated.yaml'), 'utf8');
    expect(yaml).toContain('# The cuts.');
    expect(yaml).toMatch(/# crayon calibrate: target share 0.35; on 60 examples, held out: accuracy /);
    expect(stdout()).toContain('APGR');
    expect(stdout()).toContain('* these signals');
    expect(stdout()).toContain('EUR');
    expect(stderr()).not.toContain('Warning');
    expect(device.requests).toHaveLength(N);
    expect(server.requests).toHaveLength(N);
    expect(device.requests[0]!.request.adapters).toEqual([{ id: 'a', path: 'a.gguf', scale: 1 }]);
  });

  it('with a pool writes the rates of its clusters where they tell, and the copy routes by them', async () => {
    // Every third question is of the second cluster, where the device is wrong and no less sure.
    const of = (text: string) => Number(/question (\d+)/.exec(text)?.[1] ?? 0);
    const { assemble } = engines({
      answers: ({ query }) => {
        const i = of(query.text);
        return { tokens: [{ text: i % 3 === 0 ? 'wrong' : `answer ${i}`, logprob: -0.1 - ((i * Math.SQRT2) % 1) }] };
      },
    });
    const pooled: Assemble = async (config) => ({
      ...(await assemble(config)),
      clusters: ({ text }) => Float64Array.from(of(text) % 3 === 0 ? [0.1, 0.9, 0] : [0.9, 0.1, 0]),
    });
    writeFileSync(at('edge.yaml'), YAML.replace('examples:', 'pool: pool\nexamples:'));
    const said = keptTerminal();
    await runCalibrate({ ...flags, targetShare: 0.4 }, said.terminal, pooled);
    const { thresholds, success } = loadEdgeConfig(at('edge.calibrated.yaml')).routing;
    expect(thresholds).toMatchObject({ scope: null, complexity: null, confidence: null, correctness: null });
    expect(success).toHaveLength(3);
    expect(success![0]).toBeGreaterThan(thresholds.success!);
    expect(success![1]).toBeLessThan(thresholds.success!);
    expect(said.stdout()).toMatch(
      /Success rate of the device in each cluster: 0\.\d+, 0\.\d+; of strays, which are of none: 0\.\d+/,
    );

    const routed = keptTerminal();
    const flagsOfRoute = { explain: 'question 3', config: at('edge.calibrated.yaml'), prompt: 'chat' as const };
    await runRoute(flagsOfRoute, routed.terminal, pooled);
    expect(routed.stdout()).toMatch(
      /^The server answers: the device is seldom right about such queries \(success rate /,
    );
    expect(routed.stdout()).toMatch(/cluster +│ +1 │/);

    // Records of an earlier version have no gates: they are used as they are, and what they lack is said.
    const records = at('edge.calibrated.yaml.records.jsonl');
    writeFileSync(records, readFileSync(records, 'utf8').replaceAll(/,"clusters":\[[^\]]*\]/g, ''));
    const earlier = keptTerminal();
    await runCalibrate({ ...flags, targetShare: 0.4, force: true }, earlier.terminal, pooled);
    expect(earlier.stderr()).toContain('60 examples were answered by an earlier run');
    expect(earlier.stderr()).toContain('with --fresh, rates are tried too');
    expect(loadEdgeConfig(at('edge.calibrated.yaml')).routing.thresholds.success).toBe(null);
  });

  it('writes the weights of a probability where only the combination of two signals tells', async () => {
    // Two spreads of even steps: the device is right where its probability and the scope are together above 1.
    const surest = (i: number) => 0.02 + 0.96 * ((i * Math.SQRT2) % 1);
    const place = (i: number) => (i * 1.618034) % 1;
    const of = ({ query }: { query: Query }) => Number(/question (\d+)/.exec(query.text)?.[1] ?? 0);
    const { assemble } = engines({
      answers: (request) => {
        const i = of(request);
        const text = surest(i) + place(i) > 1 ? `answer ${i}` : 'wrong';
        return { tokens: [{ text, logprob: Math.log(surest(i)) }] };
      },
    });
    const placed: Assemble = async (config) => ({
      ...(await assemble(config)),
      server: createScriptedEngine({ answers: (request) => `answer ${of(request)}` }),
      scope: ({ text }) => ({ percentile: 100 * place(Number(/\d+/.exec(text)![0])), similarity: 0.5 }),
    });
    const examples = Array.from({ length: 300 }, (_, i) =>
      JSON.stringify({ prompt: `question ${i}`, completion: ` answer ${i}` }),
    );
    writeFileSync(at('held-out.jsonl'), examples.join('\n'));
    const said = keptTerminal();
    await runCalibrate({ ...flags, targetShare: 0.5 }, said.terminal, placed);

    const { thresholds, correctness } = loadEdgeConfig(at('edge.calibrated.yaml')).routing;
    expect(thresholds).toMatchObject({ scope: null, complexity: null, confidence: null });
    expect(Object.keys(correctness!).sort()).toEqual(['intercept', 'probability', 'scope']);
    expect(correctness!.scope! / correctness!.probability!).toBeCloseTo(1, 0);
    expect(readFileSync(at('edge.calibrated.yaml'), 'utf8')).toContain('# The cuts.');
    const out = said.stdout();
    expect(out).toMatch(/correctness +│ +0\.\d+ │ the device's answer is right with a probability below 0\.\d+/);
    expect(out).toMatch(/P\(right\) = sigmoid\(-[\d.]+ \+ [\d.]+ probability \+ [\d.]+ scope\)/);
    expect(out).toContain('correctness of probability, log_scope, complexity');
    expect(out).toMatch(/the confidence as it is +│ 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]/);
    expect(out).toMatch(/map, 15 bins of equal numbers, said -> right:/);
    expect(out).toMatch(/Taken: (logistic|isotonic); the isotonic map saves/);
    expect(said.stderr()).not.toContain('The scope weighs against the device');

    // The written configuration decides in `crayon route`, and in the other direction the scope draws a warning.
    const route = (prompt: string) => ({
      explain: prompt,
      config: at('edge.calibrated.yaml'),
      prompt: 'chat' as const,
    });
    const [right, wrong] = [keptTerminal(), keptTerminal()];
    const indices = Array.from({ length: 300 }, (_, i) => i).sort((a, b) => sum(a) - sum(b));
    await runRoute(route(`question ${indices.at(-1)}`), right.terminal, placed);
    await runRoute(route(`question ${indices[0]}`), wrong.terminal, placed);
    expect(right.stdout()).toMatch(
      /^The device answers: the device's answer is right with probability (over )?0\.9\d*, at least/,
    );
    expect(wrong.stdout()).toMatch(
      /^The server answers: the device's answer is right with probability (under )?0\.0\d*, below/,
    );
    expect(wrong.stdout()).toMatch(
      /correctness +│ +[\d.e-]+ │ +0\.\d+ │ probability of a right answer, read off routing\.correctness_map; below: server/,
    );
    const mirrored: Assemble = async (config) => ({
      ...(await placed(config)),
      scope: ({ text }) => ({ percentile: 100 - 100 * place(Number(/\d+/.exec(text)![0])), similarity: 0.5 }),
    });
    const warned = keptTerminal();
    await runCalibrate({ ...flags, targetShare: 0.5, fresh: true, force: true }, warned.terminal, mirrored);
    expect(warned.stderr()).toContain('The scope weighs against the device');

    function sum(i: number): number {
      return surest(i) + place(i);
    }
  });

  it('asks nothing twice: another target, and a run that was stopped', async () => {
    const failing = engines({
      answers: (_, i) =>
        i < 20
          ? { tokens: [{ text: 'x', logprob: -1 }] }
          : { tokens: 'x', fail: { at: 'open', error: 'out-of-memory' } },
    });
    await expect(
      runCalibrate({ ...flags, targetShare: 0.3 }, keptTerminal().terminal, failing.assemble),
    ).rejects.toMatchObject({
      code: 'out-of-memory',
    });
    expect(existsSync(at('edge.calibrated.yaml'))).toBe(false);
    const kept = readFileSync(at('edge.calibrated.yaml.records.jsonl'), 'utf8').trimEnd().split('\n').length - 1;
    expect(kept).toBeGreaterThanOrEqual(17); // three at a time: what was under way is lost
    appendFileSync(at('edge.calibrated.yaml.records.jsonl'), '{"id":"cut');

    const rest = engines();
    await runCalibrate({ ...flags, targetShare: 0.3 }, keptTerminal().terminal, rest.assemble);
    expect(rest.device.requests).toHaveLength(N - kept);

    const none = engines();
    const again = keptTerminal();
    again.terminal.json = true;
    await runCalibrate({ ...flags, targetCost: 1, force: true }, again.terminal, none.assemble);
    expect(none.device.requests.length + none.server.requests.length).toBe(0);
    const document = JSON.parse(again.stdout());
    expect(document).toMatchObject({ target: { kind: 'cost', value: 1 }, records: N, currency: 'EUR' });
    expect(document.calibrated.costPer1000).toBeLessThanOrEqual(1);
  });

  it('keeps minus infinity, the confidence of an empty answer, from run to run', async () => {
    const empty = engines({ answers: (_, i) => ({ tokens: i % 2 === 0 ? [] : [{ text: 'x', logprob: -0.1 }] }) });
    await runCalibrate({ ...flags, targetShare: 0.6 }, keptTerminal().terminal, empty.assemble);
    const first = readFileSync(at('edge.calibrated.yaml'), 'utf8');
    await runCalibrate({ ...flags, targetShare: 0.6, force: true }, keptTerminal().terminal, engines().assemble);
    expect(readFileSync(at('edge.calibrated.yaml'), 'utf8')).toBe(first);
    expect(loadEdgeConfig(at('edge.calibrated.yaml')).routing.thresholds.confidence).not.toBe(null);
  });

  it('warns of examples that the customisation has seen, of a target out of reach, and of a server that is no better', async () => {
    writeFileSync(at('mine.jsonl'), '{"prompt":"question 3","completion":" answer 3"}\n');
    const { assemble } = engines({ answers: 'something' });
    const said = keptTerminal();
    await runCalibrate({ ...flags, targetAccuracy: 0.99 }, said.terminal, assemble);
    expect(said.stderr()).toContain('1 of the held-out examples are among');
    expect(said.stderr()).toContain('out of reach');
    expect(said.stderr()).toContain('The device answered no example right');

    const bad = engines();
    const worse: Assemble = async (config) => ({
      ...(await bad.assemble(config)),
      server: createScriptedEngine({ answers: 'nonsense' }),
    });
    const warned = keptTerminal();
    await runCalibrate({ ...flags, targetShare: 0.2, fresh: true, force: true }, warned.terminal, worse);
    expect(warned.stderr()).toContain('no more accurate than the device');
  });

  const heldOut = (n: number) => {
    const lines = Array.from({ length: n }, (_, i) => `{"prompt":"question ${i}","completion":" answer ${i}"}`);
    writeFileSync(at('held-out.jsonl'), lines.join('\n'));
  };

  it('guarantees the error rate of the kept answers, and prints what becomes of the promise on resamples', async () => {
    heldOut(100);
    const { assemble } = engines();
    const said = keptTerminal();
    await runCalibrate({ ...flags, maxRisk: 0.1 }, said.terminal, assemble);
    const { thresholds } = loadEdgeConfig(at('edge.calibrated.yaml')).routing;
    expect(thresholds).toMatchObject({ scope: null, complexity: null, correctness: null });
    expect(thresholds.confidence).toBeLessThan(-0.1);
    expect(thresholds.confidence).toBeGreaterThan(-2.1);
    const out = said.stdout();
    expect(out).toMatch(/with confidence 0\.95 at most +│ \d\.\d %, wanted 10\.0 %/);
    expect(out).toMatch(/200 resamples .* in [0-4]\.\d % of all \(promised: at most 5\.0 %\)/);
    expect(readFileSync(at('edge.calibrated.yaml'), 'utf8')).toMatch(/# crayon calibrate: at most 10\.0 % of the kept/);

    const json = keptTerminal();
    json.terminal.json = true;
    await runCalibrate({ ...flags, maxRisk: 0.2, confidence: 0.9, force: true }, json.terminal, assemble);
    const document = JSON.parse(json.stdout());
    expect(document).toMatchObject({ target: { kind: 'risk', risk: 0.2, confidence: 0.9 }, records: 100, holds: true });
    expect(document.realised.violations / 200).toBeLessThanOrEqual(0.1);
  });

  it('says how many examples are missing, and chooses nothing', async () => {
    heldOut(22);
    const none = engines();
    const asked = runCalibrate({ ...flags, maxRisk: 0.1 }, keptTerminal().terminal, none.assemble);
    await expect(asked).rejects.toMatchObject({
      code: 'dataset-too-small',
      message: expect.stringMatching(/29 .*46 .*7 are/),
    });
    expect(none.device.requests).toHaveLength(0);

    heldOut(30); // every third answer is wrong, also where the device is sure
    const sure = {
      answers: ({ query }: { query: Query }) => ({
        tokens: [{ text: /[036]$/.test(query.text) ? 'x' : `answer ${/\d+/.exec(query.text)![0]}`, logprob: -0.1 }],
      }),
    };
    // With 30 even the first cut keeps those that are less sure: that much is said, and no more.
    const all = runCalibrate({ ...flags, maxRisk: 0.1 }, keptTerminal().terminal, engines(sure).assemble);
    await expect(all).rejects.toMatchObject({
      code: 'dataset-too-small',
      message: expect.stringMatching(/with about 28 examples more the surer half/),
    });

    heldOut(60);
    const often = runCalibrate(
      { ...flags, maxRisk: 0.1, fresh: true },
      keptTerminal().terminal,
      engines(sure).assemble,
    );
    await expect(often).rejects.toMatchObject({
      code: 'dataset-too-small',
      hint: expect.stringContaining('would not help'),
    });

    heldOut(30);
    const once = {
      answers: ({ query }: { query: Query }) => ({
        tokens: [{ text: / 7$/.test(query.text) ? 'x' : `answer ${/\d+/.exec(query.text)![0]}`, logprob: -0.1 }],
      }),
    };
    const few = runCalibrate({ ...flags, maxRisk: 0.1, fresh: true }, keptTerminal().terminal, engines(once).assemble);
    await expect(few).rejects.toMatchObject({
      message: expect.stringMatching(/1 of the 30 .* takes 46 of them; about 61 /),
    });
    expect(existsSync(at('edge.calibrated.yaml'))).toBe(false);
  });

  it.each<[string, Partial<CalibrateFlags>, string | null, string]>([
    ['a confidence of nothing', { targetShare: 0.1, confidence: 0.9 }, null, 'bad-option'],
    ['no target', {}, null, 'bad-option'],
    ['no server', { targetShare: 0.1 }, 'model: m\n', 'config-invalid'],
    ['no prices', { targetCost: 1 }, YAML.replace(/ {2}prices.*\n/, ''), 'config-invalid'],
    ['an output that exists', { targetShare: 0.1, out: 'EXISTING' }, null, 'output-exists'],
    ['records of other data', { targetShare: 0.1, records: 'FOREIGN' }, null, 'checkpoint-mismatch'],
  ])('refuses %s before it asks anything', async (_, more, yaml, code) => {
    if (yaml !== null) writeFileSync(at('edge.yaml'), yaml);
    writeFileSync(at('EXISTING'), 'keep');
    writeFileSync(at('FOREIGN'), '{"model":"another"}\n');
    const { assemble, assembled } = engines();
    const placed = {
      ...more,
      ...(more.out ? { out: at(more.out) } : {}),
      ...(more.records ? { records: at(more.records) } : {}),
    };
    await expect(runCalibrate({ ...flags, ...placed }, keptTerminal().terminal, assemble)).rejects.toMatchObject({
      code,
    });
    expect(assembled()).toBe(0);
    expect(readFileSync(at('EXISTING'), 'utf8')).toBe('keep');
  });

  it('refuses too few examples', async () => {
    writeFileSync(at('held-out.jsonl'), '{"prompt":"a","completion":" b"}\n');
    await expect(
      runCalibrate({ ...flags, targetShare: 0.1 }, keptTerminal().terminal, engines().assemble),
    ).rejects.toMatchObject({
      code: 'dataset-too-small',
    });
  });

  it('leaves out what the device cannot take, and says so', async () => {
    const long = JSON.stringify({ prompt: `question 999 ${'word '.repeat(3000)}`, completion: ' answer 999' });
    appendFileSync(at('held-out.jsonl'), `${long}\n`);
    const { assemble, server } = engines();
    const said = keptTerminal();
    await runCalibrate({ ...flags, targetShare: 0.2 }, said.terminal, assemble);
    expect(said.stderr()).toContain('1 of the examples are left out');
    expect(server.requests).toHaveLength(N);
  });
});

describe('crayon route', () => {
  it('shows the decision and every score, and makes no server', async () => {
    const dir = temporaryDir();
    const path = join(dir, 'edge.yaml');
    writeFileSync(path, `${YAML.replace('scope: null', 'scope: 80')}  api_key_env: CRAYON_TEST_NO_SUCH_KEY\n`);
    const { assemble, server, device } = engines();
    const flags = { explain: 'question 7', config: path, prompt: 'chat' as const };
    const said = keptTerminal();
    await runRoute(flags, said.terminal, assemble);
    expect(said.stdout()).toContain(
      'The server answers: the query is unlike the examples of the task (scope percentile 7 is below the cut 80).',
    );
    expect(said.stdout()).toMatch(/complexity +│ +2 │ +off/);
    expect(server.requests).toEqual([]);

    const only = keptTerminal();
    only.terminal.json = true;
    await runRoute({ ...flags, mode: 'only_on_device', maxTokens: 5 }, only.terminal, assemble);
    expect(JSON.parse(only.stdout())).toMatchObject({
      mode: 'only_on_device',
      source: 'on_device',
      reason: 'mode',
      explanation: 'The device answers: the mode says so.',
      computed: { scope: 7, similarity: 0.5, complexity: 2, maxTokens: 5 },
    });
    expect(device.requests.at(-1)!.request.maxTokens).toBe(5);
  });
});

describe('their command lines', () => {
  it.each([
    [['calibrate', '--config', 'c', '--data', 'd', '--target-share', '1.5'], 'from 0 to 1'],
    [
      ['calibrate', '--config', 'c', '--data', 'd', '--target-share', '0.5', '--target-cost', '1'],
      'cannot be used with',
    ],
    [['calibrate', '--data', 'd', '--target-share', '0.5'], '--config'],
    [['route', '--config', 'c'], '--explain'],
    [['route', '--config', 'c', '--explain', 'x', '--mode', 'cloud'], 'only_in_cloud'],
  ])('%j is refused with what was expected', async (argv, expected) => {
    const { code, stderr } = await crayon(argv);
    expect(code).toBe(2);
    expect(stderr).toContain(expected);
  });

  it.each(['calibrate', 'route'])('%s has a help with examples', async (command) => {
    const { code, stdout } = await crayon([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`$ crayon ${command} --`);
  });
});
