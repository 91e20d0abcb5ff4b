import { describe, expect, it } from 'vitest';
import { refuseOtherRun } from '../../src/files/fingerprint.js';
import { errorOf } from '../helpers/files.js';

describe('refuseOtherRun', () => {
  const before = { seed: 0, users: [{ name: 'u', k: 3 }], pool: { tau: 0.1, dir: undefined }, rates: [null] };

  it('lets the same settings go on, in whatever order their keys were written', () => {
    const now = { pool: { tau: 0.1 }, users: [{ k: 3, name: 'u' }], seed: 0, rates: [Number.POSITIVE_INFINITY] };
    expect(() => refuseOtherRun('run', before, now, 'Choose another.')).not.toThrow();
  });

  it('names every setting that differs, with both values where they are short', () => {
    const error = errorOf(() => refuseOtherRun('run', before, { ...before, seed: 7, pool: { tau: 0.2 } }, 'Choose.'));
    expect(error).toMatchObject({ code: 'checkpoint-mismatch', hint: 'Choose.' });
    expect(error.message).toBe('run: left by a run with another seed (0, now 7), pool.tau (0.1, now 0.2)');
    const users = [
      { name: 'u', k: 3 },
      { name: 'another user', k: 50 },
    ];
    expect(errorOf(() => refuseOtherRun('run', before, { ...before, users }, '')).message).toMatch(/another users$/);
  });
});
