import { describe, expect, it } from 'vitest';
import { hasPlayground } from '../../../src/serve/playground/routes.js';
import { testApp } from '../helpers.js';

const files = { script: 'let page;', style: 'body {}' };
const playground = async () => files;
const PATHS = {
  '/': 'text/html; charset=utf-8',
  '/playground/page.js': 'text/javascript; charset=utf-8',
  '/playground/page.css': 'text/css; charset=utf-8',
  '/playground/icon.svg': 'image/svg+xml',
};

describe('the playground', () => {
  it.each(Object.entries(PATHS))('%s comes as %s, and lets nothing in from elsewhere', async (path, type) => {
    const { status, headers } = await testApp({ playground }).get(path);
    expect([status, headers.get('content-type')]).toEqual([200, type]);
    const policy = new Map(
      headers
        .get('content-security-policy')!
        .split('; ')
        .map((rule) => rule.split(/ (.*)/) as [string, string]),
    );
    expect(policy.get('default-src')).toBe("'none'");
    expect(policy.get('script-src')).toBe("'self'");
    expect(policy.get('style-src')).toBe("'self'");
    expect(policy.get('connect-src')).toBe("'self'");
    expect(policy.get('frame-ancestors')).toBe("'none'");
    expect(headers.get('content-security-policy')).not.toMatch(/unsafe|\*|https?:|data:/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
  });

  it('has in its HTML no script and no style of its own, and addresses of this server only', async () => {
    const html = await (await testApp({ playground }).get('/')).text();
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/i);
    const addresses = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address!);
    expect(addresses.sort()).toEqual(Object.keys(PATHS).slice(1).sort());
  });

  it('is asked for anew, and sent again only when it has changed', async () => {
    const { get } = testApp({ playground });
    const { headers } = await get('/playground/page.js');
    const etag = headers.get('etag')!;
    expect(headers.get('cache-control')).toBe('no-cache');
    const again = (tags: string, path = '/playground/page.js') => get(path, { headers: { 'if-none-match': tags } });
    const kept = await again(etag);
    expect([kept.status, kept.headers.get('etag'), await kept.text()]).toEqual([304, etag, '']);
    expect((await again(`"other", W/${etag}`)).status).toBe(304);
    expect((await again('"other"')).status).toBe(200);
    expect((await again(etag, '/playground/page.css')).status).toBe(200);
  });

  it('is there without the key, and while the model is loading, and takes GET alone; the API stays shut', async () => {
    const { get, post } = testApp({ playground, apiKey: 'k', isLoading: true });
    expect((await get('/')).status).toBe(200);
    expect((await get('/playground/page.js')).status).toBe(200);
    expect((await get('/', { method: 'HEAD' })).status).toBe(200);
    expect((await post('/', {})).status).toBe(405);
    expect((await get('/v1/customizations')).status).toBe(401);
    expect((await get('/v1/crayon')).status).toBe(401);
  });

  it('answers no other host’s name', async () => {
    const answer = await testApp({ playground }).get('/', { headers: { host: 'evil.example' } });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([403, 'application/json']);
  });

  it('has no other file, and is no guess at what an unknown path meant', async () => {
    const { get } = testApp({ playground });
    for (const path of [
      '/playground',
      '/playground/',
      '/playground/main.tsx',
      '/playground/%2e%2e/secret',
      '/index.html',
    ]) {
      const answer = await get(path);
      const { error } = (await answer.json()) as { error: { message: string } };
      expect([path, answer.status]).toEqual([path, 404]);
      expect(error.message).not.toMatch(/did you mean \/(playground.*)?\./);
    }
  });

  it('is off unless it is given: its files are unknown, and / says what Ollama says there, with a key and without', async () => {
    for (const apiKey of [undefined, 'k']) {
      const { get } = testApp({ apiKey, isLoading: true });
      const answer = await get('/');
      expect([answer.status, await answer.text()]).toEqual([200, 'Ollama is running']);
      expect((await get('/', { method: 'HEAD' })).status).toBe(200);
    }
    for (const path of Object.keys(PATHS).slice(1)) {
      const answer = await testApp().get(path);
      expect([answer.status, await answer.json()]).toMatchObject([404, { error: { code: 'unknown_url' } }]);
    }
  });

  it('tries again where its files could not be made', async () => {
    let tries = 0;
    const { get } = testApp({
      playground: async () => {
        if (tries++ === 0) throw new Error('no esbuild');
        return files;
      },
    });
    expect((await get('/playground/page.js')).status).toBe(500);
    expect(await (await get('/playground/page.js')).text()).toBe(files.script);
    await get('/playground/page.css');
    expect(tries).toBe(2);
  });

  it.each([
    [null, '127.0.0.1', null, true],
    [null, '::1', null, true],
    [null, '127.0.0.1', 'key', false],
    [null, '0.0.0.0', 'key', false],
    [true, '0.0.0.0', 'key', true],
    [false, '127.0.0.1', null, false],
  ])('playground: %s on %s with the key %s is %s', (playground, host, key, isOn) => {
    expect(hasPlayground({ playground, host }, key)).toBe(isOn);
  });
});
