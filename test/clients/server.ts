/** The server that clients are tried on, and what they should see of it: asked once with plain HTTP. */

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const ROOT = join(import.meta.dirname, '..', '..');

/** What each script is told, as JSON in CRAYON_CLIENT_TASK. */
export interface Task {
  url: string;
  /** the base, and a customisation of it */
  model: string;
  custom: string;
  prompt: string;
  /** each one's answer, of temperature 0 and TOKENS tokens */
  expected: { model: string; custom: string };
  tokens: number;
  /** a JSON Schema, and a function whose arguments it is of */
  schema: object;
  /** what the server knows */
  has: { schema: boolean; tools: boolean };
}

const TOKENS = 8;
const SCHEMA = {
  type: 'object',
  properties: { team: { type: 'string', enum: ['Red', 'Blue', 'Black'] }, sure: { type: 'boolean' } },
  required: ['team', 'sure'],
  additionalProperties: false,
};

/** `crayon serve-edge` with the embedded model and its pool, on a free port. */
export async function startServer(): Promise<{ url: string; stop(): void }> {
  const { CRAYON_ENTRY } = process.env; // in a run of the tests, what these start too
  const tsx = pathToFileURL(join(ROOT, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href;
  const entry = CRAYON_ENTRY ? [CRAYON_ENTRY] : ['--import', tsx, 'bin/crayon.ts'];
  const state = mkdtempSync(join(tmpdir(), 'crayon-clients-'));
  const models = ['--model', 'models/crayon-edge', '--pool', 'models/crayon-edge-pool'];
  const child = spawn(
    process.execPath,
    [...entry, 'serve-edge', ...models, '--state-dir', state, '--port', '0', '--log-level', 'error'],
    { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let said = '';
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr.on('data', (chunk) => {
      said += chunk;
      const found = /Listens +(http\S+)/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once('exit', () => reject(new Error(`serve-edge ended:\n${said}`)));
  });
  child.once('exit', () => rmSync(state, { recursive: true, force: true }));
  return { url, stop: () => child.kill('SIGTERM') };
}

/** Takes back the customisation that `taskFor` made. */
export async function tidy({ url, model, custom }: Task): Promise<void> {
  await fetch(`${url}/v1/customizations/${custom.slice(model.length + 1)}`, { method: 'DELETE' });
}

/** Makes a customisation of a user's examples, and asks what clients will ask. */
export async function taskFor(url: string): Promise<Task> {
  const post = async (path: string, body: object) => {
    const answer = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, never> };
  };
  const lines = readFileSync(join(ROOT, 'suite', 'examples', 'bank.jsonl'), 'utf8')
    .trim()
    .split('\n');
  const examples = lines.map((line) => JSON.parse(line) as { prompt: string });
  const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: Array<{ id: string }> };
  const model = data[0]!.id;
  const made = await post('/v1/customizations', { examples, name: 'clients' });
  if (made.status >= 300) throw new Error(`no customisation: ${JSON.stringify(made.body)}`);
  const custom = made.body.model as string;
  const { prompt } = examples[0]!;
  const messages = [{ role: 'user', content: prompt }];
  const ask = (name: string, more: object = {}) =>
    post('/v1/chat/completions', { model: name, messages, temperature: 0, max_tokens: TOKENS, ...more });
  const textOf = async (name: string) => {
    const { body } = await ask(name);
    return (body.choices as Array<{ message: { content: string } }>)[0]!.message.content;
  };
  const format = { type: 'json_schema', json_schema: { name: 'team', schema: SCHEMA } };
  const tools = [{ type: 'function', function: { name: 'assign', parameters: SCHEMA } }];
  const knows = async (more: object) => (await ask(model, { max_tokens: 64, ...more })).status === 200;
  return {
    ...{ url, model, custom, prompt, tokens: TOKENS, schema: SCHEMA },
    expected: { model: await textOf(model), custom: await textOf(custom) },
    has: {
      schema: await knows({ response_format: format }),
      tools: await knows({ tools, tool_choice: 'required' }),
    },
  };
}
