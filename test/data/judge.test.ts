import { describe, expect, it } from 'vitest';
import { isRight } from '../../src/data/judge.js';

describe('isRight', () => {
  const choices = [' Red', ' Red Deer', ' Blue'];

  it.each([
    [' Red', 'Red', true, true],
    [' Red', ' Red \n', true, true],
    [' Red', 'Red\nTeam: Blue', true, true],
    [' Red', 'Red.', false, true],
    [' Red', 'Red has 15 cups', false, true],
    [' Red', 'Reddish', false, false],
    [' Red', 'red', false, false],
    [' Red', '', false, false],
    [' Red', 'Red Deer', false, false],
    [' Red Deer', 'Red Deer, I think', false, true],
    [' Red Deer', 'Red', false, false],
    [' Blue', 'not Blue', false, false],
    ['a\nb', 'a\nb', true, true],
    ['a\nb', 'a', false, false],
  ])('%j answered by %j: exact %s, start %s', (completion, answer, exact, start) => {
    const question = { id: 'q', prompt: 'p', completion, choices };
    expect(isRight(answer, question, 'exact')).toBe(exact);
    expect(isRight(answer, question, 'start')).toBe(start);
  });

  it('without choices, starts with the right answer', () => {
    const question = { id: 'q', prompt: 'p', completion: ' 12' };
    expect(isRight('12 cups', question, 'start')).toBe(true);
    expect(isRight('120', question, 'start')).toBe(false);
  });
});
