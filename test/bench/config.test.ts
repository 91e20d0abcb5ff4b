/** The configuration: defaults, and every bad or unknown key by name. */

import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { planCells } from '../../src/bench/cells.js';
import { benchConfig, loadBenchConfig } from '../../src/bench/config.js';
import { findBenchPath } from '../../src/bench/settings.js';
import { STRATEGIES, strategyTitle } from '../../src/bench/strategies/index.js';
import { planUsers } from '../../src/bench/users.js';
import { shippedPath } from '../../src/files/package.js';
import { LEAST_BENCH } from '../helpers/bench-setup.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

const problemOf = (change: object) => {
  const error = errorOf(() => benchConfig({ ...LEAST_BENCH, ...change }, 'bench.yaml'));
  expect(error.code).toBe('config-invalid');
  return error.message;
};

describe('benchConfig', () => {
  it('fills in defaults', () => {
    expect(benchConfig(LEAST_BENCH, 'bench.yaml')).toEqual({
      ...LEAST_BENCH,
      seed: 0,
      shown_split: 'heldout',
      test_split: 'test',
      test_examples: 100,
      latency_examples: 5,
      batch_size: 32,
      max_tokens: 24,
      pool: {
        data: ['train.yaml'],
        clusters: 8,
        embedding: 'first-attention',
        centred: true,
        tau: 0.1,
        mode: 'joint',
        rank: 4,
        lora_alpha: 8,
        epochs: 2,
        batch_size: 8,
        learning_rate: 0.0025,
        seed: 0,
      },
      users: [{ ...LEAST_BENCH.users[0], k: 10, seeds: [0] }],
      random: { seeds: 3 },
      one_lora: {},
      one_lora_total: {},
      few_shot: { steps: 100, batch_size: 8, learning_rate: 0.005 },
      lora_from_blend: { steps: 60, batch_size: 8, pull: 5 },
      held_out: { split: 'train', examples: 20 },
      wrong_user: { alike: [] },
      lorahub: { evaluations: 40, bound: 1.5, l1: 0.05 },
      ablation: null,
      server: null,
    });
  });

  it.each([
    [{ strategys: [] }, 'strategys is not a known key, did you mean strategies?'],
    [{ pool: { data: ['a'], temperature: 1 } }, 'pool.temperature is not a known key'],
    [{ users: [{ name: 'u', kind: 'seen', tasks: ['t'], shots: 5 }] }, 'users[0].shots is not a known key'],
    [{ users: [{ name: 'u', kind: 'seen', tasks: ['t'], k: 2 }] }, 'users[0].k is 2, expected 3 to 50'],
    [{ users: [{ name: 'u', kind: 'odd', tasks: ['t'] }] }, 'users[0].kind is "odd"'],
    [{ users: [{ name: '../u', kind: 'seen', tasks: ['t'] }] }, 'users[0].name is "../u"'],
    [{ users: [{ name: 'u', kind: 'mixture', tasks: ['t'] }] }, 'u is a mixture of one task'],
    [{ users: [{ name: 'u', kind: 'seen', tasks: ['t', 's'] }] }, 'u has 2 tasks, so its kind is mixture'],
    [{ users: [LEAST_BENCH.users[0], LEAST_BENCH.users[0]] }, 'users has "u" twice'],
    [{ users: [] }, 'users is [], expected at least one'],
    [{ strategies: ['crayons'] }, 'strategies[0] is "crayons"'],
    [{ strategies: ['base', 'base'] }, 'strategies has "base" twice'],
    [{ strategies: ['server'] }, 'there is no server'],
    [{ pool: { data: ['a'], dir: 'p' }, ablation: { tau: [1] } }, 'ablation of tau builds pools of its own'],
    [
      { pool: { data: ['a'], dir: 'p' }, ablation: { training: ['8@0.1'], epochs: [1] } },
      'ablation of training, epochs',
    ],
    [{ pool: { data: ['a'], dir: 'p' }, ablation: { separate: ['8'] } }, 'ablation of separate builds pools'],
    [{ seeds: [] }, 'seeds is [], expected at least one'],
    [{ seeds: [1, 1] }, 'seeds has 1 twice'],
    [{ seeds: [0, 1], pool: { data: ['a'], dir: 'p' } }, 'pool.dir is one pool for several seeds, expected {seed}'],
    [{ seeds: [1], users: [{ ...LEAST_BENCH.users[0], seeds: [1000] }] }, 'u: seeds are below 1000'],
    [{ ablation: { embedding: ['tfidf+'] } }, 'ablation.embedding[0] is "tfidf+"'],
    [{ ablation: { combine: ['svd'] } }, 'ablation.combine[0] is "svd", expected svd:<rank> or linear'],
    [{ one_lora: { learning_rates: [0.1, 0.1] } }, 'one_lora: learning_rates has 0.1 twice'],
    [
      { one_lora_total: { learning_rate: 0.1, learning_rates: [0.2] } },
      'one_lora_total has learning_rate and learning_',
    ],
    [{ pool: { data: ['a'], learning_rate: 0.1, learning_rates: [0.2] } }, 'pool has learning_rate and learning_rates'],
    [{ pool: { data: ['a'], learning_rates: [0.2, 0.2] } }, 'pool: learning_rates has 0.2 twice'],
    [{ pool: { data: ['a'], dir: 'p', learning_rates: [0.2] } }, 'pool.learning_rates builds pools, but pool.dir'],
    [{ server: 'models/big' }, 'server is "models/big", expected an object'],
    [{ pool: undefined }, 'pool is missing, expected an object'],
  ])('refuses %j', (change, problem) => {
    expect(problemOf(change)).toContain(problem);
  });

  it('names the line of what is wrong', () => {
    const path = join(temporaryDir(), 'bench.yaml');
    writeFileSync(
      path,
      stringify({ ...LEAST_BENCH, users: [{ ...LEAST_BENCH.users[0], k: 2 }, LEAST_BENCH.users[0]], seed: 0 }),
    );
    expect(errorOf(() => loadBenchConfig(path)).message).toMatch(/users\[0\]\.k is 2.* \(line 11\)/);
    writeFileSync(path, stringify({ ...LEAST_BENCH, strategies: ['base', 'server'] }));
    expect(errorOf(() => loadBenchConfig(path)).message).toMatch(/there is no server.* \(line 11\)/);
  });

  it('names all problems at once', () => {
    const message = problemOf({ seed: -1, model: '', test_examples: 'many' });
    for (const key of ['seed', 'model', 'test_examples']) expect(message).toContain(key);
  });

  // load.yaml is another command's (test/bench/load/config.test.ts), the others that are left out are data sets
  const isBench = /^(?!load|real-(train|held-out)).*\.yaml$/;
  const shipped = readdirSync(shippedPath('configs', 'bench')).filter((name) => isBench.test(name));
  it.each(shipped)('the shipped %s is valid, names what exists, and has its users', (name) => {
    const config = loadBenchConfig(shippedPath('configs', 'bench', name));
    const users = planUsers(config);
    const names = new Set(users.map(({ info }) => info.name));
    const fewer: Record<string, number> = {
      'ablation.yaml': 6,
      'agreement.yaml': 9,
      'levers-dense.yaml': 7,
      'joint.yaml': 8,
      'training.yaml': 8,
      'real-gemma.yaml': 12,
      'real-gemma-shown.yaml': 4,
      'residual.yaml': 9,
      'residual-plain.yaml': 9,
      'ablation-quick.yaml': 6,
      'conditions.yaml': 2,
    };
    expect(names.size).toBeGreaterThanOrEqual(fewer[name] ?? 10);
    const isReal = name.startsWith('real'); // a base that is not shipped
    const paths = [
      ...(isReal ? [] : [config.model]),
      ...config.pool.data,
      ...(config.held_out.data ?? []),
      ...config.users.flatMap((user) => user.tasks),
    ];
    for (const path of paths) expect(findBenchPath(path)).toContain(path);
    const keys = planCells(config, users).map((cell) => cell.key);
    expect(new Set(keys).size).toBe(keys.length);
    for (const key of keys) expect(key).toMatch(/^[A-Za-z0-9][A-Za-z0-9._=+-]+$/);
  });
});

it('every strategy has a title in the report', () => {
  for (const { name } of STRATEGIES) expect(strategyTitle(name)).not.toBe(name);
});

describe('planCells', () => {
  const plan = (change: object) => {
    const config = benchConfig({ ...LEAST_BENCH, ...change }, 'bench.yaml');
    return planCells(config, planUsers(config));
  };

  it('has one cell a strategy, and one a draw of random', () => {
    const cells = plan({ strategies: ['base', 'random', 'crayon'], random: { seeds: 2 } });
    expect(cells.map(({ key, seed }) => [key, seed])).toEqual([
      ['u--base', 0],
      ['u--random--draw=0', 0],
      ['u--random--draw=1', 1],
      ['u--crayon', 0],
    ]);
  });

  it('varies one option at a time, leaves out what is the default, and gives the gate no blend', () => {
    const ablation = { strategies: ['crayon', 'per-query'], tau: [0.1, 0.2], top_k: [2], combine: ['svd:8'] };
    const cells = plan({ ablation }).filter((cell) => cell.table === 'ablation');
    expect(cells.map(({ key, options, blend, pool }) => ({ key, options, blend, tau: pool.tau }))).toEqual([
      { key: 'u--crayon--tau=0.2', options: { tau: 0.2 }, blend: {}, tau: 0.2 },
      { key: 'u--per-query--tau=0.2', options: { tau: 0.2 }, blend: {}, tau: 0.2 },
      { key: 'u--crayon--top_k=2', options: { top_k: 2 }, blend: { topK: 2 }, tau: 0.1 },
      { key: 'u--per-query--top_k=2', options: { top_k: 2 }, blend: { topK: 2 }, tau: 0.1 },
      { key: 'u--crayon--combine=svd_8', options: { combine: 'svd:8' }, blend: { combine: 'svd', rank: 8 }, tau: 0.1 },
    ]);
  });

  it('varies what makes coefficients of similarities', () => {
    const ablation = {
      strategies: ['crayon', 'per-query'],
      estimator: ['mean-gate'],
      lambda: [2],
      standard_tau: [0.5],
    };
    const cells = plan({ ablation }).filter((cell) => cell.table === 'ablation');
    expect(cells.map(({ key, blend }) => [key, blend])).toEqual([
      ['u--crayon--estimator=mean-gate', { estimator: 'mean-gate' }],
      ['u--crayon--lambda=2', { estimator: 'label-evidence', lambda: 2 }],
      ['u--crayon--standard_tau=0.5', { standardise: true, tau: 0.5 }],
      ['u--per-query--standard_tau=0.5', { standardise: true, tau: 0.5 }],
    ]);
  });

  it('varies the training of a LoRA from the blend', () => {
    const ablation = { strategies: ['crayon', 'per-query'], lora_from_blend: ['20@0.005', '60@1e-3:2.5', '5@.01:0'] };
    const cells = plan({ ablation }).filter((cell) => cell.table === 'ablation');
    expect(cells.map(({ strategy, blend }) => [strategy, blend.loraFromBlend])).toEqual([
      ['crayon', { steps: 20, learningRate: 0.005 }],
      ['crayon', { steps: 60, learningRate: 1e-3, pull: 2.5 }],
      ['crayon', { steps: 5, learningRate: 0.01, pull: 0 }],
    ]);
    for (const bad of ['20', '0@0.1', '5@', '5@0.1:', '5@0.1:x']) {
      expect(() => plan({ ablation: { lora_from_blend: [bad] } })).toThrow('<steps>@<learning rate>');
    }
  });

  it('varies batches and rates together', () => {
    const cells = plan({ ablation: { training: ['16@0.005', '8@2.5e-3'] } }).filter(
      (cell) => cell.table === 'ablation',
    );
    expect(cells.map(({ pool: { batch_size, learning_rate } }) => [batch_size, learning_rate])).toEqual([[16, 0.005]]);
    for (const bad of ['8', '0@0.1', '8@', '8@0.1@2']) {
      expect(() => plan({ ablation: { training: [bad] } })).toThrow('<batch size>@<learning rate>');
    }
  });

  it('varies trainings of each adapter by itself, and the joint phase behind them', () => {
    const separate = ['5', '5+0.25', '32+1@1e-3'];
    const cells = plan({ ablation: { separate } }).filter((cell) => cell.table === 'ablation');
    const { batch_size } = cells[0]!.pool;
    expect(batch_size).toBe(5);
    expect(cells.map(({ pool: { mode, batch_size, joint } }) => [mode, batch_size, joint])).toEqual([
      ['separate', 5, undefined],
      ['separate', 5, { fraction: 0.25, batch_size: 8 }],
      ['separate', 32, { fraction: 1, learning_rate: 1e-3, batch_size: 8 }],
    ]);
    for (const bad of ['0', '+0.25', '5+', '5+0.25@', '5@0.1']) {
      expect(() => plan({ ablation: { separate: [bad] } })).toThrow('<batch size>, +<fraction>');
    }
  });

  it('plays a user once for each number of examples and each seed, under one name', () => {
    const users = [{ name: 'u', kind: 'seen', tasks: ['a/t.yaml'], k: [3, 5], seeds: [1, 2] }];
    const cells = plan({ users, strategies: ['crayon'] });
    expect(cells.map(({ key, user }) => [key, user.info.name, user.info.k, user.seed])).toEqual([
      ['u--k3--s1--crayon', 'u', 3, 1],
      ['u--k3--s2--crayon', 'u', 3, 2],
      ['u--k5--s1--crayon', 'u', 5, 1],
      ['u--k5--s2--crayon', 'u', 5, 2],
    ]);
    expect(cells[0]!.user.info.tasks).toEqual(['t']);
  });

  it('runs what does not look at the examples for the first seed alone', () => {
    const users = [{ name: 'u', kind: 'seen', tasks: ['t.yaml'], seeds: [4, 5] }];
    const cells = plan({ users, strategies: ['base', 'crayon', 'per-query'], ablation: { tau: [1] } });
    const keys = ['u--s4--base', 'u--s4--crayon', 'u--s4--per-query', 'u--s4--crayon--tau=1'];
    expect(cells.map(({ key }) => key)).toEqual([...keys, 'u--s5--crayon', 'u--s5--crayon--tau=1']);
  });

  it('has centring in the name of an embedding', () => {
    const cells = plan({ ablation: { embedding: ['tfidf', 'last-hidden+centred', 'first-attention+centred'] } });
    const found = cells.slice(1).map(({ key, pool }) => [key, pool.embedding, pool.centred]);
    expect(found).toEqual([
      ['u--crayon--embedding=tfidf', 'tfidf', false],
      ['u--crayon--embedding=last-hidden+centred', 'last-hidden', true],
    ]); // the third is the default
  });
});
