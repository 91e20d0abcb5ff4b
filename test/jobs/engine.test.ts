import { describe, expect, it } from 'vitest';
import { EXIT } from '../../src/core/errors.js';
import { argumentsOf, INDEX, isWorthRetrying, jobName, logPath, shellLine, type Work } from '../../src/jobs/engine.js';

const work: Work = {
  name: 'crayon-pool',
  program: ['node'],
  unit: ['train', '--cluster', INDEX],
  indices: [0, 3],
  last: ['finish'],
  dir: '/w',
  workers: 2,
  threads: 4,
};

describe('a unit of work', () => {
  it('has its number where the index stands', () => {
    expect(argumentsOf(work, 3)).toEqual(['train', '--cluster', '3']);
    expect(argumentsOf(work, 'last')).toEqual(['finish']);
    expect([jobName(3), jobName('last')]).toEqual(['unit-3', 'finish']);
    expect(logPath(work, 3)).toMatch(/w.logs.unit-3\.log$/);
  });

  it.each([
    ['environment', EXIT.environment, true],
    ['interrupted', EXIT.interrupted, true],
    ['SIGKILL through a shell', 137, true],
    ['a signal', null, true],
    ['internal', EXIT.internal, false],
    ['usage', EXIT.usage, false],
    ['input', EXIT.input, false],
    ['numeric', EXIT.numeric, false],
  ])('that ends by %s is tried again, or not', (_, code, expected) => {
    expect(isWorthRetrying(code)).toBe(expected);
  });

  it('is a command line that a shell reads back', () => {
    expect(shellLine(['a b', "it's", '$HOME', '--x=1,2', ''])).toBe(`'a b' 'it'\\''s' '$HOME' --x=1,2 ''`);
  });
});
