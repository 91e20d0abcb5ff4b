/** The router on running servers: the embedded models, each a process of its own, from the configuration to the report. */

import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { LiveSummary } from '../../src/bench/live/run.js';
import type { AnswerRecord, Cell, LoadCell, RunManifest } from '../../src/bench/types.js';
import { scratch, start, succeed } from './helpers.js';

const dir = scratch();
const config = join(dir, 'live.yaml');
const out = join(dir, 'run');
const CONFIG = {
  name: 'live',
  model: 'models/crayon-edge',
  test_examples: 4,
  latency_examples: 0,
  pool: {
    dir: 'models/crayon-edge-pool',
    data: ['suite/quickstart.yaml'],
    clusters: 6,
    embedding: 'tfidf',
    centred: false,
  },
  users: [{ name: 'clinic', kind: 'seen-kind', tasks: ['suite/route-clinic.yaml'] }],
  strategies: ['base'],
  server: { model: 'models/crayon-server' },
  live: {
    thresholds: ['user', 'pooled'],
    calibration_examples: 20,
    prices: { input_per_million: 1, output_per_million: 2 },
    conditions: { networks: ['loopback', 'offline'] },
  },
  load: { clients: [2], requests: 4, warmup: 1, goodput: { e2e: 60_000 } },
};
writeFileSync(config, stringify(CONFIG));

const run = (to: string) => start(['bench', '--config', config, '--out', to, '--backend', 'wasm', '--json', '--quiet']);

interface Document {
  manifest: RunManifest;
  cells: Cell[];
  live: Record<string, LiveSummary>;
  load: LoadCell[];
  reused: number;
}

/** Whether any process was started for this run and is still there. */
function processesOf(run: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(join('/proc', pid, 'cmdline'), 'utf8').replaceAll('\0', ' ');
        return line.includes(run) ? [line] : [];
      } catch {
        return [];
      }
    });
}

async function finished(to: string): Promise<Document> {
  const { code, stdout, stderr } = await run(to).ended;
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Document;
}

let first: Document;
beforeAll(async () => {
  first = await finished(out);
}, 300_000);

const cellOf = (strategy: string, network?: string): Cell =>
  first.cells.find(
    (cell) => cell.strategy === strategy && (network === undefined || cell.options.network === network),
  )!;
const answersOf = ({ key }: Cell): AnswerRecord[] =>
  readFileSync(join(out, 'answers', `${key}.jsonl`), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AnswerRecord);

describe('a live run', () => {
  it('answers the same test by the device, the server and the router', () => {
    const [device, server, hybrid] = ['edge-live', 'server-live', 'hybrid-live@20'].map((name) => cellOf(name));
    for (const cell of [device!, server!, hybrid!]) {
      expect(cell).toMatchObject({ examples: 4, method: 'generation', table: 'hybrid', loss: null });
      expect(answersOf(cell).map(({ id }) => id)).toEqual(answersOf(device!).map(({ id }) => id));
    }
    expect([device!.serverShare, server!.serverShare]).toEqual([0, 1]);
    expect([device!.bytesToServer, device!.costPer1000]).toEqual([0, 0]);
    expect(server!.costPer1000).toBeGreaterThan(0);
    expect(device!.adapterBytes).toBeGreaterThan(1e6);
    expect(device!.coefficients!.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
    expect(hybrid!.options).toHaveProperty('confidence');
  });

  it('routes as it says: every answer is the one of its source', () => {
    const [device, server, hybrid] = ['edge-live', 'server-live', 'hybrid-live@20'].map((name) =>
      answersOf(cellOf(name)),
    );
    for (const [i, { source, answer, reason }] of hybrid!.entries()) {
      expect(answer).toBe((source === 'in_cloud' ? server! : device!)[i]!.answer);
      expect(source === 'in_cloud' ? ['scope', 'complexity', 'confidence'] : ['accepted']).toContain(reason);
    }
    // those of the device alone carry the signals that a router would have seen
    expect(device!.every(({ reason, confidence, scope }) => reason === 'mode' && confidence! < 0 && scope! >= 0)).toBe(
      true,
    );
    const summary = first.live['hybrid-live@20']!;
    expect(summary).toMatchObject({ users: 1, examples: 4 });
    expect(summary.share.estimate).toBe(cellOf('hybrid-live@20').serverShare);
  });

  it('pools the thresholds of all users, which for one user are its own', () => {
    const [own, pooled] = ['hybrid-live@20', 'hybrid-pooled@20'].map((name) => cellOf(name));
    expect(pooled!.options).toEqual(own!.options);
    expect(answersOf(pooled!).map(({ answer }) => answer)).toEqual(answersOf(own!).map(({ answer }) => answer));
  });

  it('has all arms at home, and what is routed offline', () => {
    const conditions = first.cells.filter(({ table }) => table === 'conditions');
    expect(conditions.map(({ strategy, options }) => `${strategy}, ${options.network}`).sort()).toEqual([
      ...['blending alone, loopback', 'both, loopback', 'both, offline'],
      ...['hybrid alone, loopback', 'hybrid alone, offline', 'neither, loopback'],
    ]);
    const offline = cellOf('both', 'offline');
    expect(offline.serverShare).toBe(0);
    expect(offline.accuracy).toBe(cellOf('blending alone').accuracy);
    const wanted = answersOf(cellOf('both', 'loopback')).filter(({ source }) => source === 'in_cloud').length;
    const failed = answersOf(offline).filter(({ reason }) => ['server-failed', 'circuit-open'].includes(reason));
    expect(failed.length).toBe(wanted);
    expect(cellOf('neither').adapterBytes).toBe(0);
  });

  it('puts load on the same edge', () => {
    expect(first.load.length).toBe(1);
    expect(first.load[0]).toMatchObject({ pattern: 'closed, 2 clients', completed: 4, failed: 0, network: 'loopback' });
    expect(first.load[0]!.goodput).toBeCloseTo(first.load[0]!.requestThroughput, 9);
    expect(first.load[0]!.completionTokens).toBeGreaterThan(3);
  });

  it('is reported', async () => {
    const { stdout } = await succeed(['bench', 'report', out, '--resamples', '100']);
    for (const words of ['hybrid-live@20', 'Devices and networks', 'offline', 'closed, 2 clients']) {
      expect(stdout).toContain(words);
    }
  });

  it('makes only the cells that are missing', async () => {
    const { key } = cellOf('server-live');
    const kept = readFileSync(join(out, 'cells', `${cellOf('edge-live').key}.json`), 'utf8');
    const manifest = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8')) as RunManifest;
    writeFileSync(join(out, 'run.json'), JSON.stringify({ ...manifest, finished: null }));
    rmSync(join(out, 'cells', `${key}.json`));
    const again = await finished(out);
    expect(readFileSync(join(out, 'cells', `${cellOf('edge-live').key}.json`), 'utf8')).toBe(kept);
    expect(again.cells.find((cell) => cell.key === key)!.accuracy).toBe(cellOf('server-live').accuracy);
    expect(again.manifest.plannedCells).toBe(first.cells.length);
  }, 300_000);

  it.skipIf(!existsSync('/proc/self/cmdline'))(
    'leaves no server behind when it is stopped',
    async () => {
      const to = join(dir, 'stopped');
      const child = run(to);
      const device = join(to, 'work', 'live', 'clinic', 'edge.yaml');
      const until = Date.now() + 120_000;
      while (!existsSync(device) && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50));
      expect(processesOf(to).length).toBeGreaterThan(1);
      child.process.kill('SIGINT');
      const { code } = await child.ended;
      expect(code).toBe(130);
      expect(processesOf(to)).toEqual([]);
    },
    300_000,
  );
});
