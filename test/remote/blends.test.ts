import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { hearingWarnings } from '../../src/core/warning.js';
import { openPool, poolDigest } from '../../src/pool/pool.js';
import { blendOnServer } from '../../src/remote/blends.js';
import { poolPlace } from '../../src/remote/place.js';
import { crayon } from '../e2e/helpers.js';
import { fileServer } from '../helpers/file-server.js';
import { temporaryDir } from '../helpers/files.js';
import { POOL, poolServer, wireTo } from '../helpers/pool-server.js';

const EXAMPLES = 'suite/examples/bank.jsonl';
const FILES = ['adapter_config.json', 'adapter_model.safetensors', 'crayon.json'];
const QUICK = { retryMs: 1 };
const bytesOf = (dir: string) => FILES.map((name) => readFileSync(join(dir, name)).toString('base64'));

describe('blend --blend-on-server', () => {
  it('sends N numbers and nothing else of the examples, and gets the adapter of crayon blend with the rounded ones', async () => {
    const server = await poolServer();
    const wire = await wireTo(server.port);
    const [dir, cache] = [temporaryDir(), temporaryDir()];
    const out = join(dir, 'brought');
    const common = ['--examples', EXAMPLES, '--out', out, '--cache-dir', cache, '--json'];
    const { code, stdout, stderr } = await crayon(['blend', '--pool', wire.url, '--blend-on-server', ...common]);
    expect(code, stderr).toBe(0);
    const { coefficients } = JSON.parse(stdout) as { coefficients: number[] };

    // The wire, all of it: three GETs without a body, one POST.
    const requests = wire.up.split(/(?=(?:GET|POST) \/)/);
    expect(requests.map((request) => request.split(' HTTP')[0])).toEqual([
      'GET /pool.json',
      'GET /centroids.safetensors',
      'GET /pool.json',
      'POST /v1/blends',
    ]);
    expect(requests.slice(0, 3).every((request) => request.endsWith('\r\n\r\n'))).toBe(true);
    const body = JSON.parse(requests[3]!.split('\r\n\r\n')[1]!);
    expect(Object.keys(body)).toEqual(['pool', 'coefficients', 'combine', 'dtype']);
    expect(body).toMatchObject({ pool: poolDigest(openPool(POOL)), combine: 'cat', dtype: 'F32' });
    expect(body.coefficients).toHaveLength(6);
    expect(body.coefficients.every((x: number) => Number(x.toFixed(3)) === x)).toBe(true);
    const words = readFileSync(EXAMPLES, 'utf8').match(/[a-z]{6,}/gi)!;
    expect(words.length).toBeGreaterThan(20);
    const parts = requests.map((request) => request.toLowerCase());
    const usual = /^(prompt|completion|content|accept|connection|modified|combine|coefficients|crayon)$/i;
    expect(
      words.filter((word) => !usual.test(word) && parts.some((part) => part.includes(word.toLowerCase()))),
    ).toEqual([]);

    const local = join(dir, 'local');
    await crayon(['blend', '--pool', POOL, '--coefficients', coefficients.join(','), '--out', local]);
    expect(bytesOf(out)).toEqual(bytesOf(local));
  });

  it('asks about what it has by the ETag, and has it without a network', async () => {
    const server = await poolServer();
    const wire = await wireTo(server.port);
    const cache = temporaryDir();
    const coefficients = [0.5, 0.5, 0, 0, 0, 0];
    const bring = async (timeouts = QUICK) => {
      const place = await poolPlace(wire.url, { cacheDir: cache, timeouts });
      const out = join(temporaryDir(), 'out');
      const brought = await blendOnServer(place.remote!, { coefficients, combine: 'cat', out });
      return { brought, bytes: bytesOf(out) };
    };
    const first = await bring();
    const before = wire.down;
    const second = await bring();
    expect(second).toMatchObject({ bytes: first.bytes, brought: { coefficients } });
    expect(wire.down - before).toBeLessThan(2000);
    expect(await server.metrics()).toContain('crayon_blends_total{origin="unchanged"} 1');
    await server.stop();
    const warnings: string[] = [];
    const offline = await hearingWarnings(
      (text) => warnings.push(text),
      () => bring(),
    );
    expect(offline.bytes).toEqual(first.bytes);
    expect(warnings.join('\n')).toMatch(/as it was fetched before[\s\S]*the one that was fetched before/);
  });

  it('reads on where a connection was cut', async () => {
    const server = await poolServer();
    const wire = await wireTo(server.port);
    const place = await poolPlace(wire.url, { cacheDir: temporaryDir(), timeouts: QUICK });
    const asked = { coefficients: [0.5, 0.5, 0, 0, 0, 0], combine: 'cat' } as const;
    wire.cutAfter = 200_000;
    const out = join(temporaryDir(), 'out');
    const { blend } = await blendOnServer(place.remote!, { ...asked, out });
    expect(wire.up).toMatch(/GET \/v1\/blends\/[0-9a-f]{32} HTTP[\s\S]*range: bytes=1\d{5}-/i);
    const whole = await poolPlace(server.url, { cacheDir: temporaryDir() });
    const other = await blendOnServer(whole.remote!, { ...asked, out: join(temporaryDir(), 'other') });
    expect(blend.digest).toBe(other.blend.digest);
  });

  it('refuses what is no blend, and a server that has none', async () => {
    const files = await fileServer(POOL);
    const place = await poolPlace(files.url, { cacheDir: temporaryDir(), timeouts: QUICK });
    const asked = { coefficients: [1, 0, 0, 0, 0, 0], combine: 'cat', out: join(temporaryDir(), 'out') } as const;
    await expect(blendOnServer(place.remote!, asked)).rejects.toMatchObject({ code: 'server-refused', message: /404/ });
    files.instead = (path, response) => {
      if (path !== '/v1/blends') return false;
      response.writeHead(200, { 'content-type': 'application/x-tar' }).end(Buffer.alloc(2048, 65));
      return true;
    };
    await expect(blendOnServer(place.remote!, asked)).rejects.toMatchObject({ code: 'server-invalid' });
    files.instead = (path, response) => {
      if (path !== '/v1/blends') return false;
      response.writeHead(307, { location: '/v1/elsewhere' }).end();
      return true;
    };
    await expect(blendOnServer(place.remote!, asked)).rejects.toMatchObject({
      code: 'server-refused',
      message: /redirects/,
    });
  });

  it.each([
    [['--pool', POOL], /with the directory/],
    [['--pool', 'http://127.0.0.1:1', '--combine', 'linear'], /--combine linear/],
    [['--pool', 'http://127.0.0.1:1', '--refine', '1'], /--refine/],
  ])('says what does not go together: %j', async (flags, message) => {
    const argv = ['blend', ...flags, '--blend-on-server', '--examples', EXAMPLES, '--out', join(temporaryDir(), 'out')];
    const { code, stderr } = await crayon(argv);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });
});
