/** Made-up bench runs of known answers, for the report: in memory, and as a run directory. */

import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { summariseLatency } from '../../src/bench/latency.js';
import type {
  AnswerRecord,
  Cell,
  ClusterMap,
  LoadCell,
  RunManifest,
  UserInfo,
  UserKind,
} from '../../src/bench/types.js';
import { createRandom } from '../../src/core/random.js';
import { mean, standardError } from '../../src/core/stats.js';

export interface RunContents {
  manifest: RunManifest;
  cells: Array<{ cell: Cell; answers: AnswerRecord[] }>;
  load: LoadCell[];
}

export function user(name: string, kind: UserKind = 'seen', tasks = [name], k = 5): UserInfo {
  return { name, kind, tasks, k };
}

/** One answer to example `i` of a task; what is not given does not matter to the test. */
export function answer(task: string, i: number, correct: 0 | 1, rest: Partial<AnswerRecord> = {}): AnswerRecord {
  const id = `${task}:${i}`;
  return {
    id,
    promptHash: createHash('sha256').update(id).digest('hex'),
    answer: ' yes',
    correct,
    loss: correct ? 0.5 : 1.5,
    source: 'on_device',
    reason: 'mode',
    latencyMs: 10 + i,
    ...rest,
  };
}

/** A cell whose summary follows from its answers. */
export function cell(
  who: UserInfo,
  strategy: string,
  answers: AnswerRecord[],
  rest: Partial<Cell> = {},
): RunContents['cells'][number] {
  const correct = answers.map((a) => a.correct);
  const losses = answers.map((a) => a.loss ?? Number.NaN);
  const seed = rest.seed ?? 0;
  const key =
    rest.key ??
    [who.name, who.k, strategy, seed, ...Object.entries(rest.options ?? {}).flat()].join('-').replace(/[^\w.-]/g, '_');
  return {
    answers,
    cell: {
      key,
      user: who,
      strategy,
      table: 'strategies',
      options: {},
      seed,
      method: 'loglikelihood',
      examples: answers.length,
      accuracy: mean(correct),
      accuracyStderr: standardError(correct),
      accuracyNorm: null,
      loss: mean(losses),
      customisationMs: 0,
      bytesToServer: 0,
      adapterBytes: 0,
      adapterParameters: 0,
      serverShare: mean(answers.map((a) => (a.source === 'in_cloud' ? 1 : 0))),
      costPer1000: null,
      latencyMs: summariseLatency(answers.map((a) => a.latencyMs)),
      ...rest,
    },
  };
}

export function manifest(rest: Partial<RunManifest> = {}): RunManifest {
  return {
    format: 'crayon-bench',
    version: 1,
    createdBy: 'crayon 0.1.0',
    machine: 'made-up processor, 2 threads, 4 GB, Node 20, node back end',
    commit: '0123456789abcdef',
    seed: 7,
    started: '2026-01-02T03:04:05.000Z',
    finished: '2026-01-02T03:10:05.000Z',
    config: { name: 'made-up' },
    base: { name: 'models/edge', parameters: 2_800_000, digest: 'a'.repeat(64) },
    server: { name: 'models/server', baseUrl: '' },
    pool: { N: 3, r: 4, embedding: 'tfidf', centred: false, tau: 0.1, parameters: 123_456 },
    clusters: null,
    plannedCells: 0,
    ...rest,
  };
}

export function run(cells: RunContents['cells'], rest: Partial<RunManifest> = {}, load: LoadCell[] = []): RunContents {
  return { manifest: manifest({ plannedCells: cells.length, ...rest }), cells, load };
}

/** Writes a run directory as the runner does. */
export function writeRun(dir: string, contents: RunContents): string {
  for (const folder of ['cells', 'answers', 'load']) mkdirSync(join(dir, folder), { recursive: true });
  const json = (path: string, value: unknown) => writeFileSync(join(dir, path), `${JSON.stringify(value, null, 2)}\n`);
  json('run.json', contents.manifest);
  for (const { cell: own, answers } of contents.cells) {
    json(`cells/${own.key}.json`, own);
    writeFileSync(join(dir, 'answers', `${own.key}.jsonl`), answers.map((a) => `${JSON.stringify(a)}\n`).join(''));
  }
  for (const own of contents.load) json(`load/${own.key}.json`, own);
  return dir;
}

/**
 * Two users of four examples each, strategies whose every number can be worked out in the head:
 *
 *              one        two       mean
 *     base     1 0 0 0    0 0 0 0   12.5
 *     one-lora 1 1 0 0    1 0 0 0   37.5
 *     lorahub  1 0 0 1    1 1 0 0   50.0
 *     crayon   1 1 1 0    1 1 0 0   62.5   confidence 4 3 2 1 / 8 7 6 5
 *     server   1 1 1 1    1 1 1 0   87.5
 */
export function smallRun(): RunContents {
  const users = [user('one', 'seen'), user('two', 'unseen-kind')];
  const answers: Record<string, [string, string]> = {
    base: ['1000', '0000'],
    'one-lora': ['1100', '1000'],
    lorahub: ['1001', '1100'],
    crayon: ['1110', '1100'],
    server: ['1111', '1110'],
  };
  const cells = Object.entries(answers).flatMap(([strategy, bits]) =>
    users.map((who, u) => {
      const records = [...bits[u]!].map((bit, i) =>
        answer(who.name, i, bit === '1' ? 1 : 0, {
          source: strategy === 'server' ? 'in_cloud' : 'on_device',
          ...(strategy === 'crayon' ? { confidence: 4 * (u + 1) - i } : {}),
        }),
      );
      return cell(who, strategy, records, strategy === 'crayon' ? { coefficients: [0.7, 0.2, 0.1] } : {});
    }),
  );
  return run(cells);
}

/** Names that would do harm wherever they are not escaped. */
export const HOSTILE = {
  script: '<script>alert(1)</script>',
  attribute: '"><img src=x onerror=alert(1)>',
  table: 'a|b`c`\n| d | [x](javascript:alert(1)) *e*',
  terminal: '\u001b[2J\u001b[31mred\u0007',
  direction: '\u202Egnp.exe',
  long: 'x'.repeat(400),
};

const DEMO_TASKS = [
  ...['route-bank', 'route-farm', 'route-city', 'intent', 'dates', 'units'],
  ...['topic-arts', 'topic-sport', 'spelling', 'plural', 'route-clinic', 'tone'],
];

/** Skill of each strategy for a seen task, a seen kind, an unseen kind and a mixture: share of right answers. */
const DEMO_SKILL: Record<string, [number, number, number, number]> = {
  base: [0.2, 0.17, 0.16, 0.18],
  'in-context': [0.29, 0.26, 0.24, 0.25],
  uniform: [0.25, 0.37, 0.22, 0.3],
  random: [0.27, 0.3, 0.2, 0.26],
  nearest: [0.84, 0.66, 0.3, 0.5],
  'one-lora': [0.47, 0.42, 0.29, 0.55],
  'one-lora-total': [0.52, 0.45, 0.31, 0.6],
  'few-shot-lora': [0.35, 0.33, 0.34, 0.3],
  lorahub: [0.66, 0.54, 0.33, 0.45],
  crayon: [0.85, 0.72, 0.36, 0.58],
  'per-query': [0.88, 0.74, 0.37, 0.86],
  server: [0.93, 0.9, 0.82, 0.91],
};
const DEMO_KINDS: UserKind[] = ['seen', 'seen-kind', 'unseen-kind', 'mixture'];

/** A demo run at several seeds, which differ by a point or two; each has tests of its own, and pools whose losses fell. */
export function demoSeedsRun({ examples = 60, seeds = [0, 1, 2] } = {}): RunContents {
  const runs = seeds.map((runSeed) => {
    const random = createRandom(runSeed, 'demo of a seed');
    const contents = demoRun({ examples, seed: runSeed + 1, luck: 0.03 * random.normal(), first: 1000 * runSeed });
    const cells = contents.cells.map(({ cell: one, answers }) => {
      const seed = one.seed + 1000 * runSeed;
      return { answers, cell: { ...one, key: `seed=${runSeed}-${one.key}`, seed, runSeed } };
    });
    const curves = ['pool', 'one-lora', 'one-lora-total'].map((pool, p) => ({
      seed: runSeed,
      pool,
      points: Array.from({ length: 100 }, (_, i): [number, number] => [
        3 * i + 2,
        Math.max(0.01, 0.5 + 0.1 * p + 2.6 * Math.exp(-i / 18) + 0.12 * random.normal()),
      ]),
    }));
    return { contents, cells, curves };
  });
  const { manifest: of, load } = runs[0]!.contents;
  const cells = runs.flatMap((one) => one.cells);
  return run(cells, { ...of, plannedCells: cells.length, curves: runs.flatMap(({ curves }) => curves) }, load);
}

/**
 * A run as large as a real one and of the same shape, drawn from a seed; nothing in it was measured.
 *
 * @param luck added to every strategy's skill but the base model's
 * @param first number of the first example of each test
 */
export function demoRun({ examples = 60, seed = 1, luck = 0, first = 0 } = {}): RunContents {
  const random = createRandom(seed, 'demo');
  const N = 6;
  const users: UserInfo[] = DEMO_TASKS.map((task, i) => {
    const kind = DEMO_KINDS[i % 4]!;
    const tasks = kind === 'mixture' ? [task, DEMO_TASKS[(i + 3) % DEMO_TASKS.length]!] : [task];
    return user(tasks.join('+'), kind, tasks, 10);
  });
  const cells: RunContents['cells'] = [];
  const add = (who: UserInfo, strategy: string, skill: number, rest: Partial<Cell> = {}) => {
    const isServer = strategy === 'server';
    const slow = isServer ? 160 : strategy === 'in-context' ? 70 : strategy === 'per-query' ? 24 : 18;
    const records = Array.from({ length: examples }, (_, i) => {
      // An example is as hard for every strategy, so that their answers agree as those of real models do.
      const hardness = createRandom(seed, `${who.name}:${i}`).uniform();
      const lucky = strategy === 'base' ? 0 : luck;
      const correct = hardness < skill + lucky + 0.12 * random.normal() ? 1 : 0;
      const signals = isServer
        ? {}
        : {
            confidence: -hardness * 1.6 + 0.5 * (correct - 0.5) + 0.35 * random.normal(),
            scope: 100 * Math.min(1, Math.max(0, 0.6 + 0.25 * random.normal() - 0.2 * hardness)),
          };
      return answer(who.tasks[0]!, first + i, correct, {
        promptHash: createHash('sha256')
          .update(`${who.name}:${first + i}`)
          .digest('hex'),
        latencyMs: slow * Math.exp(0.35 * random.normal()),
        source: isServer ? 'in_cloud' : 'on_device',
        loss: Math.max(0.01, 2.4 - 2.2 * skill + 0.3 * random.normal()),
        ...signals,
      });
    });
    cells.push(cell(who, strategy, records, rest));
  };
  for (const [u, who] of users.entries()) {
    const column = DEMO_KINDS.indexOf(who.kind);
    for (const [strategy, skills] of Object.entries(DEMO_SKILL)) {
      const adapted = !['base', 'in-context', 'server'].includes(strategy);
      const raw = Array.from({ length: N }, (_, n) =>
        Math.exp((n === u % N ? 3.2 : who.kind === 'mixture' && n === (u + 3) % N ? 2.9 : 0) + 0.5 * random.normal()),
      );
      const total = raw.reduce((a, b) => a + b, 0);
      for (const s of strategy === 'random' ? [0, 1] : [0]) {
        add(who, strategy, skills[column]!, {
          seed: s,
          customisationMs: { 'few-shot-lora': 9100, lorahub: 15_400, crayon: 31 }[strategy] ?? (adapted ? 25 : 0),
          bytesToServer: strategy === 'crayon' ? 4 * N : strategy === 'server' ? 12_400 : 0,
          adapterBytes: adapted ? 1_270_000 : 0,
          adapterParameters: adapted ? 317_000 : 0,
          ...(strategy === 'crayon' ? { coefficients: raw.map((x) => x / total) } : {}),
          ...(strategy === 'lorahub' ? { coefficients: raw.map((x) => (x / total) * 1.4 - 0.2) } : {}),
        });
      }
    }
    const settings: Array<[Record<string, string | number>, number]> = [
      [{ embedding: 'first-attention' }, -0.3],
      [{ embedding: 'last-hidden' }, -0.06],
      [{ tau: 0.02 }, -0.03],
      [{ tau: 0.05 }, 0],
      [{ tau: 0.5 }, -0.2],
      [{ top_k: 1 }, 0.01],
      [{ combine: 'svd:4' }, -0.02],
      [{ mode: 'independent' }, -0.09],
    ];
    for (const [options, shift] of settings) {
      add(who, 'crayon', DEMO_SKILL.crayon![column]! + shift, { table: 'ablation', options, customisationMs: 30 });
    }
  }
  return run(
    cells,
    { clusters: demoClusters(N, seed), config: { name: 'made-up', seed, test_examples: examples } },
    demoLoad(),
  );
}

function demoClusters(N: number, seed: number): ClusterMap {
  const random = createRandom(seed, 'clusters');
  const centroids = Array.from({ length: N }, (_, n) => ({
    x: Math.cos((2 * Math.PI * n) / N) * (0.7 + 0.3 * random.uniform()),
    y: Math.sin((2 * Math.PI * n) / N) * (0.4 + 0.3 * random.uniform()),
  }));
  const points = Array.from({ length: 480 }, (_, i) => {
    const cluster = i % N;
    const { x, y } = centroids[cluster]!;
    const task = DEMO_TASKS[random.uniform() < 0.9 ? cluster : cluster + N]!;
    return { x: x + 0.13 * random.normal(), y: y + 0.1 * random.normal(), cluster, task };
  });
  return { points, centroids };
}

function demoLoad(): LoadCell[] {
  const times = (ms: number, spread: number) =>
    summariseLatency(Array.from({ length: 101 }, (_, i) => ms * Math.exp(spread * (i / 50 - 1))));
  const bySource = (device: number, server: number, spread: number) => ({
    all: times(0.8 * device + 0.2 * server, spread),
    on_device: times(device, spread),
    in_cloud: times(server, spread),
  });
  return [['closed, 4 clients', 'lan'] as const, ['open, 2 requests/s', '4g'] as const].map(
    ([pattern, network], i) => ({
      key: `load-${i}`,
      pattern,
      device: '2 threads, Q8_0',
      network,
      completed: 200 - 3 * i,
      failed: 3 * i,
      failures: (i === 0 ? {} : { 'server-timeout': 2, 'engine-busy': 1 }) as Record<string, number>,
      seconds: 61.5,
      requestThroughput: 3.2,
      outputThroughput: 61.4,
      goodput: 2.9,
      goodputLimits: { ttft: 500, tpot: 50 },
      ttft: bySource(38, 120 + 200 * i, 0.6),
      tpot: bySource(11, 19, 0.2),
      itl: bySource(11, 18, 0.5),
      e2e: bySource(260, 520 + 250 * i, 0.5),
      serverShare: 0.21,
      promptTokens: 21_400,
      completionTokens: 4100,
    }),
  );
}
