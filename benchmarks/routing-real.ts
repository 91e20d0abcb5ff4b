/**
 * Who should answer, on what `crayon calibrate` has recorded of real users: accuracy at three shares of the server's by today's rule, of
 * confidence and scope, by the rates of clusters, by both, with and without what the server is likely to get right, at random, and by an
 * oracle; and what part of the oracle's gain each has. Clusters are the pool's, or those of the questions themselves where these make the
 * answers likelier. First users of whom the rule has seen other questions (cross-fitted, with clusters of the other folds' questions), then
 * users of whom it has seen nothing: it is fitted on half of them and orders the other half's questions, in several draws of the halves; with
 * a row for a rule that is shifted by some answers of each such user, set aside for all rows. ECE beside what it would be of
 * probabilities that are right.
 *
 * A user is a data set of the records. A file of them is a world of its own, with its pool, examples and tests, and rules are fitted within
 * it; figures are means over files. Intervals are over questions, drawn within each user, and over files.
 *
 *     npx tsx benchmarks/routing-real.ts [--edges edge-0.yaml,edge-1.yaml --data task.yaml ... --data-dir data --match start]
 *         draw-0.records.jsonl draw-1.records.jsonl ...
 *
 * With the configurations that the records were made by and the questions' data sets, clusters of the questions are tried too.
 */

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { promptFolds, signalFeatures } from '../src/bench/report/held-out-rules.js';
import { fitIsotonic, mapped } from '../src/core/isotonic.js';
import { nestedWeights } from '../src/core/nested-mean.js';
import { createRandom } from '../src/core/random.js';
import { type Interval, mean, percentileInterval } from '../src/core/stats.js';
import { loadDataset } from '../src/data/dataset.js';
import { promptFor, Query } from '../src/engine/types.js';
import { type HybridCurve, hybridCurve } from '../src/routing/calibrate/hybrid-curve.js';
import { reliability } from '../src/routing/calibrate/reliability.js';
import { shiftOf } from '../src/routing/calibrate/shift.js';
import { shifted } from '../src/routing/signals/shifted.js';
import { assembleEngines } from '../src/serve/assemble.js';
import { loadEdgeConfig } from '../src/serve/config.js';
import {
  type Answered,
  type Fit,
  inQuestionClusters,
  ofServer,
  type Rule,
  ratesAlone,
  signalsAlone,
  signalsAndRates,
} from './routing-rules.js';

const SHARES = [0.1, 0.2, 0.4];
const GOALS = { ofOracle: 0.85, ece: 0.05 };
const SPLITS = 20;
const MOST_SET_ASIDE = 10;
const OPTIONS = { seed: 0, resamples: 500 };

const { values: flags, positionals: files } = parseArgs({
  allowPositionals: true,
  options: {
    edges: { type: 'string' },
    data: { type: 'string', multiple: true, default: [] },
    'data-dir': { type: 'string' },
    split: { type: 'string', default: 'test' },
  },
});
if (files.length === 0) throw new Error('expected records of crayon calibrate');

interface Asked {
  id: string;
  user: string;
  seed: number;
  record: { confidence: number; scope: number | null; clusters: number[]; edgeCorrect: number; serverCorrect: number };
}

const asked = files.flatMap((path, seed): Asked[] => {
  const [, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n'); // the first says what was asked
  return lines
    .map((line) => JSON.parse(line))
    .filter(({ confidence }) => typeof confidence === 'number') // an answer without a token has none
    .map((record) => {
      // <place among the examples>:<data set>:<place in it>
      const id = record.id.slice(record.id.indexOf(':') + 1);
      return { id, user: id.slice(0, id.lastIndexOf(':')), seed, record };
    });
});
const names = [...new Set(asked.map(({ user }) => user))];
const hasScope = asked.every(({ record }) => record.scope !== null);
const of: Answered = {
  users: asked.map(({ user }) => names.indexOf(user)),
  labels: asked.map(({ record }) => record.edgeCorrect),
  server: asked.map(({ record }) => record.serverCorrect),
  gates: asked.map(({ record }) => record.clusters),
  signals: signalFeatures(
    asked.map(({ record }) => ({ ...record, scope: record.scope ?? undefined })),
    hasScope,
  )!,
};
const all = [...asked.keys()];
const worlds = files.map((_, seed) => all.filter((i) => asked[i]!.seed === seed));
const vectors = flags.edges === undefined ? null : await embedded(flags.edges.split(','));
const draws = nestedWeights(
  asked.map(({ id, seed }, i) => ({ unit: of.users[i]!, seed, example: id })),
  OPTIONS,
);

/** The questions as each file's edge embeds them. */
async function embedded(edges: readonly string[]): Promise<Float32Array[]> {
  const found = new Array<Float32Array>(asked.length);
  for (const [seed, world] of worlds.entries()) {
    const parts = await assembleEngines(loadEdgeConfig(edges[seed]!));
    const read = { dataDir: flags['data-dir'], split: flags.split };
    const examples = new Map(
      flags.data.flatMap((path) => loadDataset(path, read).examples.map((example) => [example.id, example] as const)),
    );
    for (const i of world) {
      found[i] = new Query(promptFor(examples.get(asked[i]!.id)!, 'chat')).vector(parts.embedder!);
    }
    await parts.close();
  }
  return found;
}

/** Of each user who is left out: what is left has to judge. */
const setAside = Math.min(
  MOST_SET_ASIDE,
  ...worlds.flatMap((world) => names.map((_, user) => world.filter((i) => of.users[i] === user).length >> 1)),
);

/** Probabilities of some answers by a rule that has not seen them; `server` of the server's, where the rule weighs them too. */
interface Scored {
  at: number[];
  probabilities: number[];
  server: number[] | null;
}

/** How a rule comes by the probability that the device is right, and that the server is. */
interface Way {
  device: Fit;
  server?: Fit;
  /** rates are counted in clusters of the questions, where those are likelier */
  ofQuestions?: boolean;
}

/** The clusters of these answers' questions, which several ways have. */
const clustered = new Map<string, Answered>();

/** Answers with the gates that the way's rates are counted in. */
function gated({ ofQuestions = false }: Way, others: readonly number[]): Answered {
  if (!ofQuestions) return of;
  const key = others.join();
  const known = clustered.get(key) ?? inQuestionClusters(of, vectors!, others);
  clustered.set(key, known);
  return known;
}

/** Read off an isotonic map of what the rule says of the answers that it is fitted on. */
const isotonic =
  (fitting: Fit): Fit =>
  (answered, others) => {
    const rule = fitting(answered, others);
    const map = fitIsotonic(
      others.map(rule),
      others.map((i) => answered.labels[i]!),
    );
    return (i) => mapped(map, rule(i));
  };

/** Every answer, by a rule that was fitted on answers to other questions of all users. */
function covered(way: Way): Scored[] {
  return worlds.map((world): Scored => {
    const of_ = { answers: world.map((i) => ({ promptHash: asked[i]!.id })), users: world.map((i) => of.users[i]!) };
    const folds = promptFolds(of_, OPTIONS.seed);
    if (folds === null) throw new Error('fewer questions than folds');
    const scored: Scored = { at: [], probabilities: [], server: way.server ? [] : null };
    for (const fold of new Set(folds)) {
      const [held, others] = [world.filter((_, k) => folds[k] === fold), world.filter((_, k) => folds[k] !== fold)];
      const answered = gated(way, others);
      scored.at.push(...held);
      scored.probabilities.push(...held.map(way.device(answered, others)));
      if (way.server) scored.server!.push(...held.map(ofServer(way.server)(answered, others)));
    }
    return scored;
  });
}

/** The answers of half of the users at a time, less those set aside, by a rule of the other half's, shifted by `shown` of these. */
function leftOut(way: Way, shown: number): Scored[] {
  return worlds.flatMap((world) =>
    Array.from({ length: SPLITS }, (_, split): Scored => {
      const users = createRandom(split, 'users').shuffle([...names.keys()]);
      const out = users.slice(0, users.length >> 1);
      const others = world.filter((i) => !out.includes(of.users[i]!));
      const orders = out.map((user) => {
        const own = world.filter((i) => of.users[i] === user);
        return createRandom(split, `answers ${user}`).shuffle(own);
      });
      const answered = gated(way, others);
      const judged = (rule: Rule, labels: readonly number[]) =>
        orders.flatMap((order) => {
          const seen = order.slice(0, shown);
          const shift = shiftOf(
            seen.map(rule),
            seen.map((i) => labels[i]!),
          );
          return order.slice(setAside).map((i) => shifted(rule(i), shift));
        });
      return {
        at: orders.flatMap((order) => order.slice(setAside)),
        probabilities: judged(way.device(answered, others), of.labels),
        server: way.server ? judged(ofServer(way.server)(answered, others), of.server) : null,
      };
    }),
  );
}

type Quality = 'accuracy' | 'ofOracle' | 'random' | 'oracle';

/** Means over the parts, each as often as its file is drawn; each answer counts as often as it is. */
function statistics(parts: readonly Scored[], weights: ArrayLike<number>): Array<Record<Quality, number>> {
  const curves = parts.flatMap(({ at, probabilities, server }) => {
    const items = at.flatMap((i, j) =>
      Array.from({ length: weights[i]! }, () => ({
        edge: of.labels[i]!,
        server: of.server[i]!,
        score: probabilities[j]! - (server?.[j] ?? 0),
      })),
    );
    return items.length === 0 ? [] : [{ curve: hybridCurve(items, SHARES), weight: items.length / at.length }];
  });
  const total = curves.reduce((sum, { weight }) => sum + weight, 0);
  return SHARES.map((_, s) => {
    const over = (value: (one: HybridCurve, point: HybridCurve['points'][number]) => number) =>
      curves.reduce((sum, { curve, weight }) => sum + weight * value(curve, curve.points[s]!), 0) / total;
    const [edge, accuracy, oracle] = [
      over((curve) => curve.edge),
      over((_curve, { routed }) => routed),
      over((_curve, point) => point.oracle),
    ];
    const random = over((_curve, point) => point.random.estimate);
    // of the means: a part in which the server never helps has no ratio of its own
    return { accuracy, ofOracle: (accuracy - edge) / (oracle - edge), random, oracle };
  });
}

const percent = (x: number) => (100 * x).toFixed(1);
const inWords = ({ estimate, low, high }: Interval) => `${percent(estimate)} [${percent(low)}, ${percent(high)}]`;

function print(title: string, rows: Record<string, Scored[]>): void {
  const columns = SHARES.flatMap((share) => [`${100 * share} %`, "of the oracle's gain"]);
  console.log(
    `\n| ${title} | ${columns.join(' | ')} | ECE (of right ones) |\n|---|${'---|'.repeat(columns.length + 1)}`,
  );
  const once = new Uint8Array(asked.length).fill(1);
  for (const [place, [name, parts]] of Object.entries(rows).entries()) {
    const estimates = statistics(parts, once);
    const resampled = draws.map((weights) => statistics(parts, weights));
    const interval = (quality: Quality, s: number) =>
      percentileInterval(
        estimates[s]![quality],
        Float64Array.from(resampled, (found) => found[s]![quality]),
      );
    const cells = (quality: Quality) => SHARES.map((_, s) => `${inWords(interval(quality, s))} | `).join('| ');
    if (place === 0) {
      console.log(`| random | ${cells('random')}| |`);
      console.log(`| oracle | ${cells('oracle')}| |`);
    }
    const judged = parts.map(({ at, probabilities }) =>
      reliability(
        probabilities,
        at.map((i) => of.labels[i]!),
        { seed: 0, resamples: 200 },
      ),
    );
    const ece = mean(judged.map((one) => one.ece.estimate));
    const right = mean(judged.map(({ eceOfPerfect }) => eceOfPerfect));
    const found = SHARES.map((_, s) => {
      const isMet = estimates[s]!.ofOracle >= GOALS.ofOracle;
      return `${inWords(interval('accuracy', s))} | ${inWords(interval('ofOracle', s))}${isMet ? ', met' : ''}`;
    });
    console.log(
      `| ${name} | ${found.join(' | ')} | ${ece.toFixed(3)} (${right.toFixed(3)})${ece <= GOALS.ece ? ', met' : ''} |`,
    );
  }
}

const [device, server] = [of.labels, of.server].map((right) => `${percent(mean(right))} %`);
console.log(
  `${asked.length} answers, ${files.length} files, ${names.length} users: device ${device}, server ${server}\n`,
);
console.log('| user | answers | device | server |\n|---|---|---|---|');
for (const [user, name] of names.entries()) {
  const own = all.filter((i) => of.users[i] === user);
  const right = (labels: readonly number[]) => percent(mean(own.map((i) => labels[i]!)));
  console.log(`| ${name} | ${own.length} | ${right(of.labels)} | ${right(of.server)} |`);
}
const WAYS: Record<string, Way> = {
  "today's rule": { device: signalsAlone },
  'rates of the pool': { device: ratesAlone },
  both: { device: signalsAndRates },
  'both, through an isotonic map': { device: isotonic(signalsAndRates) },
  "the pool's rates of both parties": { device: ratesAlone, server: ratesAlone },
  "both, less the server's rates": { device: signalsAndRates, server: ratesAlone },
  ...(vectors && {
    'rates of the questions': { device: ratesAlone, ofQuestions: true },
    'signals and rates of the questions': { device: signalsAndRates, ofQuestions: true },
    "the questions' rates of both parties": { device: ratesAlone, server: ratesAlone, ofQuestions: true },
    "signals and rates of the questions, less the server's": {
      device: signalsAndRates,
      server: ratesAlone,
      ofQuestions: true,
    },
  }),
};
const rowsOf = (named: (name: string) => string, scored: (way: Way) => Scored[]) =>
  Object.entries(WAYS).map(([name, way]) => [named(name), scored(way)] as const);
print('users of the answers', Object.fromEntries(rowsOf((name) => name, covered)));
print(
  'users who are left out',
  Object.fromEntries([
    ...rowsOf(
      (name) => name,
      (way) => leftOut(way, 0),
    ),
    ...rowsOf(
      (name) => `${name}, shifted by ${setAside} answers`,
      (way) => leftOut(way, setAside),
    ),
  ]),
);
