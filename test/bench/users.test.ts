/** What a user shows and is tested on: never the same, never what the pool was trained on, the same draw each time. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { benchConfig } from '../../src/bench/config.js';
import type { BenchConfig } from '../../src/bench/settings.js';
import { drawExamples, loadBenchTask, planUsers, promptHash, readTrainingSet } from '../../src/bench/users.js';
import { SUMS, WEATHER, writeSetup, writeTask } from '../helpers/bench-setup.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

const NOTHING = { prompts: new Set<string>(), digests: [] };

function setup(change: Record<string, unknown> = {}): { dir: string; config: BenchConfig } {
  const dir = temporaryDir();
  return { dir, config: benchConfig(writeSetup(dir, change).config, 'bench.yaml') };
}

const play = (config: BenchConfig, at = 0) => {
  const user = planUsers(config)[at]!;
  const training = readTrainingSet(config);
  return drawExamples(
    user,
    user.taskPaths.map((path) => loadBenchTask(path, config, training)),
    config,
  );
};

describe('loadBenchTask', () => {
  it('leaves out every prompt of the training set, of the other split, and each second one', () => {
    const { dir, config } = setup();
    const line = (prompt: string) => `${JSON.stringify({ prompt, choices: WEATHER.choices, answer: 0 })}\n`;
    const write = (split: string, ...prompts: string[]) =>
      writeFileSync(join(dir, 'weather', `${split}.jsonl`), prompts.map(line).join(''));
    write('heldout', 'a:', 'b:', 'trained:', 'b: ');
    write('test', 'a:', 'c:', 'trained:', 'd:', 'c:');
    const training = { prompts: new Set([promptHash('trained:')]), digests: [] };
    const task = loadBenchTask(join(dir, 'weather.yaml'), config, training);
    expect(task.shown.map(({ prompt }) => prompt)).toEqual(['a:', 'b:']);
    expect(task.test.map(({ prompt }) => prompt)).toEqual(['c:', 'd:']);
    expect(task).toMatchObject({ overlapping: 5, generates: false, name: 'weather' });
  });

  it('refuses a split that is all in the training set', () => {
    const { dir, config } = setup({ shown_split: 'train' });
    const error = errorOf(() => loadBenchTask(join(dir, 'weather.yaml'), config, readTrainingSet(config)));
    expect(error.code).toBe('dataset-too-small');
    expect(error.message).toContain('split train has 12 examples');
  });

  it("shows a training split's rest when the pool is limited", () => {
    const { dir, config } = setup({ shown_split: 'train' });
    const limited = { ...config, pool: { ...config.pool, limit: 5 } };
    const training = readTrainingSet(limited);
    expect(training.prompts.size).toBe(15);
    expect(loadBenchTask(join(dir, 'weather.yaml'), limited, training).shown).toHaveLength(7);
    // a pool that was built elsewhere may have seen them all
    const given = { ...limited, pool: { ...limited.pool, dir: 'somewhere' } };
    expect(readTrainingSet(given).prompts.size).toBe(36);
  });
});

describe('drawExamples', () => {
  it('shows k examples and tests on others, the same each time', () => {
    const { config } = setup();
    const user = play(config);
    expect(user.shown).toHaveLength(3);
    expect(user.test).toHaveLength(4);
    expect(user.method).toBe('loglikelihood');
    expect(play(config)).toEqual(user);
    const other = { ...config, users: config.users.map((u) => ({ ...u, seeds: [1] })) };
    expect(play(other).shown).not.toEqual(user.shown);
    expect(play(other).test).toEqual(user.test); // paired with the first
  });

  it('shows with fewer examples the first of those it shows with more', () => {
    const { config } = setup();
    const withK = (k: number) => play({ ...config, users: config.users.map((user) => ({ ...user, k })) }).shown;
    expect(withK(6).slice(0, 3)).toEqual(withK(3));
  });

  it('takes a mixture in equal parts, in turns', () => {
    const { config } = setup();
    const user = play(config, 2); // k = 5 of two tasks
    expect(user.shown.map(({ dataset }) => dataset)).toEqual(['weather', 'sounds', 'weather', 'sounds', 'weather']);
    expect(user.test.map(({ dataset }) => dataset)).toEqual(['weather', 'weather', 'sounds', 'sounds']);
  });

  it('refuses a mixture that is scored in two ways, and a task with too few examples', () => {
    const { dir, config } = setup();
    const paths = [writeTask(dir, WEATHER), writeTask(dir, SUMS)];
    const tasks = paths.map((path) => loadBenchTask(path, config, NOTHING));
    const [user] = planUsers({ seed: 0, users: [{ name: 'u', kind: 'mixture', tasks: paths, k: 4, seeds: [0] }] });
    expect(errorOf(() => drawExamples(user!, tasks, config)).code).toBe('config-invalid');
    const [greedy] = planUsers({ seed: 0, users: [{ name: 'u', kind: 'seen', tasks: [paths[0]!], k: 9, seeds: [0] }] });
    const error = errorOf(() => drawExamples(greedy!, [tasks[0]!], config));
    expect(error).toMatchObject({ code: 'dataset-too-small' });
    expect(error.message).toContain('8 examples to show, expected 9');
  });
});
