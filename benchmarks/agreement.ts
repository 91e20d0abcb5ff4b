/**
 * Is it worth a second answer of the device to know whether both agree? On a bench run's generated answers: each is given under the
 * fixed blend, under the gate of its prompt, and by what else the run has; the second answer of each pair is only asked whether it
 * says the same. Accuracy when the server answers 20 and 40 % of the queries, and the part of the gap between device and server
 * that is recovered, by rules with and without it: read off without any label, and fitted (the report's calibrated rule,
 * cross-fitted by prompt, and by user). Intervals over seeds and examples, as the report has them.
 *
 *     crayon bench --config configs/bench/agreement.yaml --out results/agreement
 *     npx tsx benchmarks/agreement.ts results/agreement
 *
 * With `--time` what the second answer takes where answers are served: milliseconds of processor on llama.cpp, the embedded model and
 * pool under the gate of each prompt, and again under its two largest; and where the second is not written but looked up, the first
 * one's tokens being scored under them in one pass.
 */

import { logisticOf, promptFolds, signalFeatures } from '../src/bench/report/held-out-rules.js';
import { type AnsweredCell, readRun } from '../src/bench/report/read.js';
import { exampleId, runSeedOf } from '../src/bench/report/units.js';
import type { AnswerRecord } from '../src/bench/types.js';
import { ordering } from '../src/core/auroc.js';
import { nestedWeights, weightedMean } from '../src/core/nested-mean.js';
import { type Interval, mean, percentileInterval, quantile, standardError } from '../src/core/stats.js';
import { loadDataset } from '../src/data/dataset.js';
import { isRight } from '../src/data/judge.js';
import { type AdapterScale, GREEDY, promptFor, Query } from '../src/engine/types.js';
import { openBase } from '../src/gguf/base.js';
import { clusterRates } from '../src/routing/calibrate/cluster-rates.js';
import { hybridCurve, hybridIntervals } from '../src/routing/calibrate/hybrid-curve.js';
import { expectedRate } from '../src/routing/signals/success.js';
import { assembleEngines } from '../src/serve/assemble.js';
import { edgeConfig } from '../src/serve/config.js';

const SHARES = [0.2, 0.4];
const PAIRED_DRAWS = 200;
const PAIRS = [
  ['agreement, then confidence', 'confidence'],
  ['calibrated, with agreement', 'calibrated'],
  ['calibrated, with rates and agreement', 'calibrated, with cluster rates'],
  ['left-out users: with agreement', 'left-out users: calibrated'],
  ['left-out users: with rates and agreement', 'left-out users: with rates'],
] as const;
const OPTIONS = { seed: 0, resamples: 1000 };

const [dir] = process.argv.slice(2);
if (dir === undefined) throw new Error('expected the directory of a bench run, or --time');
if (dir === '--time') {
  await timeAnswers();
  process.exit(0);
}
const { cells } = readRun(dir);
const generated = cells.filter(({ cell }) => cell.method === 'generation');
const nameOf = ({ cell }: AnsweredCell) =>
  [cell.strategy, ...Object.entries(cell.options).map(([name, value]) => `${name} ${value}`)].join(', ');
const names = [...new Set(generated.map(nameOf))];

/**
 * The chance that a sample at temperature 1 is the greedy answer is that answer's own probability, its mean log-probability times its
 * tokens: what any number of such samples can only estimate.
 */
const tokenizer = openBase('models/crayon-edge').tokenizer();
const tokensOf = (answer: string) => tokenizer.encode(answer).length;

/** Of each way, its answers by seed, user and example. */
const answersBy = new Map(
  names.map((name) => [
    name,
    new Map(
      generated
        .filter((one) => nameOf(one) === name)
        .flatMap(({ cell, answers }) =>
          answers.map(
            (answer) => [`${runSeedOf(cell)} ${cell.user.name} ${exampleId(answer)}`, { cell, answer }] as const,
          ),
        ),
    ),
  ]),
);
const users = [...new Set(generated.map(({ cell }) => cell.user.name))];

interface Item {
  edge: AnswerRecord;
  server: AnswerRecord;
  other: AnswerRecord;
  user: number;
  seed: number;
}

function itemsOf(first: string, second: string): Item[] {
  return [...answersBy.get(first)!].flatMap(([key, { cell, answer }]): Item[] => {
    const [server, other] = [answersBy.get('server')!.get(key), answersBy.get(second)!.get(key)];
    if (server === undefined || other === undefined) return [];
    return [
      {
        edge: answer,
        server: server.answer,
        other: other.answer,
        user: users.indexOf(cell.user.name),
        seed: runSeedOf(cell),
      },
    ];
  });
}

type Scoring = (others: readonly number[]) => (i: number) => number;

/** Every answer scored by a rule that was fitted on those of the same seed that are in other folds. */
function crossFitted(items: readonly Item[], folds: readonly number[], scoring: Scoring): Float64Array {
  const scores = new Float64Array(items.length);
  for (const seed of new Set(items.map((item) => item.seed))) {
    const ofSeed = [...items.keys()].filter((i) => items[i]!.seed === seed);
    for (const fold of new Set(folds)) {
      const held = ofSeed.filter((i) => folds[i] === fold);
      if (held.length === 0) continue;
      const score = scoring(ofSeed.filter((i) => folds[i] !== fold));
      for (const i of held) scores[i] = score(i);
    }
  }
  return scores;
}

/** F1 of the words of two answers, each counted as often as it stands there, as SQuAD's evaluation has it. */
function tokenF1(a: string, b: string): number {
  const words = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const [left, right] = [words(a), words(b)];
  const rest = [...right];
  const shared = left.filter((word) => {
    const at = rest.indexOf(word);
    if (at >= 0) rest.splice(at, 1);
    return at >= 0;
  }).length;
  return left.length + right.length === 0 ? 1 : (2 * shared) / (left.length + right.length);
}

/** What one order has over another at each share, in points, by the same resamples. */
function gained(
  items: readonly Item[],
  draws: readonly Uint16Array[],
  scores: ArrayLike<number>,
  over: ArrayLike<number>,
) {
  const routed = (by: ArrayLike<number>, weights: Uint16Array) => {
    const drawn = items.flatMap(({ edge, server }, i) =>
      new Array(weights[i]!).fill({ edge: edge.correct, server: server.correct, score: by[i]! }),
    );
    return hybridCurve(drawn, SHARES).points.map((point) => point.routed);
  };
  const differences = (weights: Uint16Array) => {
    const [here, there] = [routed(scores, weights), routed(over, weights)];
    return here.map((x, s) => x - there[s]!);
  };
  const once = differences(new Uint16Array(items.length).fill(1));
  const all = draws.slice(0, PAIRED_DRAWS).map(differences);
  return once.map((estimate, s) =>
    percentileInterval(
      estimate,
      Float64Array.from(all, (one) => one[s]!),
    ),
  );
}

const percent = (x: number) => (100 * x).toFixed(1);
const shown = ({ estimate, low, high }: Interval) => `${percent(estimate)} [${percent(low)}, ${percent(high)}]`;

for (const first of ['per-query', 'crayon']) {
  for (const second of names.filter((name) => name !== first && name !== 'server' && name !== 'base')) {
    const items = itemsOf(first, second);
    if (items.length === 0) continue;
    const answers = items.map(({ edge }) => edge);
    const of = items.map(({ user }) => user);
    const draws = nestedWeights(
      items.map(({ edge, user, seed }) => ({ unit: user, seed, example: exampleId(edge) })),
      OPTIONS,
    );
    const labels = answers.map(({ correct }) => correct);
    const same = items.map(({ edge, other }) => (isRight(other.answer, { completion: edge.answer }, 'exact') ? 1 : 0));
    const f1 = items.map(({ edge, other }) => tokenF1(edge.answer, other.answer));
    const confidence = answers.map((answer) => answer.confidence!);
    const signals = signalFeatures(answers, true)!;
    const gates = answers.map(({ clusters }) => clusters!);
    const [folds, byUser] = [promptFolds({ answers, users: of }, 0)!, of];
    const with_ = (...more: number[][]) => signals.map((row, i) => [...row, ...more.map((one) => one[i]!)]);
    const fitted =
      (rows: number[][]): Scoring =>
      (others) =>
        logisticOf(rows, labels, others);
    const rated =
      (rows: number[][]): Scoring =>
      (others) => {
        const { rates } = clusterRates(
          others.map((i) => gates[i]!),
          others.map((i) => labels[i]!),
        );
        const rowsWith = rows.map((row, i) => [...row, expectedRate(rates, gates[i]!)]);
        return logisticOf(rowsWith, labels, others);
      };
    const rules: Record<string, ArrayLike<number>> = {
      confidence,
      'chance that a sample agrees': confidence.map((x, i) => x * Math.max(1, tokensOf(answers[i]!.answer))),
      'agreement (same)': same,
      'agreement (token F1)': f1,
      'agreement, then confidence': same.map((x, i) => 1000 * x + Math.max(confidence[i]!, -900)),
      'F1, then confidence': f1.map((x, i) => 1000 * x + Math.max(confidence[i]!, -900)),
      calibrated: crossFitted(items, folds, fitted(signals)),
      'calibrated, with agreement': crossFitted(items, folds, fitted(with_(same))),
      'calibrated, with F1': crossFitted(items, folds, fitted(with_(f1))),
      'calibrated, with cluster rates': crossFitted(items, folds, rated(signals)),
      'calibrated, with rates and agreement': crossFitted(items, folds, rated(with_(same))),
      'left-out users: calibrated': crossFitted(items, byUser, fitted(signals)),
      'left-out users: with agreement': crossFitted(items, byUser, fitted(with_(same))),
      'left-out users: with rates': crossFitted(items, byUser, rated(signals)),
      'left-out users: with rates and agreement': crossFitted(items, byUser, rated(with_(same))),
    };
    const all = [...items.keys()];
    const [agreeing, parted] = [all.filter((i) => same[i] === 1), all.filter((i) => same[i] === 0)];
    console.log(
      `\n## ${first}, second answer by ${second}: ${items.length} answers, agree ${percent(agreeing.length / items.length)} %; right where they agree ${shown(weightedMean(labels, draws, agreeing))}, elsewhere ${shown(weightedMean(labels, draws, parted))}`,
    );
    const times = [first, second].map((name) =>
      mean([...answersBy.get(name)!.values()].map(({ cell }) => cell.latencyMs.p50)),
    );
    console.log(`median ms of an answer alone: ${times.map((ms) => ms.toFixed(1)).join(', second ')}\n`);
    console.log(
      `| routed by | AUROC | ${SHARES.map((share) => `accuracy at ${100 * share} % | recovered`).join(' | ')} |`,
    );
    console.log(`|---|---|${SHARES.map(() => '---|---').join('|')}|`);
    let last: ReturnType<typeof hybridIntervals> | undefined;
    for (const [name, scores] of Object.entries(rules)) {
      const routable = items.map(({ edge, server }, i) => ({
        edge: edge.correct,
        server: server.correct,
        score: scores[i]!,
      }));
      last = hybridIntervals(routable, draws, SHARES);
      const { auroc } = ordering(Float64Array.from(scores), labels);
      console.log(
        `| ${name} | ${auroc.toFixed(3)} | ${last.shares.map(({ routed, recovered }) => `${shown(routed)} | ${shown(recovered)}`).join(' | ')} |`,
      );
    }
    console.log(
      `| random | | ${last!.shares.map(({ random, share }) => `${shown(random)} | ${percent(share)}`).join(' | ')} |`,
    );
    console.log(`| oracle | | ${last!.shares.map(({ oracle }) => `${shown(oracle)} |`).join(' | ')} |`);
    for (const [name, over] of PAIRS) {
      const points = gained(items, draws, rules[name]!, rules[over]!);
      console.log(`${name} less ${over}: ${points.map(shown).join(', ')}`);
    }
    console.log(`device ${shown(last!.edge)}, server ${shown(last!.server)}`);
  }
}

/** One thread, which waits for no other; the first five of each warm up. */
async function timeAnswers(): Promise<void> {
  const config = {
    model: 'models/crayon-edge',
    pool: 'models/crayon-edge-pool',
    gate: 'per-query' as const,
    engine: { threads: 1 },
  };
  const { device, adapters, close } = await assembleEngines(
    edgeConfig({ ...config, log: { level: 'error' } }, { where: 'here', folder: '.' }),
  );
  const { signal } = new AbortController();
  const tasks = ['list-first', 'list-count', 'date-iso', 'key-value-json'];
  const examples = tasks.flatMap((task) => loadDataset(`suite/${task}.yaml`, { split: 'heldout', limit: 30 }).examples);
  const spent: Record<string, number[]> = { first: [], 'second, written': [], 'second, looked up': [] };
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const before = process.cpuUsage();
    const found = await work();
    const { user, system } = process.cpuUsage(before);
    spent[name]!.push((user + system) / 1000);
    return found;
  };
  for (const example of examples) {
    const query = new Query(promptFor(example, 'text'));
    const all = adapters.choose(query);
    const two = all.toSorted((a, b) => b.scale - a.scale).slice(0, 2);
    const total = two.reduce((sum, { scale }) => sum + scale, 0);
    const largest = two.map((one) => ({ ...one, scale: one.scale / total }));
    const answer = async (how: AdapterScale[]) => {
      let text = '';
      const request = { ...GREEDY, query, maxTokens: 24, stop: ['\n'], adapters: how, signal };
      for await (const event of device.generate(request)) if (event.type !== 'start') text += event.text;
      return text;
    };
    const text = await timed('first', () => answer(all));
    const prompt = query.tokens(device);
    const ids = [...prompt, ...device.textTokens(text)];
    // Never both for one prompt: the engine would have read it for the other.
    if (spent.first!.length % 2 === 0) await timed('second, written', () => answer(largest));
    else if (ids.length > prompt.length) {
      const scored = { ids, from: prompt.length, topLogprobs: 0, adapters: largest, signal };
      await timed('second, looked up', () => device.scoreTokens(scored));
    }
  }
  await close();
  for (const [name, ms] of Object.entries(spent)) {
    const counted = ms.slice(5).sort((a, b) => a - b);
    console.log(
      `${name}: median ${quantile(counted, 0.5).toFixed(1)} ms of processor, mean ${mean(counted).toFixed(1)} ± ${standardError(counted).toFixed(1)}, of ${counted.length}`,
    );
  }
}
