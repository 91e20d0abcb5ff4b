/** Which options of `crayon blend` go together. */

import { describe, expect, it } from 'vitest';
import { refusal } from '../e2e/helpers.js';

const blend = (...more: string[]) =>
  refusal(['blend', '--pool', 'pool', '--out', 'out', '--examples', 'mine', ...more]);

describe('crayon blend', () => {
  it.each([
    [['--choose-trained'], '--choose-trained without --choose', 'Add --choose'],
    [['--choose-seconds', '5'], '--choose-seconds without --choose', 'Add --choose'],
    [['--choose', '--top-k', '2'], '--choose and --top-k are both given', 'Let the examples choose'],
    [['--steps', '5', '--learning-rate', '1e-3'], '--steps, --learning-rate without --lora-from-blend', 'with a rank'],
    [['--choose', '--fresh'], '--fresh without --lora-from-blend', 'with a rank'],
    [['--lora-from-blend', '4', '--rank', '8'], '--lora-from-blend and --rank are both given', 'svd of its own rank'],
    [['--lora-from-blend', '4', '--combine', 'cat'], '--lora-from-blend and --combine', 'svd of its own rank'],
    [['--coefficients', '1,0'], '--coefficients and --examples are both given', 'Leave out --examples'],
  ])('refuses %j', async (flags, problem, hint) => {
    const error = await blend(...flags);
    expect(error).toMatchObject({ code: 'bad-option', hint: expect.stringContaining(hint) });
    expect(error.message).toContain(problem);
  });

  it.each([
    ['--choose', '--refine', '2', '--lora-from-blend', '4', '--rank', '8'],
    ['--choose', '--choose-trained', '--steps', '5'],
    ['--coefficients', '1,0', '--lora-from-blend', '4', '--pull', '0'],
    ['--coefficients', '1,0', '--refine', '1'],
  ])('takes %s %s %s together', async (...flags) => {
    expect((await blend(...flags)).code).not.toBe('bad-option'); // the pool is not there
  });
});
