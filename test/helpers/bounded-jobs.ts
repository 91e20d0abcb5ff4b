/** Jobs for the tests of src/bounded: a template without any bound, and what a job may do besides. */

import { Template } from '@huggingface/jinja';
import { CrayonError } from '../../src/core/errors.js';

export const open = ({ name }: { name: string }) => ({
  greet: (who: string) => `${name} greets ${who}`,
  render: (source: string) => new Template(source).render({}),
  loop: () => {
    for (;;);
  },
  /** takes so long of a processor */
  work: (ms: number) => {
    const used = () => process.cpuUsage().user + process.cpuUsage().system;
    const end = used() + ms * 1000;
    while (used() < end);
    return 'done';
  },
  match: ([pattern, text]: [string, string]) => new RegExp(pattern).test(text),
  refuse: () => {
    throw new CrayonError('example-invalid', 'refused', { hint: 'do not' });
  },
  fail: () => {
    throw new TypeError('a defect');
  },
  large: (n: number) => ['x'.repeat(n)],
  pid: () => process.pid,
  exit: (code: number) => process.exit(code),
});
