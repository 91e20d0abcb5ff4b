import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { benchConfig, loadBenchConfig } from '../../../src/bench/config.js';
import { readTrafficConfig } from '../../../src/bench/load/config.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';
import { ROOT } from '../../helpers/fixtures.js';

const NO_FLAGS = { target: {}, load: {} };

function file(text: string): string {
  const path = join(temporaryDir(), 'load.yaml');
  writeFileSync(path, text);
  return path;
}

describe('readTrafficConfig', () => {
  it('reads the shipped configuration', () => {
    const { target, load } = readTrafficConfig(join(ROOT, 'configs', 'bench', 'load.yaml'), NO_FLAGS);
    expect(target).toMatchObject({ url: 'http://127.0.0.1:8080/v1', split: 'test' });
    expect(load).toMatchObject({ clients: [1, 4], rates: [2, 8], goodput: { ttft: 300 }, mode: null });
  });
  it('lays flags over the file, and needs no file', () => {
    const path = file('target: { data: [a.jsonl], model: m }\nload: { clients: [3], rates: [.inf] }');
    const flags = { target: { model: 'other', url: undefined }, load: { requests: null, seconds: 2 } };
    const { target, load } = readTrafficConfig(path, flags);
    expect(target).toEqual({ data: ['a.jsonl'], model: 'other' });
    expect(load).toMatchObject({
      clients: [3],
      rates: [Number.POSITIVE_INFINITY],
      requests: null,
      seconds: 2,
      warmup: 5,
    });
    expect(readTrafficConfig(null, NO_FLAGS)).toMatchObject({
      target: { data: [] },
      load: { clients: [1, 4], rates: [] },
    });
  });
  it.each([
    ['load: { clients: [0] }', /load\.clients\[0\]/],
    ['load: { rates: [-1] }', /load\.rates\[0\]/],
    ['load: { goodput: { itl: 3 } }', /load\.goodput/],
    ['load: { burst: 3 }', /burst/],
    ['target: { url: ftp://x, data: [] }', /target\.url/],
    ['target: 3', /target/],
    ['load: { requests: null }', /neither requests nor seconds/],
    ['- 1', /top level/],
  ])('refuses %s', (text, words) => {
    const error = errorOf(() => readTrafficConfig(file(text), NO_FLAGS));
    expect(error.code).toBe('config-invalid');
    expect(error.message).toMatch(words);
  });
});

describe('the live and load sections of a bench configuration', () => {
  const base = {
    name: 'x',
    model: 'm',
    pool: { data: ['a.yaml'] },
    strategies: ['base'],
    server: { model: 'big' },
    users: [{ name: 'one', kind: 'seen', tasks: ['a.yaml'] }],
  };

  it('are read from the shipped hybrid.yaml', () => {
    const { live, load, devices } = loadBenchConfig(join(ROOT, 'configs', 'bench', 'hybrid.yaml'));
    expect(live).toMatchObject({ share: 0.2, endpoint: null, conditions: { users: ['clinic', 'sentiment'] } });
    expect(load).toMatchObject({ networks: ['loopback', '4g'] });
    expect(devices).toHaveProperty('q8-one-core');
  });
  it('are absent where they are not asked for, so that earlier runs go on', () => {
    const config = benchConfig(base, 'x.yaml');
    expect('live' in config || 'load' in config || 'devices' in config).toBe(false);
  });
  it('have their defaults filled in', () => {
    const { live, load } = benchConfig({ ...base, live: { conditions: {} }, load: {} }, 'x.yaml');
    expect(live).toMatchObject({
      share: 0.2,
      users: null,
      match: 'exact',
      form: 'chat',
      confidence: { measure: 'mean-logprob', tokens: null },
      conditions: { networks: ['loopback'], devices: ['default'], users: null },
    });
    expect(load).toMatchObject({ clients: [1, 4], requests: 100, devices: ['default'] });
  });
  it.each([
    [{ live: { share: 1 } }, /live\.share/],
    [{ live: { users: ['two'] } }, /live\.users has two/],
    [{ live: { conditions: { users: ['two'] } } }, /live\.conditions\.users has two/],
    [{ live: { conditions: { networks: ['5g'] } } }, /live\.conditions\.networks\[0\]/],
    [{ live: {}, server: null }, /need a server LLM/],
    [{ load: {}, server: null }, /need a server LLM/],
    [{ load: { requests: null } }, /neither requests nor seconds/],
    [{ live: { endpoint: { base_url: 'http://x/v1' } } }, /live\.endpoint\.model/],
    [{ devices: { mine: { ram: 3 } } }, /devices\.mine/],
  ])('refuses %j', (change, words) => {
    const error = errorOf(() => benchConfig({ ...base, ...change }, 'x.yaml'));
    expect(error.code).toBe('config-invalid');
    expect(error.message).toMatch(words);
  });
  it('need no larger model with an endpoint', () => {
    const live = { endpoint: { base_url: 'http://x/v1', model: 'big' } };
    expect(benchConfig({ ...base, server: null, live }, 'x.yaml').live!.endpoint).toMatchObject({ api_key_env: null });
  });
});
