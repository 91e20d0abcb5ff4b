/** `crayon bench` from the configuration to the run directory; and a run that is killed ends like one that ran through. */

import { existsSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { STRATEGIES } from '../../src/bench/strategies/index.js';
import type { AnswerRecord } from '../../src/bench/types.js';
import { writeSetup } from '../helpers/bench-setup.js';
import { fixture } from '../helpers/fixtures.js';
import { cellsOf, type RunDocument, resultsOf, startCells, withoutTimes } from './bench-runs.js';
import { crayon, document, refusal, scratch, succeed } from './helpers.js';

const dir = scratch();
const at = (...parts: string[]) => join(dir, ...parts);
const { pool } = writeSetup(at('setup')).config;
const { path: config } = writeSetup(at('setup'), {
  pool: { ...(pool as object), held_out: 1 }, // label evidence is measured by them
  strategies: STRATEGIES.map(({ name }) => name),
  random: { seeds: 2 },
  server: { model: fixture('models', 'qwen3') },
  ablation: {
    strategies: ['crayon', 'per-query'],
    embedding: ['first-attention', 'tfidf'],
    blend_tau: [0.5],
    top_k: [1],
    combine: ['svd:2'],
  },
});
const args = (out: string, ...more: string[]) => [
  'bench',
  '--config',
  config,
  '--out',
  out,
  '--backend',
  'wasm',
  ...more,
];

let whole: RunDocument;
beforeAll(async () => {
  whole = await document<RunDocument>(args(at('whole')));
}, 120_000);

describe('a run', () => {
  it('has a cell for every user and strategy, and for every setting of the ablation', () => {
    // 3 users: all strategies, one of them with two seeds; 4 settings that are not the default, for Crayon and, where it
    // has them, for the per-query gate
    const strategies = STRATEGIES.length + 1;
    const ablation = 4 + 3;
    expect(whole.cells).toHaveLength(3 * (strategies + ablation));
    expect(whole.manifest).toMatchObject({ plannedCells: whole.cells.length, format: 'crayon-bench', version: 1 });
    expect(whole.manifest.finished).not.toBeNull();
    expect(new Set(whole.cells.map((cell) => cell.key)).size).toBe(whole.cells.length);
    expect(whole.cells.filter((cell) => cell.table === 'ablation').map((cell) => cell.options)).toContainEqual({
      embedding: 'first-attention',
    });
  });

  it('says of each cell what its own answers say', () => {
    for (const cell of whole.cells) {
      const lines = readFileSync(at('whole', 'answers', `${cell.key}.jsonl`), 'utf8')
        .trimEnd()
        .split('\n');
      const answers = lines.map((line) => JSON.parse(line) as AnswerRecord);
      expect(answers).toHaveLength(cell.examples);
      const right = answers.reduce((n, answer) => n + answer.correct, 0);
      expect(cell.accuracy).toBe(right / cell.examples);
      const isServer = cell.strategy === 'server';
      for (const answer of answers) {
        expect(answer.source).toBe(isServer ? 'in_cloud' : 'on_device');
        expect(answer.confidence).toBeLessThanOrEqual(0);
        expect(answer.scope === undefined).toBe(isServer);
        expect(answer.loss).toBeGreaterThan(0);
      }
    }
  });

  it('tests all strategies of a user on the same examples, none of which was shown or trained on', () => {
    for (const user of ['weather', 'sums', 'weather+sounds']) {
      const own = whole.cells.filter((cell) => cell.user.name === user);
      const ids = own.map((cell) =>
        readFileSync(at('whole', 'answers', `${cell.key}.jsonl`), 'utf8')
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line).promptHash),
      );
      for (const list of ids) expect(list).toEqual(ids[0]);
      expect(new Set(ids[0]).size).toBe(4);
    }
  });

  it('counts parameters and bytes', () => {
    const find = (strategy: string) =>
      whole.cells.find((cell) => cell.strategy === strategy && cell.table === 'strategies')!;
    expect(find('base')).toMatchObject({ adapterParameters: 0, adapterBytes: 0, bytesToServer: 0, serverShare: 0 });
    const { N, parameters } = whole.manifest.pool!;
    expect(N).toBe(3);
    expect(find('crayon')).toMatchObject({ adapterParameters: parameters, bytesToServer: 12 });
    expect(find('per-query').adapterParameters).toBe(parameters);
    expect(find('one-lora').adapterParameters).toBe(parameters / 3);
    expect(find('one-lora-total').adapterParameters).toBe(parameters);
    expect(find('nearest').coefficients?.filter((x) => x === 1)).toHaveLength(1);
    expect(find('lorahub')).toMatchObject({ adapterParameters: parameters / 3 });
    expect(find('server')).toMatchObject({ serverShare: 1 });
    expect(find('server').bytesToServer).toBeGreaterThan(0);
  });

  it('holds no prompt', () => {
    const texts = Object.values(resultsOf(at('whole'))).join('') + readFileSync(at('whole', 'run.json'), 'utf8');
    expect(texts).not.toMatch(/weather (train|heldout|test) \d/);
    expect(existsSync(at('whole', 'scratch'))).toBe(false);
  });

  it('is complete: the same command runs nothing again', async () => {
    const before = resultsOf(at('whole'));
    renameSync(at('whole', 'work'), at('work')); // the pools are not needed any more
    const again = await document<RunDocument>(args(at('whole')));
    expect(again.reused).toBe(whole.cells.length);
    expect(again.manifest).toEqual(whole.manifest);
    expect(resultsOf(at('whole'))).toEqual(before);
    renameSync(at('work'), at('whole', 'work'));
  });
});

describe('a run that is stopped', () => {
  it('by SIGKILL goes on, and ends like one that ran through, times aside', async () => {
    const run = at('killed');
    const child = await startCells(run, args(run));
    child.process.kill('SIGKILL');
    expect((await child.ended).signal).toBe('SIGKILL');
    const kept = cellsOf(run).length;
    expect(kept).toBeLessThan(whole.cells.length);
    const { reused } = await document<RunDocument>(args(run));
    expect(reused).toBeGreaterThanOrEqual(2);
    expect(resultsOf(run)).toEqual(resultsOf(at('whole')));
    const manifest = (path: string) => withoutTimes(readFileSync(join(path, 'run.json'), 'utf8'));
    expect(manifest(run)).toBe(manifest(at('whole')));
    expect(readdirSync(run).sort()).toEqual(['answers', 'cells', 'run.json', 'work']);
  }, 120_000);

  it('by SIGINT says so, exits with 130 and keeps its cells', async () => {
    const run = at('interrupted');
    const child = await startCells(run, args(run));
    child.process.kill('SIGINT');
    const { code, stderr } = await child.ended;
    expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('interrupted') });
    expect(stderr).toContain('continues from here');
    expect(cellsOf(run).length).toBeGreaterThanOrEqual(2);
    expect(existsSync(join(run, 'process'))).toBe(false);
  }, 120_000);
});

describe('refused', () => {
  it('is a run directory of another configuration, until --fresh', async () => {
    const { path } = writeSetup(at('small'), {
      users: [{ name: 'w', kind: 'seen', tasks: [at('small', 'weather.yaml')], k: 3 }],
    });
    const run = at('small-run');
    const command = (file: string, ...more: string[]) => [
      'bench',
      '--config',
      file,
      '--out',
      run,
      '--backend',
      'wasm',
      ...more,
    ];
    await succeed(command(path));
    const { path: other } = writeSetup(at('small'), {
      users: [{ name: 'w', kind: 'seen', tasks: [at('small', 'weather.yaml')], k: 4 }],
      strategies: ['base'],
    });
    const refused = await refusal(command(other));
    expect(refused).toMatchObject({ code: 'checkpoint-mismatch', exit: 3 });
    expect(refused.message).toContain('users, strategies');
    await succeed(command(other, '--fresh'));
    expect(readdirSync(join(run, 'cells'))).toEqual(['w--base.json']);
  }, 60_000);

  it('is not one that asks for more cells of the same users: those that are there stay', async () => {
    const users = [{ name: 'w', kind: 'seen', tasks: [at('wider', 'weather.yaml')], k: 3 }];
    const run = at('wider-run');
    const command = (file: string) => ['bench', '--config', file, '--out', run, '--backend', 'wasm'];
    const { path } = writeSetup(at('wider'), { users, strategies: ['base'] });
    await succeed(command(path));
    const { path: wider } = writeSetup(at('wider'), {
      users,
      strategies: ['base', 'per-query'],
      ablation: { strategies: ['per-query'], top_k: [1] },
    });
    const { reused, cells } = await document<RunDocument>(command(wider));
    expect(reused).toBe(1);
    expect(cells.map(({ key }) => key)).toEqual(['w--base', 'w--per-query', 'w--per-query--top_k=1']);
    const { path: narrower } = writeSetup(at('wider'), { users, strategies: ['base'] });
    expect((await refusal(command(narrower))).message).toContain('strategies');
  }, 60_000);

  it('is a task that is not there, and nothing is left at the output', async () => {
    const users = [{ name: 'w', kind: 'seen', tasks: [at('small', 'nowhere.yaml')], k: 3 }];
    const { path } = writeSetup(at('missing'), { users });
    const run = at('missing-run');
    const refused = await refusal(['bench', '--config', path, '--out', run, '--backend', 'wasm']);
    expect(refused).toMatchObject({ code: 'file-not-found', exit: 3 });
    expect(refused.message).toContain('nowhere.yaml');
    expect(existsSync(run)).toBe(false);
  });

  it('is a directory of something else', async () => {
    expect(await refusal(args(at('setup')))).toMatchObject({ code: 'output-exists' });
  });

  it('is a command without --config or --out', async () => {
    expect(await refusal(['bench', '--out', at('x')])).toMatchObject({ code: 'bad-option', exit: 2 });
    expect(await refusal(['bench', '--config', config])).toMatchObject({ code: 'bad-option', exit: 2 });
  });
});

it('--dry-run shows the plan and does nothing', async () => {
  const { stdout } = await crayon(args(at('never'), '--dry-run'));
  expect(stdout).toContain(`3 users, ${whole.cells.length} cells`);
  expect(existsSync(at('never'))).toBe(false);
});
