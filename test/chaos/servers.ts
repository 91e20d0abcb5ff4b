/**
 * Two servers with one budget, before a server LLM that does everything wrong by turns and clients that send everything: what
 * must be true of the budget, of every answer, of /health and of the end.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createRandom, type Random } from '../../src/core/random.js';
import { ROOT } from '../helpers/fixtures.js';
import { type Reply, reply, startUpstream } from '../helpers/scripted-upstream.js';

export interface ServersPlan {
  root: string;
  seed: number;
  /** how long faults and floods go on */
  seconds: number;
  entry: readonly string[];
}

export interface ServersOutcome {
  answers: Record<string, number>;
  faults: string[];
  /** the slowest answer of /health, in milliseconds */
  slowestHealthMs: number;
}

const TOKENS = 13;
const REQUESTS = 100;
const KEY = 'sk-chaos';

interface Server {
  process: ChildProcess;
  url: string;
  said: () => string;
  ended: Promise<{ code: number | null; signal: string | null }>;
}

async function startServer(config: string, entry: readonly string[]): Promise<Server> {
  const words = [...entry, 'serve-edge', '--config', config, '--port', '0', '--api-key-env', 'CLIENT_KEY'];
  const child = spawn(process.execPath, words, {
    env: { ...process.env, CLIENT_KEY: KEY, BIG_KEY: 'sk-big' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (text) => {
    said += text;
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  while (!/Listens +http/.test(said)) {
    if (child.exitCode !== null) throw new Error(said);
    await pause(20);
  }
  return { process: child, url: /Listens +(http\S+)/.exec(said)![1]!, said: () => said, ended };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}` };

function ask(url: string, body: string, more: Record<string, string> = {}, signal = AbortSignal.timeout(60_000)) {
  return fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { ...headers, ...more }, body, signal });
}

const question = (content: string, more: object = {}) =>
  JSON.stringify({ model: 'crayon-edge', messages: [{ role: 'user', content }], max_tokens: 8, ...more });

/** What the server LLM does by turns. */
const REPLIES: Reply[] = [
  reply.answer(['all ', 'well'], { promptTokens: 10, completionTokens: 3 }),
  reply.reset(),
  reply.silent(),
  reply.headersOnly(),
  reply.stall(['a']),
  reply.cut(['a', 'b']),
  reply.endInEvent(['a']),
  reply.status(429),
  reply.status(500),
  reply.status(401),
  reply.invalidJson(['a']),
  reply.invalidDocument(),
  reply.wrongContentType(),
  reply.errorEvent(['a']),
  reply.endlessComments(),
  reply.endlessLine(),
  reply.raw(200, { 'content-type': 'application/json' }, '{}'),
  reply.raw(200, { 'content-type': 'text/event-stream' }, ''),
];

/** What clients send by turns; each says how it was answered. */
const CLIENTS: Array<(url: string, random: Random) => Promise<string>> = [
  ...['only_in_cloud', 'prefer_in_cloud', 'only_on_device', 'hybrid'].flatMap((mode) =>
    [false, true].map((stream) => async (url: string) => {
      const answer = await ask(url, question('Once upon a time', { stream }), { 'x-crayon-mode': mode });
      return verdict(answer.status, await answer.text());
    }),
  ),
  async (url) => {
    const answer = await ask(url, question('Once'), {}, AbortSignal.timeout(50));
    return verdict(answer.status, await answer.text());
  },
  async (url) => {
    const answer = await ask(url, '{"model": ');
    return verdict(answer.status, await answer.text());
  },
  async (url, random) => {
    const answer = await ask(url, question('x'.repeat(random.int(100_000))));
    return verdict(answer.status, await answer.text());
  },
  // Half a request, left open or closed.
  (url, random) =>
    new Promise<string>((resolve) => {
      const { hostname, port } = new URL(url);
      const socket = connect(Number(port), hostname, () => {
        socket.write('POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n');
        setTimeout(() => socket.destroy(), random.int(2_000));
      });
      socket.on('error', () => {}).on('close', () => resolve('half a request'));
    }),
];

/** An answer is right, or an error that has a name. */
function verdict(status: number, text: string): string {
  if (status === 200 && text.includes('data: ')) {
    const error = /"error":\{.*"code":"([\w-]+)"/.exec(text);
    return error === null
      ? text.includes('[DONE]')
        ? '200 stream'
        : `fault: a stream without an end: ${text.slice(-200)}`
      : `200 stream, ${error[1]}`;
  }
  const value = JSON.parse(text);
  if (status === 200) return value.choices?.[0]?.message?.content ? '200' : 'fault: 200 without an answer';
  const code = value.error?.code;
  return typeof code === 'string' && code !== 'internal'
    ? `${status} ${code}`
    : `fault: ${status} ${text.slice(0, 200)}`;
}

export async function tormentServers({ root, seed, seconds, entry }: ServersPlan): Promise<ServersOutcome> {
  mkdirSync(root, { recursive: true });
  const upstream = await startUpstream(REPLIES[0]!);
  const config = join(root, 'edge.yaml');
  writeFileSync(
    config,
    JSON.stringify({
      model: join(ROOT, 'models', 'crayon-edge'),
      cache_dir: join(root, 'cache'),
      engine: { type: 'F32', threads: 1, gpu: false, sequences: 2 },
      server: {
        ...{ base_url: upstream.baseUrl, model: 'big', api_key_env: 'BIG_KEY', retries: 1 },
        ...{ budget: { tokens_per_day: 10_000_000 }, circuit: { failures: 1_000_000 } },
        timeouts: { connect_seconds: 2, first_byte_seconds: 1, idle_seconds: 1, total_seconds: 5 },
      },
    }),
  );
  const outcome: ServersOutcome = { answers: {}, faults: [], slowestHealthMs: 0 };
  const count = (verdict: string): void => {
    outcome.answers[verdict] = (outcome.answers[verdict] ?? 0) + 1;
    if (verdict.startsWith('fault')) outcome.faults.push(verdict);
  };
  const used = (): number => {
    const name = readdirSync(join(root, 'cache')).find((file) => /^budget-.*\.json$/.test(file))!;
    const { inputTokens, outputTokens } = JSON.parse(readFileSync(join(root, 'cache', name), 'utf8'));
    return inputTokens + outputTokens;
  };
  const expectUsed = (tokens: number, when: string): void => {
    if (used() !== tokens) outcome.faults.push(`the budget ${when}: ${used()} tokens, expected ${tokens}`);
  };

  // 1) What two servers use adds up, whatever ends them.
  const cloud = async (url: string, requests: number): Promise<void> => {
    for (let i = 0; i < requests; i++) {
      const answer = await ask(url, question('hello'), { 'x-crayon-mode': 'only_in_cloud' });
      if (answer.status !== 200) count(`fault: ${answer.status} ${await answer.text()}`);
    }
  };
  let servers = await Promise.all([startServer(config, entry), startServer(config, entry)]);
  await Promise.all(servers.map(({ url }) => cloud(url, REQUESTS)));
  expectUsed(2 * REQUESTS * TOKENS, 'of two servers');
  await cloud(servers[0]!.url, 5);
  for (const server of servers) server.process.kill('SIGKILL');
  await Promise.all(servers.map(({ ended }) => ended));
  expectUsed((2 * REQUESTS + 5) * TOKENS, 'after kill -9');

  // 2) Faults on one side, a flood on the other.
  servers = await Promise.all([startServer(config, entry), startServer(config, entry)]);
  const random = createRandom(seed, 'servers');
  upstream.script(...Array.from({ length: 20_000 }, () => REPLIES[random.int(REPLIES.length)]!));
  const end = Date.now() + seconds * 1000;
  const client = async (): Promise<void> => {
    while (Date.now() < end) {
      const { url } = servers[random.int(servers.length)]!;
      await CLIENTS[random.int(CLIENTS.length)]!(url, random)
        .catch((error: Error) =>
          error.name === 'TimeoutError' ? 'given up by the client' : `fault: ${error} ${error.cause}`,
        )
        .then(count);
    }
  };
  const health = async (): Promise<void> => {
    while (Date.now() < end) {
      for (const { url } of servers) {
        const started = performance.now();
        const answer = await fetch(`${url}/health`).catch((error: Error) => ({ status: String(error.cause) }));
        outcome.slowestHealthMs = Math.max(outcome.slowestHealthMs, performance.now() - started);
        if (answer.status !== 200) outcome.faults.push(`/health: ${answer.status}`);
      }
      await pause(200);
    }
  };
  await Promise.all([health(), ...Array.from({ length: 12 }, client)]);

  // 3) The end.
  for (const [i, { process: child, ended, said }] of servers.entries()) {
    child.kill('SIGTERM');
    const result = await Promise.race([ended, pause(15_000).then(() => null)]);
    if (result?.code !== 0)
      outcome.faults.push(`server ${i} on SIGTERM: ${JSON.stringify(result)} ${said().slice(-500)}`);
    if (/unhandled|uncaught|"level":60/i.test(said())) outcome.faults.push(`server ${i} said: ${said().slice(-500)}`);
    child.kill('SIGKILL');
  }
  await upstream.close();
  return outcome;
}
