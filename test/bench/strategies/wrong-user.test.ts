/** Whose examples a user is given instead of its own. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { benchConfig } from '../../../src/bench/config.js';
import { crayon } from '../../../src/bench/strategies/blends.js';
import { unlikeUsers, wrongUser } from '../../../src/bench/strategies/wrong-user.js';
import { planUsers } from '../../../src/bench/users.js';
import { type OpenContext, openBenchContext } from '../../helpers/bench-context.js';

describe('unlikeUsers', () => {
  const user = (name: string, ...tasks: string[]) => ({
    name,
    kind: tasks.length > 1 ? 'mixture' : 'seen',
    tasks: tasks.map((task) => `tasks/${task}.yaml`),
    k: [3, 10],
  });
  const config = benchConfig(
    {
      name: 'x',
      model: 'm',
      pool: { data: ['train.yaml'] },
      users: [user('news', 'agnews'), user('topics', 'dbpedia'), user('nli', 'mnli'), user('both', 'agnews', 'mnli')],
      strategies: ['wrong-user'],
      wrong_user: { alike: [['agnews', 'dbpedia']] },
    },
    'x',
  );
  const of = (name: string, from = config) =>
    unlikeUsers(planUsers(from).find(({ info }) => info.name === name)!, from);

  it('are those of no task of a kind with this user’s, each once', () => {
    expect(of('news')).toEqual(['nli']);
    expect(of('topics')).toEqual(['nli']);
    expect(of('nli')).toEqual(['news', 'topics']);
    expect(of('both')).toEqual([]);
    expect(of('topics', { ...config, wrong_user: { alike: [] } })).toEqual(['news', 'nli', 'both']);
  });

  it('a user for whom there is none has no cell', () => {
    const applies = planUsers(config).map((one) => wrongUser.appliesTo!(one, config));
    expect(applies).toEqual([true, true, true, true, true, true, false, false]);
  });
});

describe('the blend', () => {
  let open: OpenContext;
  beforeAll(async () => {
    open = await openBenchContext({ strategies: ['crayon', 'wrong-user'] });
  });
  afterAll(() => open.close());

  it("is Crayon's for the other user's examples", async () => {
    const { context, cellOf, userOf } = open;
    expect(cellOf('weather+sounds', 'wrong-user')).toBeDefined();
    const wrong = await wrongUser.customise(cellOf('weather', 'wrong-user')!, userOf('weather'), context);
    const right = await crayon.customise(cellOf('weather', 'crayon')!, userOf('weather'), context);
    // weather's only stranger is sums, of whose examples it gets three, as many as its own
    const ofSums = { ...userOf('sums'), shown: userOf('sums').shown.slice(0, 3) };
    const others = await crayon.customise(cellOf('sums', 'crayon')!, ofSums, context);
    expect(wrong.coefficients).toEqual(others.coefficients);
    expect(wrong.coefficients).not.toEqual(right.coefficients);
  });

  it('needs a user with as many examples', async () => {
    const { context, cellOf, userOf } = open;
    const user = userOf('weather');
    const greedy = { ...user, info: { ...user.info, k: 9 } };
    await expect(async () =>
      wrongUser.customise(cellOf('weather', 'wrong-user')!, greedy, context),
    ).rejects.toMatchObject({ code: 'dataset-too-small' });
  });
});
