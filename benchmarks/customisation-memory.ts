/**
 * Whether a server gives back the memory of customisations that were used and deleted: its resident memory while a thousand of them
 * are made, asked once and deleted, sixteen at a time.
 *
 *     npx crayon serve-edge --model models/crayon-edge --pool models/crayon-edge-pool --port 8080 &
 *     npx tsx benchmarks/customisation-memory.ts --port 8080 --pid $! [--count 1000] [--at-a-time 16]
 *
 * Prints the curve, the plateau (the median of the curve's second half) and how far above it the largest value of that half and
 * the last one are, and one JSON document as the last line.
 */
import { parseArgs } from 'node:util';
import { percentile } from '../src/bench/latency.js';
import { type Point, printCurve } from './curve.js';
import { residentMib } from './serving/servers.js';

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    pid: { type: 'string' },
    count: { type: 'string', default: '1000' },
    'at-a-time': { type: 'string', default: '16' },
  },
});
if (values.port === undefined || values.pid === undefined) throw new Error('give --port and --pid of a server');
const count = Number(values.count);
const atATime = Number(values['at-a-time']);
const here = (done: number): Point => ({ done, mib: residentMib(Number(values.pid)) });

/** The fields of answers that are read here. */
interface Answer {
  id: string;
  coefficients: number[];
  data: Array<{ id: string }>;
}

async function call(method: string, path: string, body?: object): Promise<Answer> {
  const answer = await fetch(`http://127.0.0.1:${values.port}${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const json = (await answer.json()) as Answer;
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(json)}`);
  return json;
}

const base = (await call('GET', '/v1/models')).data[0]!.id;
const curve = [here(0)];
let adapters = 0;
for (let done = 0; done < count; ) {
  const ids: string[] = [];
  for (; ids.length < atATime && done < count; done++) {
    // Without examples a pool does not say how many adapters it has; an answer to the first customisation does.
    const order =
      adapters === 0
        ? { examples: ['a', 'b', 'c'].map((prompt) => ({ prompt })) }
        : { coefficients: Array.from({ length: adapters }, Math.random) };
    const made = await call('POST', '/v1/customizations', order);
    adapters = made.coefficients.length;
    ids.push(made.id);
    await call('POST', '/v1/chat/completions', {
      model: `${base}:${made.id}`,
      max_tokens: 3,
      messages: [{ role: 'user', content: 'Bank: boot. Team:' }],
      crayon: { mode: 'only_on_device' },
    });
  }
  for (const id of ids) await call('DELETE', `/v1/customizations/${id}`);
  curve.push(here(done));
}

printCurve('Resident memory of the server over customisations, made, asked once and deleted', curve);
const half = curve.slice(Math.floor(curve.length / 2)).map(({ mib }) => mib);
const plateau = percentile(half, 50);
const above = (mib: number): string => `${((mib / plateau - 1) * 100).toFixed(1)} %`;
console.log(
  `plateau ${plateau.toFixed(0)} MiB; largest ${above(Math.max(...half))}, last ${above(half.at(-1)!)} above it`,
);
console.log(JSON.stringify({ base, adapters, count, plateauMib: plateau, curve }));
