/**
 * Does `calibrate --max-risk` keep its word? The whole procedure is repeated on 200 draws of examples, and the true risk of the
 * cut that it shows to hold is compared with the wanted one: on made queries of which the chance of a right answer is known, and on
 * the answers that `crayon calibrate` keeps (`<out>.records.jsonl`), which stand for all queries.
 *
 *     npx tsx benchmarks/risk.ts [--records edge.calibrated.yaml.records.jsonl] [--times 200] [--confidence 0.95]
 *
 * The worlds: `honest`, surer answers are right more often; `boastful`, the surest twentieth is wrong half of the time; `edge`, whatever
 * the score, answers are wrong a little more often than is wanted, so that every cut that is let through is a violation: the
 * hardest case that there is.
 */

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { binomialTail } from '../src/core/binomial.js';
import { createRandom } from '../src/core/random.js';
import { type CalibrationRecord, calibrationData } from '../src/routing/calibrate/data.js';
import { realisedRisk } from '../src/routing/calibrate/risk.js';
import { CONFIDENCE_MEASURES } from '../src/routing/signals/signal.js';

const RISKS = [0.05, 0.1, 0.2];
const SIZES = [100, 300];
const POPULATION = 1000;

const { values } = parseArgs({
  options: {
    records: { type: 'string' },
    times: { type: 'string', default: '200' },
    confidence: { type: 'string', default: '0.95' },
    sizes: { type: 'string', default: SIZES.join() },
    worlds: { type: 'string', default: 'honest,boastful,edge' },
  },
});
const times = Number(values.times);
const confidence = Number(values.confidence);
const sizes = values.sizes.split(',').map(Number);

/** The chance of a right answer by how sure the device is, 0 to 1. */
const WORLDS: Record<string, (sureness: number, risk: number) => number> = {
  honest: (sureness) => 1 - 0.7 * (1 - sureness) ** 2,
  boastful: (sureness) => (sureness > 0.95 ? 0.5 : 1 - 0.7 * (1 - sureness) ** 2),
  edge: (_, risk) => 1 - 1.05 * risk,
};

function world(name: string, risk: number) {
  const random = createRandom(0, `${name}${risk}`);
  const wrong: number[] = [];
  const records = Array.from({ length: POPULATION }, (_, i): CalibrationRecord => {
    const sureness = random.uniform();
    const right = WORLDS[name]!(sureness, risk);
    wrong.push(1 - right);
    return {
      id: String(i),
      scope: 100 * random.uniform(),
      complexity: 4 * (1 - sureness) * random.uniform(),
      confidence: Math.log(Math.max(sureness, 1e-9)),
      edgeCorrect: random.uniform() < right ? 1 : 0,
      serverCorrect: 1,
      tokens: { edge: 1, serverPrompt: 1, serverCompletion: 1 },
      serverCost: 0,
    };
  });
  return { name, datas: [calibrationData(records)], wrong };
}

/** Every measure that all records have. */
function stored(path: string) {
  const records = readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as CalibrationRecord)
    .filter(({ edgeCorrect }) => edgeCorrect !== undefined);
  const measures = CONFIDENCE_MEASURES.filter((measure) =>
    records.every(({ confidences }) => typeof confidences?.[measure] === 'number'),
  );
  const by = (measure: (typeof measures)[number]) =>
    calibrationData(
      records.map((record) => ({ ...record, confidence: record.confidences![measure]! })),
      measure,
    );
  return {
    name: 'records',
    datas: measures.length > 0 ? measures.map(by) : [calibrationData(records)],
    wrong: undefined,
  };
}

console.log('| answers | risk | examples | a cut holds | device keeps | its true risk | violations | promised |');
console.log('|---|---|---|---|---|---|---|---|');
for (const risk of RISKS) {
  const worlds = values.worlds === '' ? [] : values.worlds.split(',').map((name) => world(name, risk));
  for (const { name, datas, wrong } of [...worlds, ...(values.records ? [stored(values.records)] : [])]) {
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
