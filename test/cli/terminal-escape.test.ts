/** Text that steers a terminal: none of a file's reaches one, our own colours do. */

import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { type Cell, type Streams, Terminal } from '../../src/cli/terminal.js';

/** A command's words as a terminal gets them, or a file. */
async function shown(isTTY: boolean, say: (terminal: Terminal) => void | Promise<void>): Promise<string> {
  let text = '';
  const write = (part: string) => {
    text += part;
    return true;
  };
  const stream = Object.assign(new PassThrough(), { isTTY, columns: 100, write });
  await say(new Terminal({ stdout: stream, stderr: stream, env: {} } as unknown as Streams));
  return text;
}

/** Title, colour, clear screen; the same with C1; backspace; the direction of reading; half a character; a line that is none of ours. */
const HOSTILE = 'a\x1b]0;t\x07\x1b[31m\x1b[2J\x9b2Jb\x08\x7f\u202ec\u2066\u200f\ud800\rError: d\ufeff';
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is they that are looked for
const STEERING = /(?!\n|\x1b\[\d+m)[\p{Cc}\p{Cs}\u200f\u202e\u2066\ufeff]/u;

const WAYS: Array<[string, (terminal: Terminal) => void | Promise<void>]> = [
  ['a line', (terminal) => terminal.print(HOSTILE)],
  ['a colour', (terminal) => terminal.print(terminal.colour.bold(HOSTILE))],
  ['a remark', (terminal) => terminal.note(HOSTILE)],
  ['a warning', (terminal) => terminal.warn(HOSTILE)],
  ['an error', (terminal) => terminal.error('bad-option', HOSTILE, HOSTILE)],
  [
    'what another process said',
    (terminal) => terminal.error('jobs-failed', 'm', 'h', [HOSTILE, `\x1b[2J\n${HOSTILE}`]),
  ],
  ['a table', (terminal) => terminal.table([HOSTILE], [[HOSTILE], [terminal.colour.bold(HOSTILE)]])],
  [
    'a stage',
    async (terminal) => {
      const progress = await terminal.progress();
      progress.update(HOSTILE, 1, 1, HOSTILE);
      progress.end();
    },
  ],
  [
    'a document',
    (terminal) => {
      terminal.json = true;
      terminal.document({ [HOSTILE]: HOSTILE });
    },
  ],
];

it.each(WAYS)('%s has nothing of a file that steers', async (_, say) => {
  const text = await shown(false, say);
  expect(text).toMatch(/a\\u001b\]0;t\\u0007/);
  expect(text).not.toMatch(STEERING);
  expect(text).not.toContain('\x1b');
});

it.each(WAYS.filter(([name]) => !['a stage', 'a document'].includes(name)))(
  '%s has our colours alone',
  async (_, say) => {
    const text = await shown(true, say);
    expect(text).not.toMatch(STEERING);
    expect(text).not.toContain('\x1b[31m\\u'); // the file's red
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is they that are looked for
    const codes = [...text.matchAll(/\x1b\[(\d+)m/g)].map(([, code]) => Number(code));
    expect(codes.length % 2).toBe(0);
  },
);

it('an error and a cell of a table stay on one line', async () => {
  expect(await shown(false, (terminal) => terminal.error('bad-option', 'a\nError: b'))).toBe(
    'Error: a\\u000aError: b [bad-option]\n',
  );
  // what another process said has lines, of which each is marked as that process's
  expect(await shown(false, (terminal) => terminal.error('bad-option', 'm', 'h', ['a', '\tb\nError: c']))).toBe(
    'Error: m [bad-option]\n  | a\n  |   b\\u000aError: c\nHint:  h\n',
  );
  const table = (cell: Cell) => shown(false, (terminal) => terminal.table(['x'], [[cell]]));
  const rows = async (cell: Cell) => (await table(cell)).split('\n').length;
  expect(await rows('a\nb')).toBe(await rows('ab'));
  // of several lines only where the program says so
  expect(await rows(['a', 'b\nc'])).toBe((await rows('ab')) + 1);
  expect(await table(['a', 'b\nc'])).toContain('b\\u000ac');
});

it('a document is the same JSON', async () => {
  const document = { [HOSTILE]: [HOSTILE, 'ä 你 🙂 \u200d'] };
  const text = await shown(false, (terminal) => {
    terminal.json = true;
    terminal.document(document);
  });
  expect(JSON.parse(text)).toEqual(document);
});
