import { expect, it } from 'vitest';
import { untilInterrupted } from '../../src/cli/stop-signal.js';

const handlers = () => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT');

it('gives the result or the error of the work, and leaves no handler behind', async () => {
  const before = handlers();
  expect(await untilInterrupted(async () => 7)).toBe(7);
  await expect(untilInterrupted(() => Promise.reject(new Error('its own')))).rejects.toThrow('its own');
  expect(handlers()).toBe(before);
});

it('tells the work of a signal, and names the interruption whatever the work threw', async () => {
  const before = handlers();
  const run = untilInterrupted(
    (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('half done')));
        process.emit('SIGTERM');
      }),
  );
  await expect(run).rejects.toMatchObject({ code: 'interrupted', exitCode: 130 });
  expect(handlers()).toBe(before);
});
