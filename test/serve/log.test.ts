import { describe, expect, it } from 'vitest';
import { createLog } from '../../src/serve/log.js';
import { testApp, user } from './helpers.js';

const SECRET = 'my-very-private-text';
const CHAT = '/v1/chat/completions';

describe('the log', () => {
  it('tells of each request who answered and why, in numbers', async () => {
    const { post, records } = testApp({ config: { routing: { thresholds: { complexity: 3 } } } });
    await post(CHAT, { model: 'edge', messages: user(SECRET), max_tokens: 5 });
    expect(records()).toEqual([
      {
        level: 'info',
        time: expect.any(Number),
        id: 'req_1',
        method: 'POST',
        route: 'chat',
        status: 200,
        mode: 'prefer_on_device',
        source: 'on_device',
        reason: 'accepted',
        score: 1,
        threshold: 3,
        complexity: 1,
        promptTokens: 2,
        maxTokens: 5,
        ttftMs: expect.any(Number),
        completionTokens: 3,
        cachedTokens: null,
        finish: 'stop',
        ms: expect.any(Number),
        msg: 'answered',
      },
    ]);
  });

  it('holds no text of prompts, answers, examples or keys unless asked', async () => {
    const { post, get, log } = testApp({
      device: { answers: [{ tokens: SECRET }, { tokens: SECRET, fail: { at: 1, error: new Error('broken') } }] },
      apiKey: SECRET,
    });
    const headers = { authorization: `Bearer ${SECRET}`, 'x-other': SECRET };
    const init = { headers };
    for (const stream of [false, true])
      await (await post(CHAT, { model: 'edge', messages: user(SECRET), stream }, init)).text();
    await post(CHAT, { model: 'edge', messages: [{ role: SECRET, content: SECRET }] }, init);
    await post(CHAT, { model: SECRET, messages: user(SECRET) }, init);
    await post(CHAT, { model: 'edge', messages: user(SECRET), stop: [SECRET], [SECRET]: 1 }, init);
    await post(CHAT, `{"x": "${SECRET}`, init);
    await post('/v1/completions', { model: 'edge', prompt: SECRET }, init);
    await post('/v1/customizations', { examples: Array(3).fill({ prompt: SECRET }), name: SECRET }, init);
    await get(`/v1/${SECRET}?q=${SECRET}`, init);
    expect(log.length).toBeGreaterThanOrEqual(9);
    expect(log.join('')).not.toContain(SECRET);
  });

  it('holds prompts when asked, but never those under only_on_device', async () => {
    const { post, records, log } = testApp({ logPrompts: true });
    await post(CHAT, { model: 'edge', messages: user('shown') });
    await post(CHAT, { model: 'edge', messages: user(SECRET), crayon: { mode: 'only_on_device' } });
    await post(
      '/v1/completions',
      { model: 'edge', prompt: SECRET },
      { headers: { 'x-crayon-mode': 'only_on_device' } },
    );
    const configured = testApp({ logPrompts: true, config: { routing: { mode: 'only_on_device' } } });
    await configured.post(CHAT, { model: 'edge', messages: user(SECRET) });
    expect(records()[0]).toMatchObject({ prompt: 'shown' });
    expect(log.join('') + configured.log.join('')).not.toContain(SECRET);
  });

  it('has the stack of a defect, which the client does not see', async () => {
    const failing = { answers: [{ tokens: '', fail: { at: 'open' as const, error: new Error('at /secret/place') } }] };
    const { post, log } = testApp({ device: failing, server: null });
    const answer = await post(CHAT, { model: 'edge', messages: user('hi') });
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain('/secret/place');
    expect(log.join('')).toContain('at /secret/place');
  });

  it.each([false, true])('has nothing that steers the terminal which shows it (pretty: %s)', (pretty) => {
    const lines: string[] = [];
    const stream = { write: (text: string) => lines.push(text) } as unknown as NodeJS.WritableStream;
    const hostile = 'a\u001b]0;t\u0007\u009b2Jb\u202e\nc';
    const log = createLog({ level: 'info', stream, pretty });
    log.info(
      { id: hostile, method: 'POST', route: hostile, reason: hostile, prompt: hostile, nested: [hostile] },
      hostile,
    );
    expect(lines).toHaveLength(1);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is they that are looked for
    const plain = lines[0]!.replaceAll(/\u001b\[\d+m/g, '').slice(0, -1);
    expect(plain).not.toMatch(/[\p{Cc}\u202e]/u);
    expect(plain).toContain('\\u202e');
    if (!pretty) expect(JSON.parse(plain)).toMatchObject({ id: hostile, msg: hostile, nested: [hostile] });
  });

  it('is one short line for a person', () => {
    const lines: string[] = [];
    const stream = { write: (text: string) => lines.push(text) } as unknown as NodeJS.WritableStream;
    createLog({ level: 'info', stream, pretty: true }).info(
      { id: 'r', method: 'POST', route: 'chat', status: 200, ms: 12, promptTokens: 3 },
      'answered',
    );
    expect(lines).toHaveLength(1);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
    expect(lines[0]!.replaceAll(/\u001b\[\d+m/g, '')).toMatch(
      /^\d\d:\d\d:\d\d info {2}answered POST chat 200 12 ms {2}promptTokens=3\n$/,
    );
  });
});
