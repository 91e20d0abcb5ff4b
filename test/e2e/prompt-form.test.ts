/**
 * One prompt form from training to serving: a pool trained through a chat template, blended, scored and served, and what
 * was trained plainly served plainly, whatever the model's template.
 */

import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ChatMessage, Prompt } from '../../src/engine/types.js';
import type { JsonObject } from '../../src/files/json.js';
import { encodeExample } from '../../src/hf/encode-example.js';
import { choosePromptForm, templateDigest } from '../../src/hf/prompt-form.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { assembleEdge, type EdgeAssembly } from '../../src/serve/assemble.js';
import { edgeConfig } from '../../src/serve/config.js';
import { request, wholeAnswer } from '../helpers/edge-gguf.js';
import { document, ROOT, refusal, scratch } from './helpers.js';

const EDGE = join(ROOT, 'models', 'crayon-edge');
const PLAIN_POOL = join(ROOT, 'models', 'crayon-edge-pool');
const EXAMPLES = join(ROOT, 'suite', 'examples', 'bank.jsonl');
const TEMPLATE = `{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>
{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}`;

const dir = scratch();
const at = (name: string) => join(dir, name);
const templated = at('templated');
const bank = readFileSync(EXAMPLES, 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line)) as Array<{
  prompt: string;
  completion: string;
}>;

const opened: EdgeAssembly[] = [];
afterAll(() => Promise.all(opened.map((parts) => parts.close())));

/** The server's parts with llama.cpp itself, in F32. */
async function serve(more: JsonObject): Promise<EdgeAssembly> {
  const engine = { type: 'F32', threads: 1, gpu: false, sequences: 1 };
  const yaml = { model: templated, cache_dir: at('cache'), engine, ...more };
  opened.push(
    await assembleEdge(edgeConfig({ state_dir: false, ...yaml }, { where: 'test', folder: ROOT }), { env: {} }),
  );
  return opened.at(-1)!;
}

const user = (content: string): ChatMessage => ({ role: 'user', content });
const chat = (...messages: ChatMessage[]): Prompt => ({ kind: 'chat', messages });

async function ask({ device, adapters }: EdgeAssembly, prompt: Prompt): Promise<string> {
  const asked = request('', { prompt, maxTokens: 8 });
  return (await wholeAnswer(device, { ...asked, adapters: adapters.choose(asked.query) })).text;
}

beforeAll(() => {
  cpSync(EDGE, templated, { recursive: true });
  writeFileSync(join(templated, 'chat_template.jinja'), TEMPLATE);
});

describe('a pool trained through a chat template', () => {
  const pool = at('pool');
  const adapter = at('blend');
  const model = ['--model', templated];

  beforeAll(async () => {
    const words = 'stone river cloud table glass paper horse bread chair light'.split(' ');
    const turns = words.map((word) => ({
      messages: [user(`Say the word ${word} again, please.`), { role: 'assistant', content: word }],
    }));
    writeFileSync(at('words.jsonl'), turns.map((turn) => JSON.stringify(turn)).join('\n'));
    const training = [EXAMPLES, at('words.jsonl')].flatMap((path) => ['--data', path]);
    const how = ['--clusters', '2', '--embedding', 'tfidf', '--rank', '4', '--epochs', '6', '--batch-size', '4'];
    await document(['build-pool', ...model, ...training, '--pool', pool, '--learning-rate', '0.005', ...how]);
    await document(['blend', '--pool', pool, '--examples', EXAMPLES, '--out', adapter]);
  }, 300_000);

  const record = { form: 'chat', templateSha256: templateDigest(TEMPLATE) };

  it('records its form, and so does its blend, with the template beside', () => {
    const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
    expect(json(join(pool, 'pool.json')).prompt).toEqual(record);
    expect(json(join(adapter, 'crayon.json')).prompt).toEqual(record);
    for (const place of [join(pool, 'adapters', '1'), adapter]) {
      expect(readFileSync(join(place, 'chat_template.jinja'), 'utf8')).toBe(TEMPLATE);
    }
  });

  it('is served token for token as it was trained, and answers every example as score says', async () => {
    const report = await document<{ prompt: object; perExample: Array<{ isGreedy: boolean }> }>([
      ...['score', ...model, '--adapter', adapter, '--data', EXAMPLES],
    ]);
    expect(report.prompt).toEqual(record);
    const parts = await serve({ adapter, examples: EXAMPLES });
    const tokenizer = loadTokenizer(templated);
    const form = choosePromptForm(tokenizer, {}, templated);
    const right: boolean[] = [];
    for (const [i, example] of bank.entries()) {
      const prompt = chat(user(example.prompt));
      const trained = encodeExample(tokenizer, { id: `bank:${i}`, ...example }, form, { addEnd: true });
      expect([...parts.device.tokenize(prompt)]).toEqual([...trained.ids.subarray(0, trained.promptLength)]);
      right.push((await ask(parts, prompt)) === example.completion.trim());
    }
    expect(right).toEqual(report.perExample.map(({ isGreedy }) => isGreedy));
    expect(right.filter((is) => is).length).toBeGreaterThan(2);
    // The scope's profile is of rendered conversations: an example of the task is near to it.
    const { query } = request('', { prompt: chat(user(bank[0]!.prompt)) });
    expect(parts.scope!(query)!.percentile).toBeGreaterThan(10);
  }, 120_000);

  it('is customised at run time from the same embeddings as by blend', async () => {
    const parts = await serve({ pool, drop_below: 0 });
    const order = {
      ...({ topK: null, temperature: null, estimator: 'similarity' } as const),
      ...{ examples: bank, coefficients: null },
    };
    const made = await parts.customizations!.create(order, null, new AbortController().signal);
    const { coefficients } = JSON.parse(readFileSync(join(adapter, 'crayon.json'), 'utf8'));
    for (const [n, alpha] of made.coefficients.entries()) expect(alpha).toBeCloseTo(coefficients[n], 5);
  }, 120_000);

  it('is not served, scored or blended in another form', async () => {
    await expect(serve({ adapter, prompt_form: 'plain' })).rejects.toMatchObject({ code: 'adapter-mismatch' });
    await expect(serve({ pool, prompt_form: 'plain' })).rejects.toMatchObject({ code: 'pool-mismatch' });
    await expect(serve({ pool: PLAIN_POOL, adapter })).rejects.toMatchObject({ code: 'config-invalid' });
    const score = ['score', ...model, '--data', EXAMPLES, '--prompt-form', 'plain'];
    expect(await refusal([...score, '--adapter', adapter])).toMatchObject({ code: 'adapter-mismatch' });
    expect(await refusal([...score, '--pool', pool])).toMatchObject({ code: 'pool-mismatch' });

    const other = at('other');
    cpSync(templated, other, { recursive: true });
    writeFileSync(join(other, 'chat_template.jinja'), `${TEMPLATE} `);
    const blend = ['blend', '--pool', pool, '--examples', EXAMPLES, '--out', at('none')];
    expect(await refusal([...blend, '--model', other])).toMatchObject({ code: 'pool-mismatch' });
    expect(await refusal([...blend, '--model', EDGE])).toMatchObject({ code: 'pool-mismatch' });
    await expect(serve({ model: other, pool })).rejects.toMatchObject({ code: 'pool-mismatch' });
    // An adapter has its template beside it, and is served through that.
    const parts = await serve({ model: other, adapter });
    expect(parts.facts.promptForm).toContain(record.templateSha256.slice(0, 12));
  }, 120_000);

  it('keeps its form as a GGUF LoRA', async () => {
    const lora = at('blend.lora.gguf');
    await document(['export', '--gguf', lora, ...model, '--adapter', adapter]);
    const { facts } = await serve({ adapter: lora, model: EDGE });
    expect(facts.promptForm).toBe((await serve({ adapter })).facts.promptForm);
    await expect(serve({ adapter: lora, prompt_form: 'plain' })).rejects.toMatchObject({ code: 'adapter-mismatch' });
  }, 60_000);

  it('honours the template beside an adapter that says nothing else', async () => {
    const foreign = at('foreign');
    cpSync(adapter, foreign, { recursive: true });
    rmSync(join(foreign, 'crayon.json'));
    writeFileSync(join(foreign, 'chat_template.jinja'), 'Q: {{ messages[-1].content }} A:');
    const parts = await serve({ adapter: foreign });
    const ids = loadTokenizer(EDGE).encode('Q: hi A:');
    expect([...parts.device.tokenize(chat(user('hi')))]).toEqual(ids);
  }, 60_000);

  it('puts the system prompt that it was trained with where a request has none', async () => {
    const data = at('few.jsonl');
    writeFileSync(
      data,
      bank
        .slice(0, 8)
        .map((example) => JSON.stringify(example))
        .join('\n'),
    );
    const out = at('system-pool');
    const how = ['--clusters', '1', '--rank', '1', '--epochs', '0.1', '--system', 'Be brief.'];
    await document(['build-pool', ...model, '--data', data, '--pool', out, ...how]);
    const { device } = await serve({ adapter: join(out, 'adapters', '0') });
    const system = (content: string) => ({ role: 'system', content });
    const ids = (...messages: ChatMessage[]) => [...device.tokenize(chat(...messages))];
    expect(ids(user('hi'))).toEqual(ids(system('Be brief.'), user('hi')));
    expect(ids(system('Be long.'), user('hi'))).not.toEqual(ids(user('hi')));
  }, 120_000);
});

describe('a pool trained plainly, and a model with a chat template', () => {
  it('answers conversations plainly: ten of ten, as without the template', async () => {
    const adapter = at('plain-blend');
    await document(['blend', '--pool', PLAIN_POOL, '--model', EDGE, '--examples', EXAMPLES, '--out', adapter]);
    const parts = await serve({ adapter, examples: EXAMPLES });
    expect(parts.facts.promptForm).toBe('plain');
    const answers = [];
    for (const { prompt } of bank) answers.push((await ask(parts, chat(user(prompt)))).split('\n')[0]!.trim());
    expect(answers).toEqual(bank.map(({ completion }) => completion.trim()));
    await expect(serve({ adapter, prompt_form: 'chat' })).rejects.toMatchObject({
      code: 'adapter-mismatch',
      hint: expect.stringMatching(/Leave the prompt form out.*build the pool again/),
    });
  }, 120_000);

  it('has no form chat without a template, nor a system prompt in form plain', async () => {
    const build = ['build-pool', '--model', EDGE, '--data', EXAMPLES, '--pool', at('no')];
    expect(await refusal([...build, '--prompt-form', 'chat'])).toMatchObject({ code: 'bad-option' });
    expect(await refusal([...build, '--system', 'Be brief.'])).toMatchObject({ code: 'bad-option' });
  });
});
