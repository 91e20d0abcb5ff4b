import { describe, expect, it } from 'vitest';
import { edgeConfig } from '../../../src/serve/config.js';
import { testApp, user } from '../helpers.js';

const CHAT = '/v1/chat/completions';
const PAGE = 'http://localhost:5173';
const ask = { model: 'edge', messages: user('hi') };
const preflight = (origin: string, more: Record<string, string> = {}): RequestInit => ({
  method: 'OPTIONS',
  headers: { origin, 'access-control-request-method': 'POST', ...more },
});
const allowed = ({ headers }: Response) => headers.get('access-control-allow-origin');

describe('web pages of other origins', () => {
  it('are shut out unless the configuration names them', async () => {
    const { get, post } = testApp();
    const asked = await get(CHAT, preflight(PAGE));
    expect([asked.status, allowed(asked), asked.headers.get('vary')]).toEqual([405, null, null]);
    expect(allowed(await post(CHAT, ask, { headers: { origin: PAGE } }))).toBeNull();
  });

  it('are let in when named: before the request, and on its answer', async () => {
    const { get, post } = testApp({ config: { allowed_origins: ['http://LOCALHOST:5173', 'chrome-extension://abc'] } });
    const asked = await get(
      CHAT,
      preflight(PAGE, { 'access-control-request-headers': 'content-type, x-stainless-os' }),
    );
    expect([asked.status, allowed(asked), await asked.text()]).toEqual([204, PAGE, '']);
    expect(asked.headers.get('access-control-allow-headers')).toBe('content-type, x-stainless-os');
    expect(asked.headers.get('access-control-allow-methods')).toContain('POST');
    expect(asked.headers.get('vary')).toContain('origin');
    const answer = await post(CHAT, ask, { headers: { origin: PAGE } });
    expect([answer.status, allowed(answer)]).toEqual([200, PAGE]);
    expect(answer.headers.get('access-control-expose-headers')).toContain('x-crayon-source');
    expect(allowed(await post(CHAT, ask, { headers: { origin: 'chrome-extension://abc' } }))).not.toBeNull();
  });

  it.each(['http://localhost:5174', 'https://localhost:5173', 'http://localhost:5173.evil.example', 'null'])(
    'stay out when another is named: %s',
    async (origin) => {
      const { get, post } = testApp({ config: { allowed_origins: [PAGE] } });
      expect((await get(CHAT, preflight(origin))).status).toBe(405);
      const answer = await post(CHAT, ask, { headers: { origin } });
      expect([allowed(answer), answer.headers.get('vary')]).toEqual([null, 'origin']);
    },
  );

  it('may read errors too, and need the key all the same', async () => {
    const { get, post } = testApp({ apiKey: 'right', config: { allowed_origins: [PAGE] } });
    expect((await get(CHAT, preflight(PAGE))).status).toBe(204);
    const answer = await post(CHAT, ask, { headers: { origin: PAGE } });
    expect([answer.status, allowed(answer)]).toEqual([401, PAGE]);
  });

  it('do not get round the Host header', async () => {
    const { get } = testApp({ config: { allowed_origins: [PAGE] } });
    expect((await get(CHAT, preflight(PAGE, { host: 'evil.example' }))).status).toBe(403);
  });

  it('are all let in by "*", where a key is asked for', async () => {
    const source = { where: 'test', folder: '/' };
    const yaml = { model: 'm', allowed_origins: ['*'] };
    expect(() => edgeConfig(yaml, source)).toThrow(/lets any web page/);
    expect(edgeConfig({ ...yaml, api_key_env: 'KEY' }, source).allowedOrigins).toEqual(['*']);
    const { get } = testApp({ apiKey: 'right', config: { allowed_origins: ['*'], api_key_env: 'KEY' } });
    expect(allowed(await get('/health', { headers: { origin: 'https://any.example' } }))).toBe('https://any.example');
  });

  it.each(['http://localhost:5173/', 'localhost:5173', 'http://*.example', 'http://a/b', ''])(
    '"%s" is no origin',
    (origin) => {
      const yaml = { model: 'm', allowed_origins: [origin] };
      expect(() => edgeConfig(yaml, { where: 'test', folder: '/' })).toThrow(
        expect.objectContaining({ code: 'config-invalid' }),
      );
    },
  );
});
