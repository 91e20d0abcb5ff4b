/** What the commands say about data that is wrong, and that they leave nothing behind. */

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  buildArgs,
  copyOf,
  document,
  editJson,
  LLAMA,
  type Refusal,
  records,
  refusal,
  scratch,
  succeed,
  writeJsonl,
} from './helpers.js';

const dir = scratch();
const at = (name: string) => join(dir, name);
const pool = at('pool');
const out = at('out');
const good = records(12);

beforeAll(() => succeed(buildArgs(writeJsonl(at('train.jsonl'), good), pool)));

async function leavingNothing(run: () => Promise<Refusal>): Promise<Refusal> {
  const before = readdirSync(dir);
  const error = await run();
  expect(readdirSync(dir)).toEqual(before);
  expect(error.exit).toBeGreaterThan(0);
  return error;
}

/** What build-pool, blend and score say about the same lines: three times the same. */
async function everywhere(lines: ReadonlyArray<unknown>): Promise<Refusal> {
  const path = writeJsonl(at('bad.jsonl'), lines);
  const building = await leavingNothing(() => refusal(buildArgs(path, out)));
  const blending = await leavingNothing(() => refusal(['blend', '--pool', pool, '--examples', path, '--out', out]));
  const scoring = await refusal(['score', '--model', LLAMA, '--data', path, '--backend', 'wasm']);
  expect(blending).toEqual(building);
  expect(scoring).toEqual(building);
  return building;
}

describe('a JSONL file', () => {
  it('that is not there', async () => {
    const error = await leavingNothing(() => refusal(buildArgs(at('gone.jsonl'), out)));
    expect(error).toMatchObject({ code: 'file-not-found', exit: 3 });
    expect(error.message).toContain(at('gone.jsonl'));
  });

  it('with a malformed line: its number', async () => {
    const error = await everywhere([...good.slice(0, 4), '{"prompt": "half', good[5]]);
    expect(error).toMatchObject({ code: 'example-invalid', exit: 3 });
    expect(error.message).toContain('bad.jsonl: line 5: not valid JSON');
    expect(error.hint).toBeDefined();
  });

  it('with several bad lines: all of them, blank lines counted', async () => {
    const error = await everywhere([good[0], '', '[1]', good[1], { prompt: 'x' }, { completion: 'y' }, '"text"']);
    expect(error.message.match(/line \d+/g)).toEqual(['line 3', 'line 5', 'line 6', 'line 7']);
    expect(error.message).toContain('completion is missing: found prompt; expected prompt and completion');
    expect(error.message).toContain('prompt is missing: found completion; expected prompt and completion');
  });

  it('with more bad lines than anybody wants to read: ten of them and the number of the rest', async () => {
    const error = await everywhere(Array.from({ length: 30 }, () => ({ prompt: 'x' })));
    expect(error.message.match(/line \d+/g)).toHaveLength(10);
    expect(error.message).toContain('and 20 more');
  });

  it.each([
    ['a number as prompt', { prompt: 7, completion: ' x' }, 'prompt is a number'],
    ['a list as completion', { prompt: 'x', completion: [' y'] }, 'completion is a list'],
    ['null', { prompt: 'x', completion: null }, 'completion is null'],
    ['an empty prompt', { prompt: '  ', completion: ' y' }, 'prompt is empty'],
    ['an empty completion', { prompt: 'x', completion: '' }, 'completion is empty'],
    ['a NUL', { prompt: 'x\0', completion: ' y' }, 'NUL'],
    ['half a surrogate pair', { prompt: '\ud800', completion: ' y' }, 'surrogate'],
    ['text instead of prompt and completion', { text: 'a story' }, 'where the prompt ends'],
    ['choices without answer', { prompt: 'x', choices: [' a', ' b'] }, 'answer is missing'],
    ['an answer that is no choice', { prompt: 'x', choices: [' a', ' b'], answer: 2 }, 'answer 2'],
    ['one choice', { prompt: 'x', choices: [' a'], answer: 0 }, '1 choices'],
    ['a number among the choices', { prompt: 'x', choices: [' a', 3], answer: 0 }, 'a choice is a number'],
    ['a completion that is another choice', { prompt: 'x', completion: ' b', choices: [' a', ' b'], answer: 0 }, ' b'],
  ])('with %s', async (_, record, words) => {
    const error = await everywhere([good[0], record, good[1]]);
    expect(error).toMatchObject({ code: 'example-invalid', exit: 3 });
    expect(error.message).toContain('line 2');
    expect(error.message).toContain(words);
  });

  it('with a byte order mark and Windows line ends is read all the same', async () => {
    writeFileSync(at('windows.jsonl'), `\ufeff${good.map((record) => JSON.stringify(record)).join('\r\n')}\r\n`);
    const args = ['blend', '--pool', pool, '--examples', at('windows.jsonl'), '--out', at('windows')];
    expect(await document(args)).toMatchObject({ examples: 12 });
  });

  it('that is a directory', async () => {
    mkdirSync(at('folder.jsonl'), { recursive: true });
    const error = await leavingNothing(() => refusal(buildArgs(at('folder.jsonl'), out)));
    expect(error).toMatchObject({ code: 'file-unreadable', exit: 3 });
  });

  it('that is empty', async () => {
    for (const lines of [[], ['', '  ']]) {
      const path = writeJsonl(at('empty.jsonl'), lines);
      const building = await leavingNothing(() => refusal(buildArgs(path, out)));
      expect(building).toMatchObject({ code: 'dataset-too-small', exit: 3 });
      expect(building.message).toContain('empty.jsonl');
      const blending = await leavingNothing(() => refusal(['blend', '--pool', pool, '--examples', path, '--out', out]));
      expect(blending).toMatchObject({ code: 'examples-count', exit: 3 });
      const scoring = await refusal(['score', '--model', LLAMA, '--data', path, '--backend', 'wasm']);
      expect(scoring).toMatchObject({ code: 'dataset-too-small', exit: 3 });
    }
  });

  it('that is not UTF-8', async () => {
    writeFileSync(at('latin1.jsonl'), Buffer.from('{"prompt": "caf\u00e9", "completion": " x"}\n', 'latin1'));
    const error = await leavingNothing(() => refusal(buildArgs(at('latin1.jsonl'), out)));
    expect(error).toMatchObject({ code: 'json-invalid', exit: 3 });
    expect(error.message).toContain('UTF-8');
  });

  it('of another extension', async () => {
    writeFileSync(at('data.txt'), 'x');
    const error = await leavingNothing(() => refusal(buildArgs(at('data.txt'), out)));
    expect(error).toMatchObject({ code: 'path-not-recognised', exit: 3 });
    expect(error.message).toContain('.jsonl');
  });
});

describe('the number of examples', () => {
  it.each([2, 51])('%i for blend', async (count) => {
    const path = writeJsonl(at('count.jsonl'), records(count));
    const error = await leavingNothing(() => refusal(['blend', '--pool', pool, '--examples', path, '--out', out]));
    expect(error).toMatchObject({ code: 'examples-count', exit: 3 });
    expect(error.message).toContain(`${count} examples, expected 3 to 50`);
    expect(error.hint).toBeDefined();
  });

  it.each([3, 50])('%i for blend is right', async (count) => {
    const path = writeJsonl(at(`count-${count}.jsonl`), records(count));
    const args = ['blend', '--pool', pool, '--examples', path, '--out', at(`of-${count}`)];
    expect(await document(args)).toMatchObject({ examples: count });
  });

  it('below the number of clusters', async () => {
    const path = writeJsonl(at('two.jsonl'), records(2));
    for (const more of [[], ['--dry-run']]) {
      const error = await leavingNothing(() => refusal(buildArgs(path, out, ...more)));
      expect(error).toMatchObject({ code: 'dataset-too-small', exit: 3 });
      expect(error.message).toContain('2 training examples, but 3 clusters');
    }
    await succeed(buildArgs(path, at('two'), '--clusters', '2')); // the failed run is not in the way
  });

  it('too small to choose a number of clusters', async () => {
    const path = writeJsonl(at('fifteen.jsonl'), records(15));
    const error = await leavingNothing(() => refusal(buildArgs(path, out, '--clusters', 'auto')));
    expect(error).toMatchObject({ code: 'dataset-too-small', exit: 3 });
    expect(error.hint).toContain('16');
  });
});

describe('an example longer than the context of 64 tokens', () => {
  const long = { prompt: `${'many words '.repeat(60)}end:`, completion: ' yes' };
  const endless = { prompt: 'say:', completion: ` ${'many words '.repeat(60)}` };
  const path = writeJsonl(at('long.jsonl'), [...good, long]);
  const mine = writeJsonl(at('mine.jsonl'), [...good.slice(0, 3), long]);

  it('is refused by default, with its name, its length and the ways out', async () => {
    const error = await leavingNothing(() => refusal(buildArgs(path, out)));
    expect(error).toMatchObject({ code: 'example-too-long', exit: 3 });
    expect(error.message).toMatch(/1 of 13 examples exceed 64 tokens: long:12 \(\d+\)/);
    expect(error.hint).toContain('--long truncate');
    const blending = await leavingNothing(() => refusal(['blend', '--pool', pool, '--examples', mine, '--out', out]));
    expect(blending).toMatchObject({ code: 'example-too-long', exit: 3 });
  });

  it('is skipped or truncated on request, and counted', async () => {
    expect(await document(buildArgs(path, at('skipped'), '--long', 'skip'))).toMatchObject({
      skipped: 1,
      truncated: 0,
    });
    const cut = await document(buildArgs(path, at('truncated'), '--long', 'truncate'));
    expect(cut).toMatchObject({ skipped: 0, truncated: 1 });
    const args = ['blend', '--pool', pool, '--examples', mine, '--out', at('cut'), '--long'];
    expect(await document([...args, 'truncate'])).toMatchObject({ examples: 4 });
    expect(await document([...args, 'skip', '--force'])).toMatchObject({ examples: 3 });
  });

  it('is refused when its completion alone is too long', async () => {
    const path = writeJsonl(at('endless.jsonl'), [...good, endless]);
    const error = await leavingNothing(() => refusal(buildArgs(path, out, '--long', 'truncate')));
    expect(error).toMatchObject({ code: 'example-too-long', exit: 3 });
    expect(error.message).toContain('completion');
    const scoring = await refusal(['score', '--model', LLAMA, '--data', path, '--backend', 'wasm']);
    expect(scoring).toMatchObject({ code: 'example-too-long', exit: 3 });
    const gated = await refusal(['score', '--model', LLAMA, '--pool', pool, '--data', path, '--backend', 'wasm']);
    expect(gated).toEqual(scoring);
  });

  it('loses the front of its prompt in score', async () => {
    expect(await document(['score', '--model', LLAMA, '--data', path, '--backend', 'wasm'])).toMatchObject({
      examples: 13,
    });
  });

  it('leaves too few for blend when they are skipped', async () => {
    const few = writeJsonl(at('few.jsonl'), [long, long, good[0]]);
    const args = ['blend', '--pool', pool, '--examples', few, '--out', out, '--long', 'skip'];
    const error = await leavingNothing(() => refusal(args));
    expect(error).toMatchObject({ code: 'examples-count', exit: 3 });
    expect(error.message).toContain('1 examples of at most 64 tokens, 2 were skipped');
  });

  it('that has no tokens for this tokenizer is refused where it must be embedded', async () => {
    const model = copyOf(LLAMA, at('deaf'));
    editJson<{ normalizer: unknown }>(join(model, 'tokenizer.json'), (tokenizer) => {
      tokenizer.normalizer = { type: 'Replace', pattern: { String: '~' }, content: '' };
    });
    const plain = ['--model', model, '--prompt-form', 'plain']; // a conversation always has the template's own tokens
    await succeed(buildArgs(at('train.jsonl'), at('deaf-pool'), ...plain));
    const silent = writeJsonl(at('silent.jsonl'), [...good, { prompt: '~~', completion: ' yes' }]);
    const building = await leavingNothing(() => refusal(buildArgs(silent, out, ...plain)));
    expect(building).toMatchObject({ code: 'example-invalid', exit: 3 });
    expect(building.message).toContain('silent:12');
    const args = ['blend', '--pool', at('deaf-pool'), '--examples', silent, '--out', out];
    expect(await leavingNothing(() => refusal(args))).toEqual(building);
    const score = ['score', '--model', model, '--data', silent, '--backend', 'wasm'];
    expect(await refusal([...score, '--pool', at('deaf-pool')])).toEqual(building);
    expect(await document(score)).toMatchObject({ examples: 13 });
  });

  it('leaves nothing to train on when all are skipped', async () => {
    const only = writeJsonl(at('only.jsonl'), [long, long, long]);
    const error = await leavingNothing(() => refusal(buildArgs(only, out, '--long', 'skip')));
    expect(error).toMatchObject({ code: 'dataset-too-small', exit: 3 });
    expect(error.message).toContain('all 3 training examples are longer than 64 tokens');
  });
});
