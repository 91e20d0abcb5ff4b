/**
 * Whether a user's own examples are answered by the running server as `crayon score` says that they are: for each file of
 * examples a blend is made, scored (in float32 and through the engine), served, and asked through OpenAI's own client.
 *
 *     npx tsx scripts/served-as-scored.ts --model MODEL --pool POOL [--port 18097] [--out DIR] EXAMPLES.jsonl...
 *
 * An answer is as scored where the server gives the right completion exactly when scoring finds that greedy decoding would.
 * Exits with 1 where one is not.
 */

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import OpenAI from 'openai';
import { ensureDirectory } from '../src/files/atomic.js';
import { shippedPath } from '../src/files/package.js';
import { loadDataset } from '../src/index.js';

const { values: args, positionals: files } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string' },
    pool: { type: 'string' },
    port: { type: 'string', default: '18097' },
    out: { type: 'string', default: mkdtempSync(join(tmpdir(), 'crayon-served-')) },
  },
});
const { model, pool, port, out } = args;
if (model === undefined || pool === undefined || files.length === 0) {
  throw new Error('expected --model, --pool and files of examples');
}

ensureDirectory(out);
const crayon = [...process.execArgv, shippedPath('bin', 'crayon.ts')];

interface Scored {
  forward: { acc: number | null; exact: number };
  engine: { acc: number | null; exact: number; perExample: Array<{ isGreedy: boolean }> };
  difference: { largest: number; mean: number };
}

function run(...argv: string[]): unknown {
  const text = execFileSync(process.execPath, [...crayon, ...argv, '--json', '--quiet'], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(text);
}

async function ready(url: string, deadline: number): Promise<void> {
  while (Date.now() < deadline) {
    const isUp = await fetch(`${url}/health`).then(
      (response) => response.ok,
      () => false,
    );
    if (isUp) return;
    await sleep(500);
  }
  throw new Error(`${url}: not ready in time`);
}

/** The texts that the server answers, at temperature 0. */
async function answers(adapter: string, path: string): Promise<string[]> {
  const url = `http://127.0.0.1:${port}`;
  const server = spawn(
    process.execPath,
    [...crayon, 'serve-edge', '--model', model!, '--adapter', adapter, '--port', port, '--quiet'],
    { stdio: 'ignore' },
  );
  try {
    await ready(url, Date.now() + 120_000);
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0, timeout: 120_000 });
    const name = (await client.models.list()).data[0]!.id;
    const texts: string[] = [];
    for (const { prompt, messages } of loadDataset(path).examples) {
      const conversation = messages ?? [{ role: 'user', content: prompt }];
      const answer = await client.chat.completions.create({
        model: name,
        messages: conversation as OpenAI.ChatCompletionMessageParam[],
        temperature: 0,
        max_tokens: 64,
      });
      texts.push(answer.choices[0]!.message.content ?? '');
    }
    return texts;
  } finally {
    server.kill('SIGTERM');
    await new Promise((resolve) => server.once('exit', resolve));
  }
}

const table = new Table({
  head: [
    'user',
    'examples',
    'right: float32, engine, served',
    'served as scored',
    'difference, largest and mean (nats)',
  ],
  style: { head: [], border: [] },
});
for (const path of files) {
  const name = basename(path).replace(/\.\w+$/, '');
  const adapter = join(out, `blend-${name}`);
  run('blend', '--model', model, '--pool', pool, '--examples', path, '--out', adapter, '--force');
  const scored = run('score', '--model', model, '--adapter', adapter, '--data', path, '--through', 'both') as Scored;
  const { examples } = loadDataset(path);
  const texts = await answers(adapter, path);
  const isRight = texts.map((text, i) => text === examples[i]!.completion.trim());
  const asScored = isRight.filter((right, i) => right === scored.engine.perExample[i]!.isGreedy).length;
  const right = [scored.forward.exact, scored.engine.exact].map((share) => Math.round(share * examples.length));
  table.push([
    name,
    String(examples.length),
    `${right.join(', ')}, ${isRight.filter(Boolean).length}`,
    `${asScored} of ${examples.length}`,
    `${scored.difference.largest.toFixed(3)}, ${scored.difference.mean.toFixed(3)}`,
  ]);
  if (asScored < examples.length) process.exitCode = 1;
}
console.log(table.toString());
