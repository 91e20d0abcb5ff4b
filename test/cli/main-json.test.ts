/** `--json`: one document on stdout, whatever happens; and usage errors. */

import { describe, expect, it } from 'vitest';
import { crayon, refusal } from '../e2e/helpers.js';

describe('a wrong command line', () => {
  it.each([
    [['blend', '--pool', 'x', '--out', 'y', '--estimater', 'uniform'], '--estimater', 'Did you mean --estimator?'],
    [['blnd'], 'blnd', 'Did you mean blend?'],
    [['blend', '--out', 'y'], '--pool', 'not specified'],
    [['blend', '--pool', 'x', '--out', 'y', '--combine', 'ties'], 'ties', 'cat, svd, linear'],
    [['blend', '--pool', 'x', '--out', 'y', '--top-k', '0'], '"0"', 'whole number from 1'],
    [['blend', '--pool', 'x', '--out', 'y', '--temperature', 'hot'], '"hot"', 'a number above 0'],
    [['blend', '--pool', 'x', '--out', 'y', '--coefficients', '1,,2'], '"1,,2"', '0.2,0.5,0.3'],
    [['build-pool', '--model', 'm', '--data', 'd', '--pool', 'p', '--clusters', 'many'], '"many"', 'whole number'],
    [
      ['build-pool', '--model', 'm', '--data', 'd', '--pool', 'p', '--targets', 'q_proj,x'],
      'unknown target x',
      'v_proj',
    ],
    [['score', '--model', 'm', '--data', 'd', '--backend', 'cuda'], 'cuda', 'wasm'],
    [['inspect'], 'path', 'missing required argument'],
    [['inspect', 'a', 'b'], 'too many arguments', '2'],
  ])('%j exits with 2, names what it found and what it expected', async (argv, found, expected) => {
    const { code, stdout, stderr } = await crayon(argv);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(found);
    expect(stderr).toContain(expected);
    expect(stderr).toContain('--help');

    const error = await refusal(argv);
    expect(error).toMatchObject({ code: 'bad-option', exit: 2 });
    expect(error.message).toContain(found);
    expect(error.message).toContain(expected);
    expect(error.message).not.toMatch(/^error|\n/);
  });

  it('of a program without a command prints the help and exits with 2', async () => {
    const { code, stdout, stderr } = await crayon([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('Usage: crayon');
  });
});

describe('a failure', () => {
  it('is one JSON document on stdout and a sentence on stderr', async () => {
    const { code, stdout, stderr } = await crayon(['inspect', 'no/such/thing', '--json']);
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toEqual({
      error: { code: 'file-not-found', message: 'no/such/thing: no such file or directory' },
    });
    expect(stderr).toBe('Error: no/such/thing: no such file or directory [file-not-found]\n');
  });

  it('without --json leaves stdout empty', async () => {
    const { code, stdout, stderr } = await crayon(['inspect', 'src']);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
    expect(stderr).toMatch(/^Error: .*\[path-not-recognised\]\nHint: {2}.*\n$/);
  });

  it('with --verbose adds the stack', async () => {
    expect((await crayon(['inspect', 'no/such/thing', '--verbose'])).stderr).toContain('recognise.ts');
  });
});

describe('--version', () => {
  it('prints a version and nothing else', async () => {
    expect(await crayon(['--version'])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: '',
    });
  });
});
