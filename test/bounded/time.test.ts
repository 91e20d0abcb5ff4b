import { describe, expect, it } from 'vitest';
import { OutOfTime, seconds, wallMs, withinTime } from '../../src/bounded/time.js';

const endless = () => {
  for (;;);
};

describe('withinTime', () => {
  it('gives the result, and throws what is thrown', () => {
    expect(withinTime(1000, () => 'done')).toBe('done');
    const error = new TypeError('wrong');
    expect(() =>
      withinTime(1000, () => {
        throw error;
      }),
    ).toThrow(error);
  });

  it('stops a loop and a regular expression, and says after how long', () => {
    expect(() => withinTime(50, endless)).toThrow(new OutOfTime(50));
    expect(() => withinTime(60, () => /^(a+)+$/.test(`${'a'.repeat(40)}!`))).toThrow('stopped after 0.06 s');
    expect(withinTime(1000, () => 'done')).toBe('done');
  });

  it('stops nothing that has had hardly a processor, until that has taken far too long', { tags: 'slow' }, () => {
    const cell = new Int32Array(new SharedArrayBuffer(4));
    const wait = (ms: number) => void Atomics.wait(cell, 0, 0, ms); // what a processor is not given, it does not use
    let begun = 0;
    const started = performance.now();
    const late = () => {
      begun++;
      wait(150);
      return 'done';
    };
    expect(withinTime(100, late)).toBe('done');
    expect(begun).toBeGreaterThan(1);
    const starved = () => {
      for (;;) wait(1000);
    };
    expect(() => withinTime(100, starved)).toThrow(new OutOfTime(100));
    expect(performance.now() - started).toBeGreaterThanOrEqual(250 + wallMs(100));
    expect(wallMs(100)).toBe(700);
  });

  it('has one clock for work within work: the outer one', () => {
    const started = performance.now();
    expect(() => withinTime(50, () => withinTime(60_000, endless))).toThrow(OutOfTime);
    expect(performance.now() - started).toBeLessThan(30_000);
  });
});

it.each([
  [10_000, '10 s'],
  [1500, '1.5 s'],
  [333, '0.33 s'],
])('%d ms are %s', (ms, text) => {
  expect(seconds(ms)).toBe(text);
});
