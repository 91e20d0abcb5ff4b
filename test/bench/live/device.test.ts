import { describe, expect, it } from 'vitest';
import { benchConfig } from '../../../src/bench/config.js';
import { DEVICES, deviceOf, deviceSettings, withConditions } from '../../../src/bench/live/device.js';
import { errorOf } from '../../helpers/files.js';

describe('deviceOf', () => {
  it('knows its classes, from large to small', () => {
    const limits = ['laptop', 'phone', 'board'].map((name) => deviceOf(name).memory_mib!);
    expect(limits).toEqual([...limits].sort((a, b) => b - a));
    expect(deviceOf('board')).toEqual(DEVICES.board);
  });
  it("takes the configuration's own, what is missing being the default's", () => {
    expect(deviceOf('mine', { mine: { threads: 3, memory_mib: 100, gguf: 'a.gguf' } })).toEqual({
      threads: 3,
      type: 'F16',
      gguf: 'a.gguf',
      memory_mib: 100,
    });
    expect(deviceOf('phone', { phone: { type: 'F32' } })).toEqual({ ...DEVICES.default, type: 'F32' });
  });
  it('refuses others by name', () => {
    expect(() => deviceOf('toaster', { mine: {} })).toThrow(/toaster.*default, laptop, phone, board, mine/);
    expect(() => deviceOf('toString')).toThrow();
  });
});

describe('deviceSettings', () => {
  it('are keys of the device server', () => {
    expect(deviceSettings(deviceOf('board'), 'base', 4096)).toEqual({
      model: 'base',
      engine: { threads: 1, type: 'Q8_0', context: 512 },
    });
    expect(deviceSettings(deviceOf('x', { x: { gguf: 'q4.gguf' } }), 'base', 4096)).toEqual({
      model: 'q4.gguf',
      engine: { threads: 'auto', type: 'F16' },
    });
  });
  it('have no more context than the base was made for', () => {
    expect(deviceSettings(deviceOf('laptop'), 'base', 512).engine).toMatchObject({ context: 512 });
  });
});

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
