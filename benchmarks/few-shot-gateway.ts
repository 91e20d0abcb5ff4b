/**
 * A team's gateway before its larger model: puts answered examples of the same task before each question, as turns of the conversation,
 * and hands it on to an OpenAI-compatible server. A task is known by how its questions begin.
 *
 *     npx tsx benchmarks/few-shot-gateway.ts --upstream http://127.0.0.1:8505 --port 8504 --shown 4 \
 *         --data configs/tasks/o-lora-agnews.yaml ... --data-dir data
 */

import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { groupBy } from '../src/core/stats.js';
import { loadDataset } from '../src/data/dataset.js';

const { values } = parseArgs({
  options: {
    upstream: { type: 'string', default: 'http://127.0.0.1:8505' },
    port: { type: 'string', default: '8504' },
    shown: { type: 'string', default: '4' },
    data: { type: 'string', multiple: true, default: [] },
    'data-dir': { type: 'string' },
    split: { type: 'string', default: 'train' },
  },
});

/** Of each data set's answers one after another, in turns: one that is shown three times is given too often. */
const tasks = values.data.map((path) => {
  const { examples } = loadDataset(path, { dataDir: values['data-dir'], split: values.split, limit: 200, seed: 0 });
  const byAnswer = [...groupBy(examples, ({ completion }) => completion).values()];
  const most = Math.max(...byAnswer.map(({ length }) => length));
  const inTurns = Array.from({ length: most }, (_, i) => byAnswer.flatMap((same) => same.slice(i, i + 1))).flat();
  return inTurns.slice(0, Number(values.shown));
});

function common(a: string, b: string): number {
  let n = 0;
  while (n < Math.min(a.length, b.length) && a[n] === b[n]) n++;
  return n;
}

/** Of the task whose examples begin most as the question does. */
function shownBefore(question: string) {
  const alike = tasks.map((shown) => Math.max(...shown.map(({ prompt }) => common(prompt, question))));
  return (tasks[alike.indexOf(Math.max(...alike))] ?? []).flatMap(({ prompt, completion }) => [
    { role: 'user', content: prompt },
    { role: 'assistant', content: completion.trim() },
  ]);
}

createServer(async (request, response) => {
  try {
    const body = await text(request);
    const asked = body === '' ? null : JSON.parse(body);
    if (Array.isArray(asked?.messages)) asked.messages.unshift(...shownBefore(asked.messages.at(-1).content));
    const answered = await fetch(`${values.upstream}${request.url}`, {
      method: request.method!,
      headers: { 'content-type': 'application/json' },
      ...(asked !== null && { body: JSON.stringify(asked) }),
    });
    response.writeHead(answered.status, {
      'content-type': answered.headers.get('content-type') ?? 'application/json',
    });
    for await (const piece of answered.body!) response.write(piece);
    response.end();
  } catch (error) {
    if (!response.headersSent) response.writeHead(502);
    response.end(String(error));
  }
}).listen(Number(values.port), '127.0.0.1', () => console.log(`listening on ${values.port}`));
