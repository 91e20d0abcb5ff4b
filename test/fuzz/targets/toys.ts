/** Targets that do what none may do: the tests of the harness see that each fault is caught. */

import { CrayonError } from '../../../src/core/errors.js';
import type { Target } from '../target.js';

const toy = (name: string, fault: () => void): Target => ({
  name,
  reads: 'nothing',
  inMemory: true,
  seeds: () => [new Map([['x.json', Buffer.from('{"a":1}')]])],
  run(_, given) {
    const text = given.get('x.json')?.toString() ?? '';
    if (text === '{"a":1}') return 'sound';
    if (text.length % 3 === 0) fault();
    throw new CrayonError('json-invalid', 'not sound');
  },
});

export const TOY_TARGETS: readonly Target[] = [
  toy('toy-right', () => {}),
  toy('toy-throws', () => (undefined as unknown as string).trim()),
  toy('toy-hangs', () => {
    for (;;);
  }),
  toy('toy-aborts', () => process.abort()),
  toy('toy-greedy', () => void Buffer.alloc(300 * 2 ** 20, 1)),
];
