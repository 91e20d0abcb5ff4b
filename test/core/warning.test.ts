import { once } from 'node:events';
import { expect, it } from 'vitest';
import { hearingWarnings, warn } from '../../src/core/warning.js';

it('a warning is heard by whoever runs the work, once', async () => {
  const heard: string[] = [];
  const other: string[] = [];
  await Promise.all([
    hearingWarnings(
      (text) => heard.push(text),
      async () => {
        warn('a');
        await new Promise((resolve) => setTimeout(resolve, 5));
        warn('b');
        warn('a');
      },
    ),
    hearingWarnings(
      (text) => other.push(text),
      async () => warn('a'),
    ),
  ]);
  expect([heard, other]).toEqual([['a', 'b'], ['a']]);
});

it('is a warning of Node’s where nobody listens', async () => {
  const warning = once(process, 'warning');
  warn('the matrix is another one');
  expect((await warning)[0]).toMatchObject({ name: 'CrayonWarning', message: 'the matrix is another one' });
});
