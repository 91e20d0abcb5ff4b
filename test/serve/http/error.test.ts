/** Failures in the words of the API that a client speaks. */

import { expect, it } from 'vitest';
import { CrayonError } from '../../../src/core/errors.js';
import { badField, type HttpError, inNamesOf } from '../../../src/serve/http/error.js';

const NAMES = [[/\bresponse_format(\.json_schema)?/g, 'text.format']] as const;
const failing = (error: Error) =>
  inNamesOf(NAMES, () => Promise.reject(error)).catch((thrown: unknown) => thrown as HttpError);

it('calls a field by the client’s own name, of an engine’s refusals too', async () => {
  const refused = new CrayonError('format-unsupported', 'response_format.json_schema.schema.pattern is not supported');
  expect(await failing(refused)).toMatchObject({
    ...{ status: 400, param: 'text.format', code: 'unsupported_value', cause: refused },
    message: 'text.format.schema.pattern is not supported',
  });
  expect(await failing(badField('response_format', 'response_format is 5.'))).toMatchObject({
    ...{ status: 400, param: 'text.format', message: 'text.format is 5.', code: 'invalid_value' },
  });
});

it('leaves all other failures as they are', async () => {
  for (const error of [
    badField('input', 'input is missing.'),
    new CrayonError('server-failed', 'the server says: response_format is wrong'),
    new Error('response_format'),
  ])
    expect(await failing(error)).toBe(error);
  expect(await inNamesOf(NAMES, async () => 'an answer')).toBe('an answer');
});
