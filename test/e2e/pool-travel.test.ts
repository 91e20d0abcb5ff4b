/** Pools by address, by the command line. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fileServer } from '../helpers/file-server.js';
import { temporaryDir } from '../helpers/files.js';
import { addressOf, crayon, document, refusal, start } from './helpers.js';

const POOL = 'models/crayon-edge-pool';
const EXAMPLES = 'suite/examples/bank.jsonl';
const WEIGHTS = 'adapter_model.safetensors';

describe('a pool by address', () => {
  it('is blended as the pool itself, from the adapters that have a share', async () => {
    const server = await fileServer(POOL);
    const [dir, cache] = [temporaryDir(), temporaryDir()];
    const blend = (pool: string, out: string, ...more: string[]) =>
      crayon([
        'blend',
        '--pool',
        pool,
        '--examples',
        EXAMPLES,
        '--top-k',
        '2',
        '--out',
        join(dir, out),
        '--json',
        ...more,
      ]);
    const fetched = await blend(server.url, 'fetched', '--cache-dir', cache);
    const whole = await blend(POOL, 'whole');
    expect([fetched.code, whole.code]).toEqual([0, 0]);
    expect(JSON.parse(fetched.stdout)).toMatchObject({ blend: { digest: JSON.parse(whole.stdout).blend.digest } });
    for (const name of [WEIGHTS, 'adapter_config.json', 'crayon.json']) {
      expect(readFileSync(join(dir, 'fetched', name)).equals(readFileSync(join(dir, 'whole', name)))).toBe(true);
    }
    expect(server.asked.filter(({ path }) => path.endsWith(WEIGHTS))).toHaveLength(2);
    await server.close();
    const offline = await blend(server.url, 'again', '--cache-dir', cache);
    expect(offline.code).toBe(0);
    expect(offline.stderr).toMatch(/as it was fetched before/);
  });

  it('is inspected by its manifest, and verified by all of it', async () => {
    const server = await fileServer(POOL);
    const cache = temporaryDir();
    const shown = await crayon(['inspect', server.url, '--cache-dir', cache]);
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringMatching(/pool of 6 base LoRAs/) });
    expect(shown.stdout).toContain(server.url);
    expect(server.asked.some(({ path }) => path.startsWith('/adapters'))).toBe(false);
    const verified = await crayon(['inspect', server.url, '--verify', '--cache-dir', cache]);
    expect(verified).toMatchObject({ code: 0, stdout: expect.stringMatching(/all as they were written/) });
    expect(existsSync(cache)).toBe(true);
  });

  it('says what is wrong with an address', async () => {
    const server = await fileServer(temporaryDir());
    expect(await refusal(['inspect', server.url, '--cache-dir', temporaryDir()])).toMatchObject({
      code: 'server-refused',
      exit: 4,
      message: expect.stringMatching(/answered 404 to pool\.json/),
      hint: expect.stringMatching(/directory that has pool\.json/),
    });
  });

  it('is scored with all of its adapters, as it is at its place', async () => {
    const server = await fileServer(POOL);
    const score = (pool: string) =>
      document<{ loss: number; pool: string }>([
        ...['score', '--model', 'models/crayon-edge', '--pool', pool, '--data', EXAMPLES, '--limit', '3'],
        ...['--split', 'train', '--cache-dir', temporaryDir()],
      ]);
    const fetched = await score(server.url);
    expect(fetched.pool).toBe(server.url);
    expect(fetched.loss).toBe((await score(POOL)).loss);
    expect(server.asked.filter(({ path }) => path.endsWith(WEIGHTS))).toHaveLength(6);
  });
});

describe('crayon serve-pool', () => {
  it('serves a pool and blends of it to devices that have its key, until it is asked to end', async () => {
    const cache = temporaryDir();
    const env = { POOL_KEY: 'secret-of-the-fleet' };
    const flags = ['--pool', POOL, '--port', '0', '--cache-dir', cache, '--api-key-env', 'POOL_KEY'];
    const server = start(['serve-pool', ...flags], { env });
    const url = await addressOf(server);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    const blend = ['blend', '--pool', url, '--examples', EXAMPLES, '--cache-dir', cache, '--out', join(cache, 'out')];
    const refused = await crayon([...blend, '--blend-on-server', '--json']);
    expect(JSON.parse(refused.stdout)).toMatchObject({
      error: { code: 'server-refused', hint: expect.stringMatching(/--pool-key-env/) },
    });
    const brought = await crayon([...blend, '--blend-on-server', '--pool-key-env', 'POOL_KEY'], env);
    expect(brought.stderr).toBe('');
    expect(brought).toMatchObject({ code: 0, stdout: expect.stringMatching(/Adapter written/) });
    server.process.kill('SIGTERM');
    const { code, stderr } = await server.ended;
    expect(code).toBe(0);
    expect(stderr).not.toMatch(/secret-of-the-fleet/);
  });

  it('needs a pool, and a key where others reach it', async () => {
    expect(await refusal(['serve-pool'])).toMatchObject({ code: 'bad-option', exit: 2 });
    const open = ['serve-pool', '--pool', POOL, '--host', '0.0.0.0', '--cache-dir', temporaryDir()];
    expect(await refusal(open)).toMatchObject({ code: 'config-invalid', message: expect.stringMatching(/API key/) });
  });
});
