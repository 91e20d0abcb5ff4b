/** What comes with a model and never ends, or takes all memory, as a user of the command line and of the server meets it. */

import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { addressOf, type Child, ROOT, scratch, start } from './helpers.js';

const EDGE = join(ROOT, 'models', 'crayon-edge');
const dir = scratch();
const LOOP =
  '{% for i in range(3000) %}{% for j in range(3000) %}{% for k in range(3000) %}{% endfor %}{% endfor %}{% endfor %}';
const MEMORY =
  '{% set all = namespace(list=[1]) %}{% for i in range(60) %}{% set all.list = all.list + all.list %}{% endfor %}';

let server: Child | undefined;
afterEach(() => {
  server?.process.kill('SIGKILL');
});

/** A server of the embedded model with another chat template. */
async function served(name: string, template: string, limits: object = {}): Promise<string> {
  const model = join(dir, name);
  cpSync(EDGE, model, { recursive: true });
  writeFileSync(join(model, 'chat_template.jinja'), template);
  const config = join(dir, `${name}.yaml`);
  const engine = { type: 'F32', threads: 1, gpu: false };
  writeFileSync(config, JSON.stringify({ model, cache_dir: join(dir, 'cache'), engine, limits, prompt_form: 'chat' }));
  server = start(['serve-edge', '--config', config, '--port', '0', '--stop-seconds', '0']);
  return addressOf(server);
}

const post = (url: string, body: object) =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
const messages = [{ role: 'user', content: 'hi' }];

/** How long each of some requests for /health took, while `meanwhile` goes on. */
async function healthTimes(url: string, meanwhile: Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  let isOver = false;
  void meanwhile.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    const started = performance.now();
    expect((await fetch(`${url}/health`)).status).toBe(200);
    times.push(performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return times;
}

it('a template that loops: its request ends in time, and health, other requests and SIGTERM are as ever', async () => {
  const url = await served('loops', LOOP, { request_seconds: 2 });
  const started = performance.now();
  const chat = post(`${url}/v1/chat/completions`, { model: 'loops', max_tokens: 2, messages });
  const times = healthTimes(url, chat);
  const other = await post(`${url}/v1/completions`, { model: 'loops', max_tokens: 2, prompt: 'Once' });
  expect(other.status).toBe(200);
  expect(performance.now() - started).toBeLessThan(2000);
  expect((await chat).status).toBe(504);
  expect(performance.now() - started).toBeLessThan(10_000);
  expect(Math.max(...(await times))).toBeLessThan(1500);

  void post(`${url}/v1/chat/completions`, { model: 'loops', max_tokens: 2, messages }).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 500)); // it loops now
  const asked = performance.now();
  server!.process.kill('SIGTERM');
  const { code, signal } = await server!.ended;
  expect([code, signal]).toEqual([0, null]);
  expect(performance.now() - asked).toBeLessThan(5000);
});

it('a request of the largest size leaves others their turns', async () => {
  const url = await served('large', '{% for m in messages %}{{ m.content }}{% endfor %}');
  const text = 'The company said on Monday that it would buy back shares. '.repeat(8).slice(0, 470);
  const large: Array<[path: string, body: object, status: number]> = [
    ['/v1/embeddings', { input: Array.from({ length: 2048 }, () => text), encoding_format: 'base64' }, 200],
    ['/v1/chat/completions', { messages: [{ role: 'user', content: text.repeat(2000) }] }, 400], // beyond the context
    ['/tokenize', { prompt: text.repeat(2000) }, 200],
  ];
  for (const [path, body, status] of large) {
    const started = performance.now();
    const answer = post(`${url}${path}`, { model: 'large', ...body });
    const times = await healthTimes(url, answer);
    expect((await answer).status, path).toBe(status);
    // Not before, in the middle of one step: all others would have waited for nearly the whole of it.
    expect(Math.max(...times), path).toBeLessThan((performance.now() - started) / 2);
  }
});

it('a template that takes all memory: an error for its request, and the server lives', async () => {
  const url = await served('memory', MEMORY);
  for (let i = 0; i < 2; i++) {
    const answer = await post(`${url}/v1/chat/completions`, { model: 'memory', max_tokens: 2, messages });
    expect([answer.status, await answer.json()]).toMatchObject([500, { error: { code: 'tokenizer_unsupported' } }]);
  }
  expect((await post(`${url}/v1/completions`, { model: 'memory', max_tokens: 2, prompt: 'Once' })).status).toBe(200);
  expect(server!.stderr()).toMatch(/the chat template was stopped: it takes more than 256 MiB of memory/);
});
