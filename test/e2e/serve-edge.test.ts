/** `crayon serve-edge` as a process of its own, with the embedded model, the shipped pool and the official client. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HfModel } from '../../src/hf/model.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { openNetwork } from '../../src/model/open-network.js';
import { scoreCompletions } from '../../src/train/evaluate.js';
import { reply, startUpstream, type Upstream } from '../helpers/scripted-upstream.js';
import { addressOf, type Child, crayon, ROOT, refusal, scratch, start } from './helpers.js';

const EDGE = join(ROOT, 'models', 'crayon-edge');
const POOL = join(ROOT, 'models', 'crayon-edge-pool');
const EXAMPLES = join(ROOT, 'suite', 'examples', 'bank.jsonl');
const KEY = 'sk-client-qxzv';
const STORY = 'Once upon a time there was a man who';

const dir = scratch();
const records = (path: string): Array<{ prompt: string; completion: string }> =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

let upstream: Upstream;
let server: Child;
let url: string;
let client: OpenAI;

beforeAll(async () => {
  upstream = await startUpstream(reply.answer(['from ', 'afar']));
  const config = join(dir, 'edge.yaml');
  writeFileSync(
    config,
    JSON.stringify({
      model: EDGE,
      pool: POOL,
      examples: EXAMPLES,
      cache_dir: join(dir, 'cache'),
      engine: { type: 'F32', threads: 1, gpu: false, sequences: 3 },
      routing: { thresholds: { scope: 1 } },
      server: { base_url: upstream.baseUrl, model: 'big', api_key_env: 'BIG_KEY' },
    }),
  );
  const env = { BIG_KEY: 'sk-upstream-qxzv', CLIENT_KEY: KEY };
  server = start(['serve-edge', '--config', config, '--port', '0', '--api-key-env', 'CLIENT_KEY'], { env });
  url = await addressOf(server);
  client = new OpenAI({ baseURL: `${url}/v1`, apiKey: KEY, maxRetries: 0 });
});
afterAll(async () => {
  server.process.kill('SIGKILL');
  await upstream.close();
});

async function customization(body: object): Promise<{ id: string; model: string; coefficients: number[] }> {
  const answer = await fetch(`${url}/v1/customizations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
    body: JSON.stringify(body),
  });
  expect(answer.status).toBe(201);
  return (await answer.json()) as { id: string; model: string; coefficients: number[] };
}

const onDevice = { headers: { 'x-crayon-mode': 'only_on_device' } };
const complete = async (model: string, prompt: string, more: { max_tokens?: number } = {}) => {
  const request = { model, prompt, max_tokens: 12, temperature: 0, logprobs: 0, ...more };
  const { choices, usage } = await client.completions.create(request, onDevice);
  return { text: choices[0]!.text, logprobs: choices[0]!.logprobs?.token_logprobs ?? [], usage: usage! };
};

describe('serve-edge', () => {
  it('says what it serves, and never shows a key', () => {
    const said = server.stderr();
    for (const part of ['crayon-edge', 'context of 512 tokens', 'big at http://127.0.0.1', 'required', 'curl http']) {
      expect(said).toContain(part);
    }
    expect(said).not.toMatch(/qxzv/);
  });

  it('customises a model from examples, which then does their task', async () => {
    const { model, coefficients } = await customization({ examples: records(EXAMPLES), name: 'bank' });
    expect(Math.max(...coefficients)).toBeGreaterThan(0.5);
    const tests = records(join(ROOT, 'suite', 'route-bank', 'test.jsonl')).slice(0, 20);
    let right = 0;
    for (const { prompt, completion } of tests) {
      const messages = [{ role: 'user' as const, content: prompt }];
      const answer = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 4 }, onDevice);
      // The plain template drops the space before the answer.
      if (answer.choices[0]!.message.content === completion.trim()) right++;
    }
    expect(right).toBeGreaterThanOrEqual(14);
  });

  it('routes by scope: the user’s own kind stays, another kind goes to the server', async () => {
    const ask = (content: string) =>
      client.chat.completions
        .create({ model: 'crayon-edge', messages: [{ role: 'user', content }], max_tokens: 4 })
        .withResponse();
    const inside = await ask(records(EXAMPLES)[0]!.prompt);
    expect(inside.response.headers.get('x-crayon-source')).toBe('on_device');
    const before = upstream.requests.length;
    const outside = await ask('Der Mond ist aufgegangen, die goldnen Sternlein prangen');
    expect(outside.response.headers.get('x-crayon-reason')).toBe('scope');
    expect(outside.data).toMatchObject({ model: 'big', choices: [{ message: { content: 'from afar' } }] });
    expect(upstream.requests).toHaveLength(before + 1);
    expect(upstream.requests.at(-1)!.headers.authorization).toBe('Bearer sk-upstream-qxzv');
  });

  it('gives the log-probabilities of our own forward pass', async () => {
    const answer = await complete('crayon-edge', STORY);
    const tokenizer = loadTokenizer(EDGE);
    const prompt = tokenizer.encode(STORY);
    const all = tokenizer.encode(STORY + answer.text);
    expect(all.slice(0, prompt.length)).toEqual(prompt);
    await chooseBackend();
    const hf = HfModel.open(EDGE);
    const model = openNetwork(hf);
    try {
      const sequences = all.slice(prompt.length).map((_, i) => {
        const ids = Int32Array.from(all.slice(0, prompt.length + i + 1));
        return { ids, promptLength: ids.length - 1 };
      });
      const own = (await scoreCompletions(model, sequences, {})).map(({ logprob }) => logprob);
      expect(answer.logprobs).toHaveLength(own.length);
      // The cache of keys and values is half precision.
      for (const [i, logprob] of answer.logprobs.entries()) expect(Math.abs(logprob! - own[i]!)).toBeLessThan(0.02);
    } finally {
      model.dispose();
      hf.close();
      releaseBackend();
    }
  });

  it('answers six requests at a time with different adapters as one by one', async () => {
    const oneHot = (n: number) => Array.from({ length: 6 }, (_, i) => (i === n ? 1 : 0));
    const made = [];
    for (let n = 0; n < 6; n++) made.push(await customization({ coefficients: oneHot(n) }));
    const prompt = records(EXAMPLES)[3]!.prompt;
    const alone = [];
    for (const { model } of made) alone.push(await complete(model, prompt, { max_tokens: 8 }));
    expect(new Set(alone.map(({ logprobs }) => logprobs[0])).size).toBe(6); // the adapters do differ
    const together = await Promise.all(made.map(({ model }) => complete(model, prompt, { max_tokens: 8 })));
    expect(together.map(({ text }) => text)).toEqual(alone.map(({ text }) => text));
    for (const [n, { logprobs }] of together.entries()) {
      for (const [i, logprob] of logprobs.entries()) expect(logprob).toBeCloseTo(alone[n]!.logprobs[i]!, 2);
    }
    // The same prompt under another adapter in between: what was read under one is not used under the other.
    const again = [];
    for (const { model } of [made[0]!, made[1]!, made[0]!])
      again.push(await complete(model, prompt, { max_tokens: 8 }));
    expect(again.map(({ text }) => text)).toEqual([alone[0]!.text, alone[1]!.text, alone[0]!.text]);
    for (const { id } of made) {
      const init = { method: 'DELETE', headers: { authorization: `Bearer ${KEY}` } };
      expect((await fetch(`${url}/v1/customizations/${id}`, init)).status).toBe(200);
    }
    await expect(complete(made[0]!.model, prompt)).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it('gives the log-probabilities of the merged adapter by the pool’s at scales', async () => {
    const coefficients = [0.4, 0.3, 0, 0.2, 0, 0.1];
    const [scales, cat] = [
      await customization({ coefficients }),
      await customization({ coefficients, combine: 'cat' }),
    ];
    const prompt = records(EXAMPLES)[1]!.prompt;
    const [one, other] = [await complete(scales.model, prompt), await complete(cat.model, prompt)];
    expect(one.text).toBe(other.text);
    for (const [i, x] of one.logprobs.entries()) expect(Math.abs(x! - other.logprobs[i]!)).toBeLessThan(2e-3);
    const base = await complete('crayon-edge', prompt);
    expect(Math.abs(base.logprobs[0]! - one.logprobs[0]!)).toBeGreaterThan(0.05);
  });

  it('streams what it answers whole', async () => {
    const request = { model: 'crayon-edge', prompt: STORY, max_tokens: 24, temperature: 0.8, seed: 5 };
    const whole = await client.completions.create(request, onDevice);
    let text = '';
    const stream = await client.completions.create(
      { ...request, stream: true, stream_options: { include_usage: true } },
      onDevice,
    );
    let tokens = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.text ?? '';
      tokens = chunk.usage?.completion_tokens ?? tokens;
    }
    expect([text, tokens]).toEqual([whole.choices[0]!.text, whole.usage!.completion_tokens]);
  });

  it('embeds in the pool’s space, by base64 as by numbers', async () => {
    const texts = records(EXAMPLES)
      .slice(0, 2)
      .map(({ prompt }) => prompt);
    const { data } = await client.embeddings.create({ model: 'crayon-edge', input: texts });
    const plain = await client.embeddings.create({ model: 'crayon-edge', input: texts, encoding_format: 'float' });
    expect(data.map(({ embedding }) => embedding)).toEqual(plain.data.map(({ embedding }) => embedding));
    for (const { embedding } of data) expect(Math.hypot(...embedding)).toBeCloseTo(1, 5);
  });

  it('finishes what runs on SIGTERM, ends with 0 and leaves nothing behind', async () => {
    await customization({ coefficients: [1, 0, 0, 0, 0, 0] });
    const ours = () => scratchDirs(server.process.pid!);
    expect(ours()).toHaveLength(2); // of customisations in files of their own, and of mixtures that are applied as one
    const prompts = Array.from({ length: 3 }, (_, i) => `${STORY} ${i}`);
    const running = prompts.map((prompt) => complete('crayon-edge', prompt, { max_tokens: 60 }));
    const health = async () => (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${KEY}` } })).text();
    while (!/crayon_edge_running [1-3]/.test(await health()));
    server.process.kill('SIGTERM');
    for (const { text } of await Promise.all(running)) expect(text.length).toBeGreaterThan(0);
    const { code, signal, stderr } = await server.ended;
    expect([code, signal]).toEqual([0, null]);
    expect(ours()).toEqual([]);
    // The keys' ends: a request's id or time may hold these digits by chance.
    expect(stderr).not.toMatch(/qxzv|Once upon/);
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  });
});

/** Temporary directories of a process. */
function scratchDirs(pid: number): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith(`crayon-scratch-${pid}-`));
}

describe('what serve-edge refuses to start with', () => {
  const cache = ['--cache-dir', join(dir, 'cache'), '--threads', '1', '--gpu', 'false'];
  it.each<[string, string, number, string[]]>([
    ['no model', 'bad-option', 2, []],
    ['a missing configuration', 'file-not-found', 3, ['--config', join(dir, 'none.yaml')]],
    ['a missing model', 'file-not-found', 3, ['--model', join(dir, 'none'), '--port', '0']],
    ['an open address without a key', 'config-invalid', 3, ['--model', EDGE, '--host', '0.0.0.0', '--port', '0']],
    ['an empty key variable', 'config-invalid', 3, ['--model', EDGE, '--api-key-env', 'NOT_SET_ANYWHERE']],
    ['the cloud without a server', 'config-invalid', 3, ['--model', EDGE, '--mode', 'only_in_cloud']],
    ['a server without a model', 'config-invalid', 3, ['--model', EDGE, '--server-url', 'http://127.0.0.1:1/v1']],
    ['an adapter that is none', 'path-not-recognised', 3, ['--model', EDGE, '--adapter', dir, '--port', '0', ...cache]],
    [
      'a context the model does not have',
      'bad-option',
      2,
      ['--model', EDGE, '--context', '100000', '--port', '0', ...cache],
    ],
  ])('%s', async (_, code, exit, flags) => {
    const found = await refusal(['serve-edge', ...flags]);
    expect([found.code, found.exit]).toEqual([code, exit]);
    expect(found.message.length).toBeGreaterThan(10);
  });

  it('a port that is taken, before the model is loaded', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    try {
      const found = await refusal(['serve-edge', '--model', EDGE, '--port', String(port), ...cache]);
      expect([found.code, found.exit]).toEqual(['address-unavailable', 4]);
    } finally {
      other.close();
    }
  });

  it('explains its flags', async () => {
    const { code, stdout } = await crayon(['serve-edge', '--help']);
    expect(code).toBe(0);
    for (const part of ['--server-url', '--mode', '--gate', '--api-key-file', 'curl']) expect(stdout).toContain(part);
  });
});
