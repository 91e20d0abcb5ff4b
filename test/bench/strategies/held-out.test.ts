/** Held-out examples: of every data set, none of them trained on, shown or tested. */

import { join } from 'node:path';
import { expect, it } from 'vitest';
import { benchConfig } from '../../../src/bench/config.js';
import { heldOutExamples } from '../../../src/bench/strategies/held-out.js';
import { drawExamples, loadBenchTask, planUsers, readTrainingSet } from '../../../src/bench/users.js';
import { writeSetup } from '../../helpers/bench-setup.js';
import { errorOf, temporaryDir } from '../../helpers/files.js';

function setup(heldOut: Record<string, unknown>, limit: number) {
  const dir = temporaryDir();
  const written = writeSetup(dir, { shown_split: 'train', held_out: heldOut }).config;
  const config = benchConfig({ ...written, pool: { ...(written.pool as object), limit } }, 'x');
  const training = readTrainingSet(config);
  const users = planUsers(config).map((user) =>
    drawExamples(
      user,
      user.taskPaths.map((path) => loadBenchTask(path, config, training)),
      config,
    ),
  );
  return { dir, config, training, users };
}

it('are as many of each data set as are wanted and left', () => {
  const found = setup({ examples: 2 }, 4); // 12 in training, 4 trained on, 3 to 5 shown
  const prompts = heldOutExamples(found).map(({ prompt }) => prompt);
  expect(prompts.map((prompt) => prompt.replaceAll(/\d.*/g, ''))).toEqual(
    ['weather train ', 'sound of train ', 'train '].flatMap((text) => [text, text]),
  );
  expect(heldOutExamples(found).map(({ prompt }) => prompt)).toEqual(prompts);

  const all = setup({ examples: 99 }, 4);
  const shown = new Set(all.users.flatMap((user) => user.shown.map(({ prompt }) => prompt)));
  const left = heldOutExamples(all);
  expect(left).toHaveLength(3 * (12 - 4) - shown.size);
  for (const { prompt } of left) expect(shown.has(prompt)).toBe(false);
});

it('come from other data sets and another split where these are named, and are none of the tests', () => {
  const named = setup({ split: 'test', examples: 99 }, 4);
  const data = [join(named.dir, 'sums.yaml')];
  const config = { ...named.config, held_out: { ...named.config.held_out, data } };
  const found = heldOutExamples({ ...named, config }); // 8, of which 4 are tested
  expect(found).toHaveLength(4);
  const tested = named.users.flatMap((user) => user.test.map(({ prompt }) => prompt));
  for (const { prompt } of found) expect(tested).not.toContain(prompt);
});

it('are refused where a data set has none left', () => {
  const found = setup({}, 4);
  const training = {
    ...found.training,
    prompts: readTrainingSet({ ...found.config, pool: { ...found.config.pool, limit: 12 } }).prompts,
  };
  const error = errorOf(() => heldOutExamples({ ...found, training }));
  expect(error.code).toBe('dataset-too-small');
  expect(error.message).toContain('none of 12 examples of weather');
});
