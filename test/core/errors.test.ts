/** Error codes and the exit codes that they end the process with. */

import { describe, expect, it } from 'vitest';
import { CrayonError, EXIT } from '../../src/core/errors.js';

describe('CrayonError', () => {
  it.each([
    ['bad-option', EXIT.usage],
    ['file-not-found', EXIT.input],
    ['disk-full', EXIT.environment],
    ['loss-not-finite', EXIT.numeric],
    ['interrupted', EXIT.interrupted],
  ] as const)('%s ends the process with %i', (code, exit) => {
    expect(new CrayonError(code, 'message').exitCode).toBe(exit);
  });
});
