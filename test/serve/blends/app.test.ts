import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { blendPool } from '../../../src/blend/blend-pool.js';
import { unpackInto } from '../../../src/files/tar.js';
import { temporaryDir } from '../../helpers/files.js';
import { POOL, poolServer } from '../../helpers/pool-server.js';

const FILES = ['adapter_config.json', 'adapter_model.safetensors', 'crayon.json'];
const ALPHA = [0.701, 0.0, 0.299, 0, 0, 0];

async function unpacked(response: Response): Promise<string> {
  const dir = temporaryDir();
  const archive = join(temporaryDir(), 'blend.tar');
  writeFileSync(archive, Buffer.from(await response.arrayBuffer()));
  unpackInto(archive, dir, FILES);
  return dir;
}

const digestOf = (bytes: Uint8Array) => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

describe('serve-pool', () => {
  it('gives the blend of N numbers: the bytes of crayon blend with the same rounded coefficients', async () => {
    const server = await poolServer();
    for (const [combine, local] of [
      ['cat', { combine: 'cat' }],
      ['svd:4', { combine: 'svd', rank: 4 }],
    ] as const) {
      const response = await server.post({ coefficients: ALPHA, combine });
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe('application/x-tar');
      expect(response.headers.get('x-crayon-coefficients')).toBe('0.7,0,0.3,0,0,0');
      const out = join(temporaryDir(), 'local');
      const coefficients = [0.7, 0, 0.3, 0, 0, 0];
      await blendPool({ pool: POOL, coefficients, estimator: 'given', long: 'error', out, ...local });
      const dir = await unpacked(response);
      for (const name of FILES) expect(readFileSync(join(dir, name)).equals(readFileSync(join(out, name)))).toBe(true);
    }
  });

  it('knows who is near by the ETag: 304, one blend for all, made once for those who ask at once', async () => {
    const server = await poolServer();
    const near = [ALPHA, [0.698, 0.002, 0.3, 0, 0, 0], [0.7, 0, 0.3, 0, 0, 0]];
    const answers = await Promise.all(near.map((coefficients) => server.post({ coefficients })));
    const bodies = await Promise.all(answers.map((answer) => answer.arrayBuffer()));
    const [etag, ...others] = answers.map((answer) => answer.headers.get('etag'));
    expect(etag).toMatch(/^"[0-9a-f]{32}"$/);
    expect(others).toEqual([etag, etag]);
    expect(answers[0]!.headers.get('repr-digest')).toBe(digestOf(new Uint8Array(bodies[1]!)));
    const again = await server.post({ coefficients: ALPHA }, { 'if-none-match': etag! });
    expect([again.status, (await again.arrayBuffer()).byteLength]).toEqual([304, 0]);
    await (await server.post({ coefficients: ALPHA })).arrayBuffer();
    const metrics = await server.metrics();
    for (const [origin, count] of Object.entries({ made: 1, joined: 2, unchanged: 1, kept: 1 })) {
      expect(metrics).toContain(`crayon_blends_total{origin="${origin}"} ${count}`);
    }
    expect(metrics).toContain('crayon_blends_kept 1');
    expect((await server.post({ coefficients: [0.5, 0.5, 0, 0, 0, 0] }, { 'if-none-match': etag! })).status).toBe(200);
  });

  it('gives a part of a blend to who has the beginning', async () => {
    const server = await poolServer();
    const whole = await server.post({ coefficients: ALPHA });
    const bytes = Buffer.from(await whole.arrayBuffer());
    const place = `${server.url}${whole.headers.get('content-location')}`;
    const etag = whole.headers.get('etag')!;
    const part = await fetch(place, { headers: { range: 'bytes=1000-', 'if-range': etag } });
    expect([part.status, part.headers.get('content-range')]).toEqual([
      206,
      `bytes 1000-${bytes.length - 1}/${bytes.length}`,
    ]);
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(1000))).toBe(true);
    const other = await fetch(place, { headers: { range: 'bytes=1000-', 'if-range': '"other"' } });
    expect([other.status, (await other.arrayBuffer()).byteLength]).toEqual([200, bytes.length]);
    expect((await fetch(place, { headers: { range: `bytes=${bytes.length}-` } })).status).toBe(416);
    expect((await fetch(place, { method: 'HEAD' })).headers.get('content-length')).toBe(String(bytes.length));
    expect((await fetch(`${server.url}/v1/blends/${'0'.repeat(32)}`)).status).toBe(404);
  });

  it('serves the pool’s files, with ranges and ETags, and no other', async () => {
    const server = await poolServer();
    for (const name of ['pool.json', 'centroids.safetensors', 'adapters/3/adapter_model.safetensors']) {
      const response = await fetch(`${server.url}/${name}`);
      expect(Buffer.from(await response.arrayBuffer()).equals(readFileSync(join(POOL, name)))).toBe(true);
      const known = await fetch(`${server.url}/${name}`, {
        headers: { 'if-none-match': response.headers.get('etag')! },
      });
      expect(known.status).toBe(304);
    }
    const other = [
      'adapters/3/../../pool.json/..',
      'adapters/3',
      'adapters/9/adapter_config.json',
      '%2e%2e/package.json',
      '',
    ];
    for (const path of other) expect((await fetch(`${server.url}/${path}`)).status).toBe(404);
    const bare = await poolServer({ files: false });
    expect((await fetch(`${bare.url}/pool.json`)).status).toBe(200);
    expect((await fetch(`${bare.url}/adapters/3/adapter_model.safetensors`)).status).toBe(404);
  });

  it('takes so many blends and no more: 429 with Retry-After', async () => {
    const server = await poolServer({ limits: { workers: 1, queue: 1 } });
    const asked = [1, 2, 3].map((k) => server.post({ coefficients: [k / 10, 1 - k / 10, 0, 0, 0, 0] }));
    const answers = await Promise.all(asked);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 429]);
    const refused = answers.find(({ status }) => status === 429)!;
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ error: { type: 'rate_limit_error' } });
  });

  it('asks for the key, but not for health, and logs no coefficients', async () => {
    const server = await poolServer({}, 'secret');
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    expect((await server.post({ coefficients: ALPHA })).status).toBe(401);
    expect((await fetch(`${server.url}/pool.json`)).status).toBe(401);
    const answer = await server.post({ coefficients: ALPHA }, { authorization: 'Bearer secret' });
    expect(answer.status).toBe(200);
    await answer.arrayBuffer();
    const bad = await server.post({ coefficients: [0.123456, 0] }, { authorization: 'Bearer secret' });
    expect(bad.status).toBe(400);
    expect(server.log.join('')).toContain('"route":"blends","status":200');
    expect(server.log.join('')).not.toMatch(/0\.7|0\.123|secret/);
  });

  it('keeps blends within a size, and over a restart', async () => {
    const cacheDir = temporaryDir();
    const server = await poolServer({ cache_dir: cacheDir, cache_mib: 1 });
    const kept = () => {
      const [dir] = readdirSync(join(cacheDir, 'pool-server'));
      return readdirSync(join(cacheDir, 'pool-server', dir!));
    };
    const ask = async (to: typeof server, k: number) => {
      const response = await to.post({ coefficients: [k / 10, 1 - k / 10, 0, 0, 0, 0] }); // some 600 kB each
      return (await response.arrayBuffer()).byteLength;
    };
    const size = await ask(server, 1);
    expect(size).toBeGreaterThan(550_000);
    await ask(server, 2);
    expect(kept()).toHaveLength(1);
    await server.stop();
    const next = await poolServer({ cache_dir: cacheDir, cache_mib: 1 });
    expect(await ask(next, 2)).toBe(size);
    expect(await next.metrics()).toContain('crayon_blends_total{origin="kept"} 1');
  });

  it('makes a GGUF where it has the base model, as crayon export does', async () => {
    const server = await poolServer({ model: 'models/crayon-edge' });
    const response = await server.post({ coefficients: ALPHA, form: 'gguf' });
    expect(response.status).toBe(200);
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(bytes.toString('latin1', 0, 4)).toBe('GGUF');
    const facts = await (await fetch(`${server.url}/v1/blends`)).json();
    expect(facts).toMatchObject({ clusters: 6, step: 0.01, forms: ['safetensors', 'gguf'] });
  });

  it('refuses a memory that not one blend fits', async () => {
    await expect(poolServer({ memory_mib: 1 })).rejects.toMatchObject({ code: 'memory-too-small' });
  });
});
