import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadPoolServerConfig } from '../../../src/serve/blends/config.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';

describe('the configuration of serve-pool', () => {
  it('starts relative paths at its file, and lets flags override', () => {
    const path = join(temporaryDir(), 'pool-server.yaml');
    writeFileSync(path, 'pool: pools/demo\nstep: 0.05\ncache_mib: 10\nlimits: {queue: 3}\n');
    const config = loadPoolServerConfig(path, { port: 0, limits: { workers: 2 } });
    expect(config).toMatchObject({
      pool: join(path, '..', 'pools', 'demo'),
      step: 0.05,
      port: 0,
      cacheBytes: 10 * 2 ** 20,
      memoryBytes: Number.POSITIVE_INFINITY,
      limits: { queue: 3, workers: 2, requestMs: 600_000 },
    });
    writeFileSync(path, 'pool: https://example.org/demo\n');
    expect(loadPoolServerConfig(path).pool).toBe('https://example.org/demo');
  });

  it.each([
    [{}, /pool is missing/],
    [{ pool: 'p', step: 0.03 }, /step is 0.03, expected 1 divided by a whole number/],
    [{ pool: 'p', step: 1 }, /step/],
    [{ pool: 'p', limits: { workers: 0 } }, /limits.workers/],
    [{ pool: 'p', api_key_env: 'my secret key' }, /api_key_env is not the name/],
  ])('refuses %j', (given, message) => {
    const error = errorOf(() => loadPoolServerConfig(null, given));
    expect(error).toMatchObject({ code: 'config-invalid', message: expect.stringMatching(message) });
    expect(error.message).not.toContain('secret');
  });
});
