/** Configurations in YAML: the server's, bench's, traffic; and calibrated thresholds written into one. */

import { join } from 'node:path';
import { loadBenchConfig } from '../../../src/bench/config.js';
import { readTrafficConfig } from '../../../src/bench/load/config.js';
import { planUsers } from '../../../src/bench/users.js';
import { loadEdgeConfig } from '../../../src/serve/config.js';
import { writeThresholds } from '../../../src/serve/config-thresholds.js';
import { clientKey, serverKey } from '../../../src/serve/keys.js';
import { Finding, type Target } from '../target.js';
import { filesOf, repository } from './seeds.js';

const yamls = (...parts: string[]) => [...filesOf(repository(...parts), (name) => name.endsWith('.yaml')).values()];
const keys = (name: string) =>
  [
    ...[...filesOf(repository('configs', 'schema'), (file) => file === `${name}.json`).values()][0]!
      .toString()
      .matchAll(/"([a-z_]{2,30})":/g),
  ].map((match) => match[1]!);

export const edgeConfig: Target = {
  name: 'edge-config',
  reads: "serve-edge's YAML; thresholds written into it, and read again",
  writes: true,
  seeds: () =>
    [...filesOf(repository('configs'), (name) => /^edge.*yaml$/.test(name)).values()].map(
      (content) => new Map([['edge.yaml', content]]),
    ),
  words: keys('edge'),
  run(dir) {
    const path = join(dir, 'edge.yaml');
    const config = loadEdgeConfig(path);
    clientKey({ ...config, apiKeyFile: null }, {});
    const out = join(dir, 'calibrated.yaml');
    writeThresholds(path, out, { thresholds: { confidence: -1.5 }, weights: null, remarks: ['a'], force: false });
    const again = loadEdgeConfig(out);
    if (JSON.stringify(again.limits) !== JSON.stringify(config.limits))
      throw new Finding('different', 'limits are others in the calibrated copy');
    if (again.routing.thresholds.confidence !== -1.5)
      throw new Finding('different', `the threshold written is read as ${again.routing.thresholds.confidence}`);
    if (config.server !== null) serverKey(config.server, {});
    return config.routing.mode;
  },
};

export const benchConfig: Target = {
  name: 'bench-config',
  reads: "bench's YAML and bench load's, to the list of users",
  seeds: () =>
    [...yamls('configs', 'bench'), ...yamls('configs', 'real')]
      .filter((content) => !/^(group|task):/m.test(content.toString()))
      .map((content) => new Map([['bench.yaml', content]])),
  words: [...keys('bench'), ...keys('load')],
  run(dir, given) {
    const path = join(dir, 'bench.yaml');
    if (/^target:/m.test(given.get('bench.yaml')?.toString() ?? ''))
      return `load ${readTrafficConfig(path, { target: {}, load: {} }).target.url}`;
    const config = loadBenchConfig(path);
    return `${Math.min(9, planUsers(config).length)}`;
  },
};
