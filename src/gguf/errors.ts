/** What a bad GGUF file, or one that crayon does not read, is refused with. */

import { CrayonError } from '../core/errors.js';

export function ggufInvalid(path: string, problem: string): CrayonError {
  // Names and texts come from the file: one of them alone could be thousands of characters long.
  const shown = problem.length > 1000 ? `${problem.slice(0, 1000)}...` : problem;
  return new CrayonError('gguf-invalid', `${path}: ${shown}`, {
    hint: 'The file is damaged, cut short or was not written as GGUF: fetch or export it again.',
  });
}

export function ggufUnsupported(path: string, problem: string, hint?: string): CrayonError {
  return new CrayonError('gguf-unsupported', `${path}: ${problem}`, hint === undefined ? {} : { hint });
}
