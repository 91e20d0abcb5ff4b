import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { threadShare } from '../../src/core/threads.js';

describe('the threads of a process', () => {
  it.each([
    ['1', 1],
    ['3', 3],
  ])('are what the variable says: %s', (text, expected) => {
    expect(threadShare({ CRAYON_THREADS: text })).toBe(expected);
  });

  it.each([undefined, '', '0', '-2', '1.5', 'all'])('are all that are available where it says %s', (text) => {
    expect(threadShare(text === undefined ? {} : { CRAYON_THREADS: text })).toBe(availableParallelism());
  });
});
