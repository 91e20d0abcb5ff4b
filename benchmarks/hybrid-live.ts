/**
 * Does a calibrated edge keep what `crayon calibrate` promised? Questions that the calibration has not asked go one after another to a
 * running `crayon serve-edge`, in equal parts of every data set: what share the server answers, how many answers are right, beside the
 * held-out share and accuracy of the calibration, how far the probabilities of the kept answers may be believed, and the time to the
 * first token of both kinds of answers. With `--parties` the same questions go to the device alone and to the server alone too: what
 * random routing and an oracle would have reached. Answers are kept as they come: what `--out` has is not asked again.
 *
 *     crayon calibrate --config edge.yaml --data ... --target-share 0.3 --json > promise.json
 *     crayon serve-edge --config edge.calibrated.yaml &
 *     npx tsx benchmarks/hybrid-live.ts --promise promise.json --model NAME --data ... [--data-dir data] [--questions 300] [--parties] [--out answers.jsonl]
 */

import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { scoreEndpoint } from '../src/bench/live/endpoint.js';
import { createRandom } from '../src/core/random.js';
import { bootstrapInterval, groupBy, type Interval, mean, quantile } from '../src/core/stats.js';
import { loadDataset } from '../src/data/dataset.js';
import type { Match } from '../src/data/judge.js';
import { openChatClient } from '../src/engine/server/chat-client.js';
import { hybridCurve } from '../src/routing/calibrate/hybrid-curve.js';
import { reliability } from '../src/routing/calibrate/reliability.js';

const { values } = parseArgs({
  options: {
    promise: { type: 'string' },
    url: { type: 'string', default: 'http://127.0.0.1:8080/v1' },
    model: { type: 'string' },
    data: { type: 'string', multiple: true },
    'data-dir': { type: 'string' },
    split: { type: 'string', default: 'test' },
    questions: { type: 'string', default: '300' },
    match: { type: 'string', default: 'exact' },
    'max-tokens': { type: 'string', default: '24' },
    seed: { type: 'string', default: '1' },
    parties: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const { promise, model, data } = values;
if (promise === undefined || model === undefined || data === undefined) {
  throw new Error('expected --promise, --model and --data');
}
const promised: { recordsFile: string; heldOut: Record<'share' | 'accuracy', Interval> } = JSON.parse(
  readFileSync(promise, 'utf8'),
);
const options = { seed: Number(values.seed), resamples: 2000 };

/** Calibrated on: `<place>:<id>`, one a line behind the first. */
const [, ...lines] = readFileSync(promised.recordsFile, 'utf8').trimEnd().split('\n');
const used = new Set(lines.map((line) => JSON.parse(line).id.replace(/^\d+:/, '')));
const random = createRandom(options.seed, 'live questions');
const each = Math.ceil(Number(values.questions) / data.length);
const examples = random.shuffle(
  data.flatMap((path) => {
    const { examples } = loadDataset(path, { dataDir: values['data-dir'], split: values.split });
    return random.shuffle(examples.filter(({ id }) => !used.has(id))).slice(0, each);
  }),
);

const client = openChatClient({ baseUrl: values.url, model, apiKey: null });

/** An answer, as a line of `--out`. */
interface Told {
  id: string;
  correct: number;
  source?: string;
  latencyMs: number;
  ttftMs?: number | undefined;
  /** said by the edge: the probability that the device is right */
  correctness?: number | undefined;
}

/** So many are kept at a time. */
const CHUNK = 16;

/** @param known by the question's id: not asked again */
async function asked(known: Map<string, Told> = new Map(), mode?: string): Promise<Told[]> {
  const left = examples.filter(({ id }) => !known.has(id));
  for (let at = 0; at < left.length; at += CHUNK) {
    const { records, answers, notices } = await scoreEndpoint(left.slice(at, at + CHUNK), {
      ...{ client, match: values.match as Match, form: 'chat', maxTokens: Number(values['max-tokens']) },
      ...(mode !== undefined && { fields: { crayon: { mode } } }),
      signal: new AbortController().signal,
    });
    for (const notice of notices) console.error(notice);
    const told = records.map((record, i) => ({ ...record, ttftMs: answers[i]?.piecesMs[0], ...answers[i]?.signals }));
    for (const one of told) known.set(one.id, one);
    if (mode === undefined && values.out !== undefined) {
      appendFileSync(values.out, told.map((line) => `${JSON.stringify(line)}\n`).join(''));
    }
    console.error(`${mode ?? 'hybrid'}: ${known.size} of ${examples.length}`);
  }
  return examples.map(({ id }) => known.get(id)!);
}

function earlier(): Map<string, Told> {
  const { out } = values;
  const lines = out !== undefined && existsSync(out) ? readFileSync(out, 'utf8').trimEnd().split('\n') : [];
  return new Map(lines.map((line): Told => JSON.parse(line)).map((one) => [one.id, one]));
}

const percent = (x: number) => (100 * x).toFixed(1);
const inWords = ({ estimate, low, high }: Interval) => `${percent(estimate)} [${percent(low)}, ${percent(high)}]`;
const quantiles = (times: readonly number[]) =>
  [0.5, 0.95].map((q) => quantile(Float64Array.from(times).sort(), q).toFixed(0)).join(' / ');

const records = await asked(earlier());
const sent = records.map(({ source }) => Number(source === 'in_cloud'));
const right = records.map(({ correct }) => correct);
const rows = { 'share to the server': sent, accuracy: right };
console.log(`${records.length} questions, none of the ${used.size} that were calibrated on\n`);
console.log('| | promised, held out | realised |\n|---|---|---|');
for (const [i, [name, found]] of Object.entries(rows).entries()) {
  const before = i === 0 ? promised.heldOut.share : promised.heldOut.accuracy;
  console.log(`| ${name}, % | ${inWords(before)} | ${inWords(bootstrapInterval(found, options))} |`);
}

console.log(
  '\n| answered by | answers | right, % | first token, ms: p50 / p95 | whole answer |\n|---|---|---|---|---|',
);
for (const [source, at] of groupBy([...records.keys()], (i) => records[i]!.source ?? 'unknown')) {
  const first = at.flatMap((i) => records[i]!.ttftMs ?? []);
  const ends = at.map((i) => records[i]!.latencyMs);
  const accuracy = percent(mean(at.map((i) => right[i]!)));
  console.log(`| ${source} | ${at.length} | ${accuracy} | ${quantiles(first)} | ${quantiles(ends)} |`);
}

console.log('\n| data set | questions | to the server, % | right, % |\n|---|---|---|---|');
for (const [name, at] of groupBy([...records.keys()], (i) => examples[i]!.dataset)) {
  const part = (of: readonly number[]) => percent(mean(at.map((i) => of[i]!)));
  console.log(`| ${name} | ${at.length} | ${part(sent)} | ${part(right)} |`);
}

const kept = [...records.keys()].filter((i) => sent[i] === 0 && records[i]!.correctness !== undefined);
if (kept.length > 0) {
  const probabilities = kept.map((i) => records[i]!.correctness!);
  const { ece, eceOfPerfect } = reliability(
    probabilities,
    kept.map((i) => right[i]!),
    options,
  );
  const said = percent(mean(probabilities));
  console.log(
    `\nof the answers kept ${said} % are said to be right; ECE ${ece.estimate.toFixed(3)} ` +
      `[${ece.low.toFixed(3)}, ${ece.high.toFixed(3)}], of right probabilities ${eceOfPerfect.toFixed(3)}`,
  );
}

if (values.parties) {
  const [device, server] = [await asked(new Map(), 'only_on_device'), await asked(new Map(), 'only_in_cloud')];
  const share = mean(sent);
  const items = records.map((_, i) => ({
    edge: device[i]!.correct,
    server: server[i]!.correct,
    score: 1 - sent[i]!,
  }));
  const curve = hybridCurve(items, [share]);
  const [{ random: atRandom, oracle }] = curve.points as [(typeof curve.points)[number]];
  const gain = (mean(right) - curve.edge) / (oracle - curve.edge);
  console.log(
    `\ndevice alone ${percent(curve.edge)} %, server alone ${percent(curve.server)} %; at this share random ` +
      `${percent(atRandom.estimate)} %, oracle ${percent(oracle)} %: ${percent(gain)} % of the oracle's gain`,
  );
}
