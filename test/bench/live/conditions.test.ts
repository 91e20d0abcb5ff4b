import { describe, expect, it } from 'vitest';
import { benchConfig } from '../../../src/bench/config.js';
import { withConditions } from '../../../src/bench/live/conditions.js';
import { errorOf } from '../../helpers/files.js';

const config = (over: object = {}) =>
  benchConfig(
    {
      name: 'x',
      model: 'm',
      pool: { data: ['a.yaml'] },
      strategies: ['base'],
      server: { model: 'big' },
      users: [{ name: 'one', kind: 'seen', tasks: ['a.yaml'] }],
      ...over,
    },
    'x.yaml',
  );

describe('withConditions', () => {
  it('leaves a configuration as it is without flags', () => {
    const plain = config({ live: {} });
    expect(withConditions(plain, {})).toBe(plain);
  });
  it('lays networks and devices over both sections', () => {
    const merged = withConditions(config({ live: {}, load: {} }), { network: ['4g'], device: ['phone'] });
    expect(merged.live!.conditions).toEqual({ networks: ['4g'], devices: ['phone'], users: null });
    expect(merged.load).toMatchObject({ networks: ['4g'], devices: ['phone'] });
  });
  it('keeps what is not named', () => {
    const own = { networks: ['wifi'], devices: ['board'], users: ['one'] };
    const merged = withConditions(config({ live: { conditions: own } }), { network: ['3g', 'offline'] });
    expect(merged.live!.conditions).toEqual({ ...own, networks: ['3g', 'offline'] });
    expect('load' in merged).toBe(false);
  });
  it('takes all networks and classes for --conditions, and leaves load', () => {
    const merged = withConditions(config({ live: {}, load: {}, devices: { mine: {} } }), { conditions: true });
    expect(merged.live!.conditions!.networks).toEqual(['loopback', 'lan', 'wifi', '4g', '3g', 'offline']);
    expect(merged.live!.conditions!.devices).toEqual(['default', 'laptop', 'phone', 'board', 'mine']);
    expect(merged.load).toMatchObject({ networks: ['loopback'], devices: ['default'] });
  });
  it('refuses unknown names, and runs without servers', () => {
    expect(errorOf(() => withConditions(config({ live: {} }), { network: ['5g'] })).code).toBe('bad-option');
    expect(errorOf(() => withConditions(config({ live: {} }), { device: ['toaster'] })).code).toBe('config-invalid');
    expect(errorOf(() => withConditions(config(), { conditions: true })).code).toBe('bad-option');
    const misspelt = config({ live: { conditions: { devices: ['fone'] } } });
    expect(errorOf(() => withConditions(misspelt, {})).code).toBe('config-invalid');
  });
});
