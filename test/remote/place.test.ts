import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blendPool } from '../../src/blend/blend-pool.js';
import { hearingWarnings } from '../../src/core/warning.js';
import { openPool } from '../../src/pool/pool.js';
import { poolPlace } from '../../src/remote/place.js';
import { type FileServer, fileServer } from '../helpers/file-server.js';
import { temporaryDir } from '../helpers/files.js';

const POOL = 'models/crayon-edge-pool';
const WEIGHTS = 'adapter_model.safetensors';
const QUICK = { retryMs: 1, firstByteMs: 2000, idleMs: 300 };

function copiedPool(): string {
  const dir = join(temporaryDir(), 'pool');
  cpSync(POOL, dir, { recursive: true });
  return dir;
}

/** One process's look at a pool: a place and the warnings that came of it. */
async function look(server: FileServer, cacheDir: string, options: { cacheBytes?: number; key?: string } = {}) {
  const warnings: string[] = [];
  const place = await hearingWarnings(
    (text) => warnings.push(text),
    () => poolPlace(server.url, { cacheDir, timeouts: QUICK, ...options }),
  );
  return { place, warnings };
}

const isThere = (dir: string, n: number) => existsSync(join(dir, 'adapters', String(n), WEIGHTS));
const paths = ({ asked }: FileServer) => asked.map(({ path }) => path);
const contents = (dir: string) =>
  Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name))]));

const BLEND = { estimator: 'given', combine: 'cat', long: 'error' } as const;

describe('poolPlace', () => {
  it('takes a directory as it is', async () => {
    const place = await poolPlace(POOL);
    await place.members();
    expect(place).toMatchObject({ dir: POOL, remote: null });
  });

  it('fetches manifest and centroids, then the adapters that have a share, whose blend has the bytes of one from all of them', async () => {
    const server = await fileServer(POOL);
    const { place } = await look(server, temporaryDir());
    expect(paths(server)).toEqual(['/pool.json', '/centroids.safetensors', '/pool.json']);
    expect(openPool(place.dir).centroids).toEqual(openPool(POOL).centroids);
    const coefficients = [0.7, 0, 0.3, 0, 0, 0];
    const out = join(temporaryDir(), 'fetched');
    const whole = join(temporaryDir(), 'whole');
    const fetchMembers = (alpha: readonly number[]) => place.members(alpha);
    await blendPool({ ...BLEND, pool: place.dir, coefficients, out, fetchMembers });
    await blendPool({ ...BLEND, pool: POOL, coefficients, out: whole });
    expect(contents(out)).toEqual(contents(whole));
    expect([0, 1, 2, 3, 4, 5].filter((n) => isThere(place.dir, n))).toEqual([0, 2]);
    expect(new Set(paths(server).slice(3))).toEqual(
      new Set([0, 2].flatMap((n) => [`/adapters/${n}/adapter_config.json`, `/adapters/${n}/${WEIGHTS}`])),
    );
    expect(place.remote!.server.received).toBe(server.sent);
  });

  it('says nothing of the user: paths of files, and headers that every client sends', async () => {
    const server = await fileServer(POOL);
    const { place } = await look(server, temporaryDir());
    await place.members([0, 1, 0, 0, 0, 0]);
    expect(server.asked.every(({ method, body }) => method === 'GET' && body === '')).toBe(true);
    const names = new Set(server.asked.flatMap(({ headers }) => Object.keys(headers)));
    const usual = [
      'host',
      'connection',
      'accept',
      'accept-language',
      'sec-fetch-mode',
      'user-agent',
      'accept-encoding',
    ];
    // fetch adds the last two to what asks about an ETag.
    const more = ['if-none-match', 'pragma', 'cache-control'];
    expect([...names].filter((name) => !usual.includes(name))).toEqual(more);
  });

  it('asks once: what is there is compared by its ETag', async () => {
    const server = await fileServer(POOL);
    const cache = temporaryDir();
    await (await look(server, cache)).place.members([1, 0, 0, 0, 0, 0]);
    const before = server.asked.length;
    const { place, warnings } = await look(server, cache);
    await place.members([1, 0, 0, 0, 0, 0]);
    expect(paths(server).slice(before)).toEqual(['/pool.json']);
    expect(warnings).toEqual([]);
    expect(place.remote!.server.received).toBe(0);
  });

  it.each([
    { ranges: true, requests: 2, more: 0 },
    { ranges: false, requests: 2, more: 100_000 },
  ])('goes on after a cut connection, with ranges: $ranges', async ({ ranges, requests, more }) => {
    const server = await fileServer(POOL, { ranges });
    const path = `/adapters/1/${WEIGHTS}`;
    let isCut = false;
    server.instead = (asked, response) => {
      if (asked !== path || isCut) return false;
      isCut = true;
      const bytes = readFileSync(join(POOL, path));
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 100_000));
      setTimeout(() => response.destroy(), 50);
      return true;
    };
    const { place } = await look(server, temporaryDir());
    await place.members([0, 1, 0, 0, 0, 0]);
    const asked = server.asked.filter((one) => one.path === path);
    expect(asked).toHaveLength(requests);
    expect(asked[1]!.headers.range).toBe('bytes=100000-');
    const size = readFileSync(join(POOL, path)).length;
    expect(readFileSync(join(place.dir, path)).equals(readFileSync(join(POOL, path)))).toBe(true);
    const rest = ['pool.json', 'centroids.safetensors', 'adapters/1/adapter_config.json'];
    expect(server.sent - rest.reduce((sum, name) => sum + readFileSync(join(POOL, name)).length, 0)).toBe(size + more);
  });

  it('goes on where an earlier process gave up', async () => {
    const server = await fileServer(POOL);
    const cache = temporaryDir();
    const path = `/adapters/1/${WEIGHTS}`;
    const cut = (response: import('node:http').ServerResponse, from: number, bytes: number) => {
      const all = readFileSync(join(POOL, path));
      response.writeHead(from === 0 ? 200 : 206, { 'content-range': `bytes ${from}-${all.length - 1}/${all.length}` });
      response.write(all.subarray(from, from + bytes));
      setTimeout(() => response.destroy(), 30);
    };
    let times = 0;
    server.instead = (asked, response) => {
      if (asked !== path) return false;
      if (times++ === 0) cut(response, 0, 50_000);
      else response.destroy();
      return true;
    };
    const first = await look(server, cache);
    await expect(first.place.members([0, 1, 0, 0, 0, 0])).rejects.toMatchObject({ code: 'server-failed' });
    expect(isThere(first.place.dir, 1)).toBe(false);
    server.instead = () => false;
    server.asked.length = 0;
    const { place } = await look(server, cache);
    await place.members([0, 1, 0, 0, 0, 0]);
    expect(server.asked.at(-1)!.headers.range).toBe('bytes=50000-');
    expect(isThere(place.dir, 1)).toBe(true);
    expect(readdirSync(join(cache, 'pools', 'parts'))).toEqual([]);
  });

  const lies: Array<[what: string, path: string, lie: FileServer['instead'], code: string, message: RegExp]> = [
    [
      'other bytes',
      `/adapters/0/${WEIGHTS}`,
      (_, response) => {
        const bytes = readFileSync(join(POOL, 'adapters', '1', WEIGHTS));
        response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
        return true;
      },
      'server-invalid',
      /another adapters\/0/,
    ],
    [
      'an endless body',
      '/centroids.safetensors',
      (_, response) => {
        response.writeHead(200);
        const more = (): boolean => response.destroyed || response.write(Buffer.alloc(65_536), () => more());
        return more() || true;
      },
      'server-invalid',
      /more than \d+ bytes/,
    ],
    [
      'a length beyond all limits',
      '/pool.json',
      (_, response) => {
        response.writeHead(200, { 'content-length': 1e12 });
        response.write('{');
        return true;
      },
      'server-invalid',
      /sends 1000000000000 bytes/,
    ],
    [
      'a body that is shorter than it says',
      '/centroids.safetensors',
      (_, response) => {
        response.writeHead(200, { 'content-length': 5000 });
        response.write('short');
        setTimeout(() => response.destroy(), 10);
        return true;
      },
      'server-failed',
      /broke in the answer/,
    ],
    [
      'a body that stops',
      '/centroids.safetensors',
      (_, response) => {
        response.writeHead(200, { 'content-length': 5000 });
        response.write('slow');
        return true;
      },
      'server-timeout',
      /idle/,
    ],
    [
      'another range than was asked for',
      `/adapters/0/${WEIGHTS}`,
      (_, response, { headers }) => {
        if (headers.range !== undefined) {
          response.writeHead(206, { 'content-range': 'bytes 0-9/10' }).end('0123456789');
          return true;
        }
        response.writeHead(200, { 'content-length': 5000 });
        response.write('begin');
        setTimeout(() => response.destroy(), 10);
        return true;
      },
      'server-invalid',
      /range/,
    ],
    [
      'a redirection to another host',
      '/pool.json',
      (_, response) => {
        response.writeHead(302, { location: 'http://example.org/pool.json' }).end();
        return true;
      },
      'server-refused',
      /redirects to http:\/\/example.org/,
    ],
    [
      'redirections without end',
      '/pool.json',
      (_, response) => {
        response.writeHead(302, { location: '/pool.json' }).end();
        return true;
      },
      'server-refused',
      /redirects/,
    ],
    [
      'not modified, where nothing is known',
      '/pool.json',
      (_, response) => {
        response.writeHead(304).end();
        return true;
      },
      'server-refused',
      /304/,
    ],
    [
      'a page in place of a pool',
      '/pool.json',
      (_, response) => {
        response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
        return true;
      },
      'json-invalid',
      /pool\.json/,
    ],
  ];
  it.each(lies)('refuses %s', async (_, path, lie, code, message) => {
    const server = await fileServer(POOL);
    const cache = temporaryDir();
    server.instead = (asked, response, request) => asked === path && lie(asked, response, request);
    const used = async () => {
      const { place } = await look(server, cache);
      await place.members([1, 0, 0, 0, 0, 0]);
    };
    await expect(used()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    const files = existsSync(join(cache, 'pools')) ? readdirSync(join(cache, 'pools'), { recursive: true }) : [];
    expect(files.filter((name) => String(name).endsWith(WEIGHTS))).toEqual([]);
    // And with an honest server all is well again.
    server.instead = () => false;
    await used();
  });

  it('leaves the cache by no path of a manifest', async () => {
    const dir = copiedPool();
    const manifest = JSON.parse(readFileSync(join(dir, 'pool.json'), 'utf8'));
    const cache = temporaryDir();
    for (const path of ['../../../escaped', '/etc', 'adapters/../../x', 'C:\\x', 'a//b']) {
      manifest.adapters[0].dir = path;
      writeFileSync(join(dir, 'pool.json'), JSON.stringify(manifest));
      await expect(look(await fileServer(dir), cache)).rejects.toMatchObject({ code: 'pool-invalid' });
    }
    expect(readdirSync(cache)).toEqual([]);
  });

  it('refuses an adapter whose configuration is not what the manifest says, and does not keep it', async () => {
    const dir = copiedPool();
    const file = join(dir, 'adapters', '0', 'adapter_config.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"lora_alpha": 8', '"lora_alpha": 800'));
    const { place } = await look(await fileServer(dir), temporaryDir());
    await expect(place.members()).rejects.toMatchObject({ code: 'pool-invalid', message: /lora_alpha 800/ });
    expect(isThere(place.dir, 0)).toBe(false);
  });

  it('tells an updated pool, and fetches what is new in it', async () => {
    const dir = copiedPool();
    const server = await fileServer(dir);
    const cache = temporaryDir();
    const first = await look(server, cache);
    await first.place.members([1, 1, 0, 0, 0, 0]);
    // Cluster 1 is trained again: its adapter is now another one, here that of cluster 2.
    const manifest = JSON.parse(readFileSync(join(dir, 'pool.json'), 'utf8'));
    manifest.adapters[1].sha256 = manifest.adapters[2].sha256;
    cpSync(join(dir, 'adapters', '2', WEIGHTS), join(dir, 'adapters', '1', WEIGHTS));
    writeFileSync(join(dir, 'pool.json'), JSON.stringify(manifest));
    server.asked.length = 0;
    const { place, warnings } = await look(server, cache);
    expect(warnings).toEqual([expect.stringMatching(/has been updated.*1 of 6 adapters/)]);
    expect(place.dir).not.toBe(first.place.dir);
    await place.members([1, 1, 0, 0, 0, 0]);
    expect(paths(server).filter((path) => path.endsWith(WEIGHTS))).toEqual([`/adapters/1/${WEIGHTS}`]);
    expect([0, 1].map((n) => isThere(place.dir, n))).toEqual([true, true]);
  });

  it('uses what is in the cache where there is no network, and says so', async () => {
    const server = await fileServer(POOL);
    const cache = temporaryDir();
    await (await look(server, cache)).place.members([1, 0, 0, 0, 0, 0]);
    await server.close();
    const { place, warnings } = await look(server, cache);
    expect(warnings).toEqual([expect.stringMatching(/cannot be reached.*as it was fetched before/)]);
    await place.members([1, 0, 0, 0, 0, 0]);
    await expect(place.members([0, 1, 0, 0, 0, 0])).rejects.toMatchObject({ code: 'server-unreachable' });
    await expect(look(server, temporaryDir())).rejects.toMatchObject({ code: 'server-unreachable' });
  });

  it('keeps to its size: what was not of use for longest goes, what is in use stays', async () => {
    const server = await fileServer(POOL);
    const cache = temporaryDir();
    const bytes = 900_000; // three adapters of 300,680, less some
    const withBytes = { cacheBytes: bytes };
    const { place } = await look(server, cache, withBytes);
    for (const n of [0, 1, 2, 3]) {
      await (await look(server, cache, withBytes)).place.members([0, 1, 2, 3, 4, 5].map((m) => Number(m === n)));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect([0, 1, 2, 3].filter((n) => isThere(place.dir, n))).toEqual([2, 3]);
    await expect((await look(server, cache, { cacheBytes: 200_000 })).place.members()).rejects.toMatchObject({
      code: 'server-invalid',
    });
  });

  it('sends the key to the pool’s own origin only', async () => {
    const elsewhere = await fileServer(POOL);
    const server = await fileServer(POOL);
    server.instead = (path, response) => {
      if (path !== '/centroids.safetensors') return false;
      response.writeHead(302, { location: `${elsewhere.url}centroids.safetensors` }).end();
      return true;
    };
    await look(server, temporaryDir(), { key: 'secret' });
    expect(server.asked.map(({ headers }) => headers.authorization)).toEqual(Array(3).fill('Bearer secret'));
    expect(elsewhere.asked.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it('warns of a key that goes unencrypted to a host whose name only begins like an address of this machine', async () => {
    const warnings: string[] = [];
    const asked = hearingWarnings(
      (text) => warnings.push(text),
      () => poolPlace('http://127.example.invalid/pool', { cacheDir: temporaryDir(), timeouts: QUICK, key: 'geheim' }),
    );
    await expect(asked).rejects.toMatchObject({ code: 'server-unreachable' });
    expect(warnings).toEqual([expect.stringContaining('unencrypted')]);
  });

  it('refuses addresses that hold a password', async () => {
    await expect(poolPlace('https://user:geheim@example.org/pool')).rejects.toMatchObject({
      code: 'bad-option',
      message: expect.not.stringContaining('geheim'),
    });
  });
});
