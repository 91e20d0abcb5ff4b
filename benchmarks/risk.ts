/**
 * Does `calibrate --max-risk` keep its word? The whole procedure is repeated on 200 draws of examples, and the true risk of the
 * cut that it shows to hold is compared with the wanted one: on made queries of which the chance of a right answer is known, and on
 * the answers that `crayon calibrate` keeps (`<out>.records.jsonl`), or those of a bench run's first seed, which stand for all queries. And
 * what it says of the first 10, 30 and 100 of these.
 *
 *     npx tsx benchmarks/risk.ts [--records edge.calibrated.yaml.records.jsonl] [--run results/routing] [--times 200] [--confidence 0.95]
 *
 * The worlds: `honest`, surer answers are right more often; `boastful`, the surest twentieth is wrong half of the time; `edge`, whatever
 * the score, answers are wrong a little more often than is wanted, so that every cut that is let through is a violation: the
 * hardest case that there is. In `clusters` a query's cluster says what its confidence does not, and in `clusters-edge` neither says
 * anything: `edge` with rates to be fitted to noise.
 */

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readRun } from '../src/bench/report/read.js';
import { exampleId, runSeedOf, unitId } from '../src/bench/report/units.js';
import { calibrateRisk, refuseTooFew } from '../src/cli/calibrate/risk.js';
import { binomialTail } from '../src/core/binomial.js';
import { CrayonError } from '../src/core/errors.js';
import { createRandom, type Random } from '../src/core/random.js';
import { type CalibrationRecord, calibrationData } from '../src/routing/calibrate/data.js';
import { realisedRisk } from '../src/routing/calibrate/risk.js';
import { CONFIDENCE_MEASURES } from '../src/routing/signals/signal.js';
import { expectedRate } from '../src/routing/signals/success.js';

const RISKS = [0.05, 0.1, 0.2];
const SIZES = [100, 300];
const SAID = [10, 30, 100];
const POPULATION = 1000;

const { values } = parseArgs({
  options: {
    records: { type: 'string' },
    run: { type: 'string' },
    times: { type: 'string', default: '200' },
    confidence: { type: 'string', default: '0.95' },
    sizes: { type: 'string', default: SIZES.join() },
    risks: { type: 'string', default: RISKS.join() },
    worlds: { type: 'string', default: 'honest,boastful,edge,clusters,clusters-edge' },
  },
});
const times = Number(values.times);
const confidence = Number(values.confidence);
const sizes = values.sizes.split(',').map(Number);
const risks = values.risks.split(',').map(Number);

/** The rates of six clusters and of strays. */
const RATES = [0.995, 0.985, 0.97, 0.9, 0.75, 0.5, 0.2];

/** The chance of a right answer by how sure the device is, 0 to 1, and by its clusters. */
const WORLDS: Record<string, (sureness: number, risk: number, rate: number) => number> = {
  honest: (sureness) => 1 - 0.7 * (1 - sureness) ** 2,
  boastful: (sureness) => (sureness > 0.95 ? 0.5 : 1 - 0.7 * (1 - sureness) ** 2),
  edge: (_, risk) => 1 - 1.05 * risk,
  clusters: (_, __, rate) => rate,
  'clusters-edge': (_, risk) => 1 - 1.05 * risk,
};

/** A gate over the clusters, most of it on one of them. */
function gate(random: Random): number[] {
  const nearest = random.int(RATES.length);
  const weights = RATES.map((_, n) => Math.exp(4 * (n === nearest ? 1 : 0) + random.normal()));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
}

function world(name: string, risk: number) {
  const random = createRandom(0, `${name}${risk}`);
  const wrong: number[] = [];
  const records = Array.from({ length: POPULATION }, (_, i): CalibrationRecord => {
    const sureness = random.uniform();
    const clusters = name.startsWith('clusters') ? gate(random) : null;
    const right = WORLDS[name]!(sureness, risk, clusters === null ? 1 : expectedRate(RATES, clusters));
    wrong.push(1 - right);
    return {
      id: String(i),
      scope: 100 * random.uniform(),
      complexity: 4 * (1 - sureness) * random.uniform(),
      confidence: Math.log(Math.max(sureness, 1e-9)),
      clusters,
      edgeCorrect: random.uniform() < right ? 1 : 0,
      serverCorrect: 1,
      tokens: { edge: 1, serverPrompt: 1, serverCompletion: 1 },
      serverCost: 0,
    };
  });
  return { name, datas: [calibrationData(records)], wrong };
}

/** The answers of a device at a run's first seed, with the server's to the same examples. */
function answersOf(dir: string, strategy: string): CalibrationRecord[] {
  const cells = readRun(dir).cells.filter(({ cell }) => runSeedOf(cell) === 0 && cell.table === 'strategies');
  return cells
    .filter(({ cell }) => cell.strategy === strategy)
    .flatMap(({ cell, answers }) => {
      const server = cells.find((one) => one.cell.strategy === 'server' && unitId(one.cell.user) === unitId(cell.user));
      const right = new Map(server?.answers.map((answer) => [exampleId(answer), answer.correct]));
      return answers.map(
        ({ scope = null, confidence = null, clusters = null, correct, ...answer }): CalibrationRecord => ({
          id: answer.id,
          ...{ scope, confidence, clusters },
          edgeCorrect: correct,
          serverCorrect: right.get(exampleId({ ...answer, correct })) ?? 1,
          tokens: { edge: 1, serverPrompt: 1, serverCompletion: 1 },
          serverCost: 0,
        }),
      );
    });
}

function kept(path: string): CalibrationRecord[] {
  const records = readFileSync(path, 'utf8').trimEnd().split('\n');
  return records
    .map((line) => JSON.parse(line) as CalibrationRecord)
    .filter(({ edgeCorrect }) => edgeCorrect !== undefined);
}

const POPULATIONS: Record<string, CalibrationRecord[]> = {
  ...(values.records && { records: kept(values.records) }),
  ...(values.run && Object.fromEntries(['crayon', 'per-query'].map((edge) => [edge, answersOf(values.run!, edge)]))),
};

/** By every measure that all records have. */
function stored([name, records]: [string, CalibrationRecord[]]) {
  const measures = CONFIDENCE_MEASURES.filter((measure) =>
    records.every(({ confidences }) => typeof confidences?.[measure] === 'number'),
  );
  const datas = measures.map((measure) =>
    calibrationData(
      records.map((record) => ({ ...record, confidence: record.confidences![measure]! })),
      measure,
    ),
  );
  return { name, datas: datas.length > 0 ? datas : [calibrationData(records)], wrong: undefined };
}

console.log('| answers | risk | examples | a cut holds | device keeps | its true risk | violations | promised |');
console.log('|---|---|---|---|---|---|---|---|');
for (const risk of risks) {
  const worlds = values.worlds === '' ? [] : values.worlds.split(',').map((name) => world(name, risk));
  for (const { name, datas, wrong } of [...worlds, ...Object.entries(POPULATIONS).map(stored)]) {
    for (const size of sizes) {
      const found = realisedRisk(datas, { risk, confidence, seed: 0 }, { times, size, ...(wrong && { wrong }) });
      const percent = (x: number) => (found.holds === 0 ? '-' : `${(100 * x).toFixed(1)} %`);
      // A rate of 1 - confidence shows as many violations or more this often.
      const chance = 1 - binomialTail(found.violations - 1, times, 1 - confidence);
      const doubt = chance < 0.01 ? ' (!)' : '';
      console.log(
        `| ${name} | ${risk} | ${size} | ${found.holds} of ${times} | ${percent(found.keptShare)} | ${percent(found.risk)} | ` +
          `${((100 * found.violations) / times).toFixed(1)} %${doubt} | ${(100 * (1 - confidence)).toFixed(0)} % |`,
      );
    }
  }
}

/** The command's own words of so many examples. */
function said(records: readonly CalibrationRecord[], risk: number): string {
  const target = { risk, confidence };
  try {
    refuseTooFew(records.length, target);
    const { kept, wrong, bound, plan } = calibrateRisk(records, ['mean-logprob'], { ...target, seed: 0 });
    return `${wrong} of ${kept} kept of ${plan.testing.length} are wrong, at most ${(100 * bound).toFixed(1)} %`;
  } catch (error) {
    if (error instanceof CrayonError) return `${error.message}. ${error.hint}`;
    throw error;
  }
}

for (const [name, records] of Object.entries(POPULATIONS)) {
  const shuffled = createRandom(0, 'said').shuffle([...records]);
  for (const risk of risks) {
    for (const n of SAID) console.log(`\n${name}, ${risk}, ${n} examples: ${said(shuffled.slice(0, n), risk)}`);
  }
}
