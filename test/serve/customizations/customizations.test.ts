import { describe, expect, it } from 'vitest';
import { CrayonError } from '../../../src/core/errors.js';
import type { BlendMaker } from '../../../src/serve/customizations/maker.js';
import type { ChoiceMade } from '../../../src/serve/customizations/record.js';
import type { StoredUser, UserFiles } from '../../../src/serve/customizations/user-files.js';
import { fakeMaker, gate, testApp, until, user } from '../helpers.js';

const PATH = '/v1/customizations';
const EXAMPLES = ['a', 'b', 'c'].map((prompt) => ({ prompt, completion: ' x' }));

/** What is embedded of them. */
const PROMPTS = EXAMPLES.map(({ prompt }) => ({ prompt }));

interface Made {
  id: string;
  model: string;
}

interface Card extends Made {
  version: number;
  previous_version: number | null;
}

/** Through JSON, as on a disk. */
function memoryFiles(): UserFiles & { fail: unknown } {
  const texts = new Map<string, string>();
  const files = {
    fail: null as unknown,
    dir: '',
    load: () => [...texts.values()].map((text): StoredUser => JSON.parse(text)),
    write: (user: StoredUser) => {
      if (files.fail !== null) throw files.fail;
      texts.set(user.id, JSON.stringify(user));
    },
    remove: (id: string) => {
      if (files.fail !== null) throw files.fail;
      texts.delete(id);
    },
    close: () => {},
  };
  return files;
}

/** Says of every blend that its examples chose the pool, per query. */
const choosing = (maker: BlendMaker): BlendMaker => {
  const found = { loss: 2, difference: 1, standardError: 0.5, right: 1, seconds: 0.5 };
  const choice: ChoiceMade = {
    ...{ chosen: 'per-query', chosenFixed: 'nearest', evidence: 'both', seconds: 1.2346 },
    candidates: [{ name: 'base', ...found }],
  };
  return { ...maker, make: async (...all) => ({ ...(await maker.make(...all)), choice }) };
};

describe('/v1/customizations', () => {
  it('blends, and the model can be used at once', async () => {
    const { maker, orders } = fakeMaker();
    const { post, get, device } = testApp({ maker });
    const answer = await post(PATH, { examples: EXAMPLES, name: 'mine', top_k: 2, temperature: 0.05 });
    expect(answer.status).toBe(201);
    const made = (await answer.json()) as Made;
    expect(made).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{16}$/),
      object: 'customization',
      model: `edge:${made.id}`,
      name: 'mine',
      created: 1_700_000_000,
      version: 1,
      previous_version: null,
      combine: 'scales',
      coefficients: [0.75, 0.25],
      similarities: [0.9, 0.1],
      coverage: null,
      examples: 3,
      notices: [],
      blend_ms: 12,
      choice: null,
    });
    const how = { estimator: 'similarity', standardise: false, choose: null };
    const order = { coefficients: null, topK: 2, temperature: 0.05, ...how };
    expect(orders[0]).toEqual({ examples: PROMPTS, ...order });
    const chat = await post('/v1/chat/completions', { model: made.model, messages: user('hi') });
    expect(await chat.json()).toMatchObject({ model: made.model });
    expect(device.requests[0]!.request.adapters).toMatchObject([{ id: 'blend-0', scale: 1 }]);
    expect(await (await get(PATH)).json()).toEqual({ object: 'list', data: [made] });
    expect(await (await get(`${PATH}/${made.id}`)).json()).toEqual(made);
    expect(JSON.stringify(made)).not.toContain('secret');
  });

  it('takes lines of a data set as they stand', async () => {
    const { maker, orders } = fakeMaker();
    const lines = EXAMPLES.map((one, i) => ({ ...one, id: `set:${i}`, choices: [' x', ' y'], answer: 0 }));
    expect((await testApp({ maker }).post(PATH, { examples: lines })).status).toBe(201);
    expect(orders[0]!.examples).toEqual(PROMPTS);
  });

  it('takes conversations, with their answers or without', async () => {
    const { maker, orders } = fakeMaker();
    const messages = [
      { role: 'system', content: 's' },
      { role: 'user', content: 'u' },
    ];
    const examples = [
      { messages },
      { conversations: [...messages, { from: 'gpt', value: 'x' }] },
      { instruction: 'u', output: 'x', system: 's' },
    ];
    expect((await testApp({ maker }).post(PATH, { examples })).status).toBe(201);
    expect(orders[0]!.examples).toEqual(Array(3).fill({ prompt: 's\nu', messages }));
  });

  it('uses the customisation’s own scope', async () => {
    const { maker } = fakeMaker();
    const own: BlendMaker = {
      ...maker,
      make: async (...all) => ({
        ...(await maker.make(...all)),
        scope: () => ({ similarity: 0, percentile: 1 }),
      }),
    };
    const scope = () => ({ similarity: 1, percentile: 99 });
    const config = { routing: { thresholds: { scope: 50 } }, examples: 'x.jsonl' };
    const { post } = testApp({ maker: own, parts: { scope }, config });
    const { model } = (await (await post(PATH, { examples: EXAMPLES })).json()) as Made;
    const ask = async (name: string) =>
      (await post('/v1/chat/completions', { model: name, messages: user('hi') })).headers.get('x-crayon-source');
    expect([await ask('edge'), await ask(model)]).toEqual(['on_device', 'in_cloud']);
  });

  it('hands on examples with their answers where they are to choose, and shows what they chose', async () => {
    const { maker, orders } = fakeMaker();
    const shown = [...EXAMPLES, { prompt: 'd', choices: [' x', ' y'], answer: 1 }];
    const app = testApp({ maker: choosing(maker), config: { limits: { choose_seconds: 20 } } });
    const made = (await (await app.post(PATH, { examples: shown, choose: true })).json()) as Made;
    const answered = [...EXAMPLES, { prompt: 'd', completion: ' y', choices: [' x', ' y'], answer: 1 }];
    expect(orders[0]).toMatchObject({
      examples: [...PROMPTS, { prompt: 'd' }],
      choose: { shown: answered, seconds: 20 },
    });
    const choice = {
      ...{ chosen: 'per-query', chosen_fixed: 'nearest', evidence: 'both', seconds: 1.235 },
      candidates: [
        { name: 'base', title: 'the bare model', loss: 2, difference: 1, standard_error: 0.5, right: 1, seconds: 0.5 },
      ],
    };
    expect(made).toMatchObject({ coefficients: null, choice });
    expect(await (await app.get(`${PATH}/${made.id}`)).json()).toEqual(made);
    expect(app.records().at(-2)).toMatchObject({ chosen: 'per-query', chooseMs: 1235 });
    for (const [asked, seconds] of [
      [5, 5],
      [60, 20],
    ]) {
      await app.post(PATH, { examples: EXAMPLES, choose: true, choose_seconds: asked });
      expect(orders.at(-1)!.choose!.seconds).toBe(seconds);
    }
    // An answer in time for the request is worth more than one more candidate.
    const short = testApp({ maker: choosing(maker), config: { limits: { request_seconds: 10 } } });
    await short.post(PATH, { examples: EXAMPLES, choose: true });
    expect(orders.at(-1)!.choose!.seconds).toBe(8);
  });

  it('chooses by default where the configuration says so and the request can', async () => {
    const { maker, orders } = fakeMaker();
    const { post } = testApp({ maker, config: { choose: true } });
    const chooses = async (body: object) => {
      expect((await post(PATH, body)).status).toBe(201);
      return orders.at(-1)!.choose !== null;
    };
    expect(await chooses({ examples: EXAMPLES })).toBe(true);
    expect(await chooses({ examples: EXAMPLES, choose: false })).toBe(false);
    expect(await chooses({ examples: PROMPTS })).toBe(false);
    expect(await chooses({ examples: EXAMPLES, top_k: 1 })).toBe(false);
    expect(await chooses({ coefficients: [1, 0] })).toBe(false);
    const off = testApp({ maker });
    await off.post(PATH, { examples: EXAMPLES });
    expect(orders.at(-1)!.choose).toBe(null);
  });

  it('deletes: running requests finish, then the file goes', async () => {
    const { maker, removed } = fakeMaker();
    const { opened, open } = gate();
    const { post, get, device } = testApp({
      maker,
      device: { answers: [{ tokens: 'one two', beforeToken: () => opened }] },
    });
    const { id, model } = (await (await post(PATH, { coefficients: [1, 0] })).json()) as Made;
    const running = post('/v1/chat/completions', { model, messages: user('hi') });
    await until(() => device.requests.length === 1, 'the request');
    const gone = await get(`${PATH}/${id}`, { method: 'DELETE' });
    expect(await gone.json()).toEqual({ id, object: 'customization.deleted', deleted: true });
    expect(removed).toEqual([]);
    expect((await post('/v1/chat/completions', { model, messages: user('hi') })).status).toBe(404);
    open();
    expect((await running).status).toBe(200);
    expect(removed).toEqual(['blend-0']);
    expect((await get(`${PATH}/${id}`, { method: 'DELETE' })).status).toBe(404);
    expect((await get(`${PATH}/${id}`)).status).toBe(404);
  });

  it('keeps a bounded number, those being made counted', async () => {
    const { opened, open } = gate();
    const { maker } = fakeMaker(() => opened);
    const { post, get } = testApp({ maker, config: { limits: { customizations: 1 } } });
    const first = post(PATH, { coefficients: [1, 0] });
    const second = await post(PATH, { coefficients: [1, 0] });
    expect([second.status, second.headers.get('x-should-retry')]).toEqual([429, 'false']);
    open();
    const { id } = (await (await first).json()) as Made;
    expect((await post(PATH, { coefficients: [1, 0] })).status).toBe(429);
    await get(`${PATH}/${id}`, { method: 'DELETE' });
    expect((await post(PATH, { coefficients: [1, 0] })).status).toBe(201);
  });

  it('bounds merged ones apart: each has a file', async () => {
    const { maker } = fakeMaker();
    const { post, get } = testApp({ maker, config: { limits: { customizations: 9, merged_customizations: 1 } } });
    const make = (more: object) => post(PATH, { coefficients: [1, 0], ...more });
    const { id, name } = (await (await make({ combine: 'svd', name: 'a' })).json()) as Made & { name: string };
    expect(name).toBe('a');
    expect((await make({ combine: 'cat' })).status).toBe(429);
    expect((await make({})).status).toBe(201);
    await get(`${PATH}/${id}`, { method: 'DELETE' });
    expect((await make({ combine: 'cat' })).status).toBe(201);
  });

  it('replaces the one of a name, and goes back to the version before and forth again', async () => {
    const { maker, removed } = fakeMaker();
    const files = memoryFiles();
    const { post, get } = testApp({ maker, files, config: { limits: { customizations: 1 } } });
    const make = async (first: number) =>
      (await (await post(PATH, { coefficients: [first, 0], name: 'ann' })).json()) as Card;
    const rollback = async (id: string) => {
      const answer = await post(`${PATH}/${id}/rollback`, {});
      return [answer.status, (await answer.json()) as Card] as const;
    };
    const one = await make(1);
    expect(await rollback(one.id)).toMatchObject([409, { error: { code: 'no_previous_version' } }]);
    const two = await make(2);
    expect([two.id, two.version, two.previous_version]).toEqual([one.id, 2, 1]);
    expect(removed).toEqual(['blend-0']);
    expect(await rollback(one.id)).toMatchObject([200, { version: 1, previous_version: 2, coefficients: [1, 0] }]);
    expect(await rollback(one.id)).toMatchObject([200, { version: 2, previous_version: 1, coefficients: [2, 0] }]);
    await rollback(one.id);
    expect(await make(3)).toMatchObject({ id: one.id, version: 3, previous_version: 1 });
    expect(files.load().map(({ versions }) => versions.map(({ version }) => version))).toEqual([[3, 1]]);
    expect((await post(`${PATH}/nobody/rollback`, {})).status).toBe(404);
    expect((await get(`${PATH}/${one.id}/rollback`)).status).toBe(405);
  });

  it('keeps what cannot be written unmade, and acknowledges nothing before it is written', async () => {
    const { maker, removed } = fakeMaker();
    const files = memoryFiles();
    const { post, get } = testApp({ maker, files });
    const made = (await (await post(PATH, { coefficients: [1, 0], name: 'ann' })).json()) as Card;
    files.fail = new CrayonError('disk-full', '/secret/place: no space left');
    for (const name of ['ann', 'ben']) {
      expect((await post(PATH, { coefficients: [2, 0], name })).status).toBe(500);
      expect(removed.length).toBe(name === 'ann' ? 1 : 2);
    }
    expect(await (await get(PATH)).json()).toEqual({ object: 'list', data: [made] });
    expect((await get(`${PATH}/${made.id}`, { method: 'DELETE' })).status).toBe(500);
    files.fail = null;
    expect((await get(`${PATH}/${made.id}`, { method: 'DELETE' })).status).toBe(200);
    expect(files.load()).toEqual([]);
  });

  it('takes up what was kept, merged ones when they are merged, and refuses what is of another pool', async () => {
    const files = memoryFiles();
    const first = testApp({ maker: fakeMaker().maker, files });
    const make = async (body: object) =>
      (await (await first.post(PATH, { coefficients: [1, 0], ...body })).json()) as Card;
    const [plain, merged] = [await make({ name: 'ann' }), await make({ combine: 'svd' })];
    const { opened, open } = gate();
    const { maker } = fakeMaker();
    const slow: BlendMaker = {
      ...maker,
      restore: async (blend, signal) => {
        if (blend.form === 'svd') await opened;
        return maker.restore(blend, signal);
      },
    };
    const again = testApp({ maker: slow, files });
    const restored = await again.parts.customizations!.restore();
    const ask = async (app: typeof again, model: string) =>
      (await app.post('/v1/chat/completions', { model, messages: user('hi') })).status;
    expect([await ask(again, plain.model), await ask(again, merged.model)]).toEqual([200, 503]);
    expect(await (await again.get(`${PATH}/${plain.id}`)).json()).toEqual(plain);
    expect(await (await again.get(`${PATH}/${merged.id}`)).json()).toMatchObject({
      problem: { code: 'customization_loading' },
    });
    open();
    await restored.merged;
    expect(await ask(again, merged.model)).toBe(200);

    const other = testApp({ maker: { ...fakeMaker().maker, pool: 'b'.repeat(64) }, files });
    await other.parts.customizations!.restore();
    expect(await ask(other, plain.model)).toBe(409);
    expect(await (await other.get(`${PATH}/${plain.id}`)).json()).toEqual({
      ...plain,
      problem: { code: 'customization_stale', message: expect.stringContaining('another pool') },
    });
    const remade = (await (await other.post(PATH, { coefficients: [2, 0], name: 'ann' })).json()) as Card;
    expect([remade.id, remade.version, await ask(other, plain.model)]).toEqual([plain.id, 2, 200]);
    expect((await other.post(`${PATH}/${plain.id}/rollback`, {})).status).toBe(409);
  });

  it('keeps the texts of examples only where it is asked to', async () => {
    for (const keep_examples of [false, true]) {
      const { maker, orders } = fakeMaker();
      await testApp({ maker, config: { keep_examples } }).post(PATH, { examples: EXAMPLES });
      expect(orders[0]!.shown).toEqual(keep_examples ? EXAMPLES : undefined);
    }
  });

  it('says what is wrong with the examples, and hides what is wrong with the server', async () => {
    let error: unknown = new CrayonError('example-invalid', 'no embedding for examples[1]');
    const failing = fakeMaker(() => {
      throw error;
    });
    const { post, log } = testApp({ maker: failing.maker });
    const status = async () => {
      const answer = await post(PATH, { examples: EXAMPLES });
      return [answer.status, ((await answer.json()) as { error: { message: string } }).error.message];
    };
    expect(await status()).toEqual([400, 'no embedding for examples[1]']);
    error = new CrayonError('disk-full', '/secret/place: no space left');
    const [code, message] = await status();
    expect(code).toBe(500);
    expect(message).not.toContain('secret');
    expect(log.join('')).toContain('no space left');
  });

  it.each<[string, object]>([
    ['examples', {}],
    ['examples', { examples: EXAMPLES, coefficients: [1] }],
    ['examples', { examples: EXAMPLES.slice(1) }],
    ['examples', { examples: Array.from({ length: 51 }, () => EXAMPLES[0]) }],
    ['examples', { examples: 'a' }],
    ['examples[1]', { examples: ['a', 'b', 'c'].map((prompt, i) => (i === 1 ? prompt : { prompt })) }],
    ['examples[0]', { examples: [{ prompt: ' ' }, ...EXAMPLES] }],
    ['examples[0]', { examples: [{ text: 'b' }, ...EXAMPLES] }],
    ['examples[0]', { examples: [{ prompt: 'a\0' }, ...EXAMPLES] }],
    ['examples[0]', { examples: [{ prompt: 'a', messages: [] }, ...EXAMPLES] }],
    ['examples[0]', { examples: [{ messages: [{ role: 'tool', content: 'a' }] }, ...EXAMPLES] }],
    ['coefficients', { coefficients: [] }],
    ['coefficients', { coefficients: [1, 'x'] }],
    ['name', { coefficients: [1], name: 'a\nb' }],
    ['top_k', { coefficients: [1], top_k: 0 }],
    ['temperature', { coefficients: [1], temperature: 0 }],
    ['estimator', { examples: EXAMPLES, estimator: 'given' }],
    ['standardise', { examples: EXAMPLES, standardise: 1 }],
    ['combine', { coefficients: [1], combine: 'ties' }],
    ['choose', { examples: EXAMPLES, choose: 1 }],
    ['choose', { coefficients: [1], choose: true }],
    ['choose', { examples: EXAMPLES, choose: true, top_k: 1 }],
    ['choose', { examples: EXAMPLES, choose: true, temperature: 0.1 }],
    ['choose', { examples: EXAMPLES, choose: true, estimator: 'similarity' }],
    ['choose', { examples: EXAMPLES, choose: true, standardise: false }],
    ['examples[1]', { examples: [EXAMPLES[0], { prompt: 'b' }, EXAMPLES[2]], choose: true }],
    ['examples[2]', { examples: [...EXAMPLES.slice(1), { prompt: 'c', completion: ' ' }], choose: true }],
    ['choose_seconds', { examples: EXAMPLES, choose_seconds: 5 }],
    ['choose_seconds', { examples: EXAMPLES, choose: true, choose_seconds: 0 }],
    ['adapter', { coefficients: [1], adapter: '/etc/passwd' }],
  ])('refuses %s', async (param, body) => {
    const { maker, orders } = fakeMaker();
    const answer = await testApp({ maker }).post(PATH, body);
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { param } }]);
    expect(orders).toEqual([]);
  });

  it('needs a pool', async () => {
    const { post, get } = testApp({ parts: { customizations: null } });
    const answer = await post(PATH, { examples: EXAMPLES });
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: { code: 'no_pool' } }]);
    expect(await (await get(PATH)).json()).toEqual({ object: 'list', data: [] });
  });
});
