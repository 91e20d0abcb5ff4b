import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { edgeConfig } from '../../../src/serve/config.js';
import { clientKey, serverKey } from '../../../src/serve/keys.js';
import { temporaryDir } from '../../helpers/files.js';
import { testApp, user } from '../helpers.js';

const KEY = 'sk-correct-horse';
const CHAT = '/v1/chat/completions';
const ask = { model: 'edge', messages: user('hi') };

describe('the API key', () => {
  it('is asked for everywhere but for health and the models’ list', async () => {
    const { get, post, log } = testApp({ apiKey: KEY });
    const open = ['/health', '/v1/health', '/v1/models'];
    for (const path of open) expect([path, (await get(path)).status]).toEqual([path, 200]);
    for (const path of ['/metrics', '/lora-adapters', '/v1/customizations', '/v1/models/edge']) {
      const answer = await get(path);
      expect([path, answer.status, answer.headers.get('www-authenticate')]).toEqual([path, 401, 'Bearer']);
    }
    const answer = await post(CHAT, ask);
    expect([answer.status, await answer.json()]).toMatchObject([
      401,
      { error: { type: 'authentication_error', code: 'invalid_api_key' } },
    ]);
    expect((await post(CHAT, ask, { headers: { authorization: `Bearer ${KEY}` } })).status).toBe(200);
    expect((await post(CHAT, ask, { headers: { authorization: `bearer ${KEY}` } })).status).toBe(200);
    expect(log.join('')).not.toContain(KEY);
  });

  it.each(['', KEY, `Basic ${KEY}`, 'Bearer', `Bearer ${KEY}x`, `Bearer ${KEY.slice(1)}`, `Bearer ${KEY} ${KEY}`])(
    'refuses "%s"',
    async (authorization) => {
      expect((await testApp({ apiKey: KEY }).post(CHAT, ask, { headers: { authorization } })).status).toBe(401);
    },
  );

  it('hides the customisations from those without it', async () => {
    const { get, post } = testApp({ apiKey: KEY });
    const headers = { authorization: `Bearer ${KEY}` };
    await post('/v1/customizations', { coefficients: [1, 0] }, { headers });
    const count = async (init: RequestInit) =>
      ((await (await get('/v1/models', init)).json()) as { data: object[] }).data.length;
    expect([await count({}), await count({ headers })]).toEqual([2, 3]);
  });
});

describe('the Host header', () => {
  it.each(['localhost', 'localhost:8080', '127.0.0.1:1', '[::1]:8080', '[::1]', 'LOCALHOST', 'my.name:80'])(
    'may be %s on loopback',
    async (host) => {
      const { get } = testApp({ config: { allowed_hosts: ['my.name'] } });
      expect((await get('/health', { headers: { host } })).status).toBe(200);
    },
  );

  it.each(['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '', 'a:b:c', '[::1', 'evil:80'])(
    'may not be "%s" on loopback',
    async (host) => {
      const answer = await testApp().get('/health', { headers: { host } });
      expect([answer.status, await answer.json()]).toMatchObject([403, { error: { code: 'host_not_allowed' } }]);
    },
  );

  it('is anything where the server is bound elsewhere, which the key protects', async () => {
    const { get } = testApp({ config: { host: '0.0.0.0' }, apiKey: KEY });
    expect((await get('/health', { headers: { host: 'box.lan' } })).status).toBe(200);
  });
});

describe('keys of the configuration', () => {
  const config = (yaml: object) => edgeConfig({ model: 'm', ...yaml }, { where: 'test', folder: '/' });

  it('are needed where others can reach the server', () => {
    expect(clientKey(config({}), {})).toBeNull();
    expect(clientKey(config({ host: '127.0.0.9' }), {})).toBeNull();
    for (const host of ['0.0.0.0', '::', '192.168.1.5', 'example.org']) {
      expect(() => clientKey(config({ host }), {})).toThrow(expect.objectContaining({ code: 'config-invalid' }));
      expect(clientKey(config({ host }), {}, KEY)).toBe(KEY);
    }
  });

  it('come from a variable or a file, and never into an error', () => {
    const dir = temporaryDir();
    const file = (name: string, text: string) => {
      writeFileSync(join(dir, name), text);
      return join(dir, name);
    };
    const env = { MINE: `  ${KEY} ` };
    expect(clientKey(config({ api_key_env: 'MINE' }), env)).toBe(KEY);
    expect(clientKey(config({ api_key_file: file('key', `${KEY}\n`) }), {})).toBe(KEY);
    const broken = config({ api_key_file: file('two', `${KEY}\n${KEY}x\n`) });
    expect(() => clientKey(broken, {})).toThrow(expect.objectContaining({ code: 'config-invalid' }));
    expect(() => clientKey(config({ api_key_env: 'MINE' }), {})).toThrow(/MINE, which is not set/);
    expect(() => clientKey(config({}), {}, 'with space')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('with space') }),
    );
    const server = config({ server: { base_url: 'http://x/v1', model: 'm', api_key_env: 'THEIRS' } }).server!;
    expect(serverKey(server, { THEIRS: 'k' })).toBe('k');
    expect(() => serverKey(server, { THEIRS: '' })).toThrow(expect.objectContaining({ code: 'config-invalid' }));
  });
});
