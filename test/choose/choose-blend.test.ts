import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { blendPool } from '../../src/blend/blend-pool.js';
import { CANDIDATES, trainedCandidates } from '../../src/choose/candidates.js';
import { type ChooseBlendOptions, chooseBlend } from '../../src/choose/choose-blend.js';
import { type Example, loadDataset } from '../../src/data/dataset.js';
import { releaseBackend } from '../../src/model/backend.js';
import { document, scratch, succeed } from '../e2e/helpers.js';
import { EDGE } from '../helpers/edge-gguf.js';

const ROOT = join(import.meta.dirname, '..', '..');
const POOL = join(ROOT, 'models', 'crayon-edge-pool');
const dir = scratch();
const task = (name: string, count = 10): Example[] =>
  loadDataset(join(ROOT, 'suite', name, 'heldout.jsonl')).examples.slice(0, count);
afterAll(releaseBackend);

/** Enough to choose among, and quickly tried. */
const FEW = ['base', 'nearest', 'similarity', 'per-query'];
const candidates = CANDIDATES.filter(({ name }) => FEW.includes(name));

const choose = (out: string, examples: ChooseBlendOptions['examples'], more: Partial<ChooseBlendOptions> = {}) =>
  chooseBlend({
    pool: POOL,
    examples,
    model: EDGE,
    out: join(dir, out),
    combine: 'cat',
    long: 'error',
    forward: { backend: 'wasm' },
    candidates,
    ...more,
  });
const record = (out: string) => JSON.parse(readFileSync(join(dir, out, 'crayon.json'), 'utf8'));

describe('chooseBlend', () => {
  it('chooses the pool’s adapter for a task of the pool', async () => {
    const { chosen, coefficients, choice, coverage } = await choose('intent', task('intent', 3));
    // the pool's own adapter, alone or with next to nothing of the others
    expect(['similarity', 'nearest']).toContain(chosen.fixed.name);
    expect(coefficients!.indexOf(Math.max(...coefficients!))).toBe(4);
    const found = Object.fromEntries(choice!.candidates.map((one) => [one.name, one]));
    expect(found.base!.difference!).toBeGreaterThan(2 * found.base!.standardError!);
    expect(found.nearest!.right).toBe(3);
    expect(choice!.evidence).toBe('choices');
    expect(coverage!.verdict).toBe('covered');
    expect(record('intent')).toMatchObject({ estimator: chosen.fixed.name, coefficients, choice });
  });

  it('says that examples outside the pool are, and adds nothing to the base model', async () => {
    const { choice, coefficients, coverage, blend } = await choose('swap', task('swap-words', 3));
    expect(choice).toMatchObject({ chosen: 'base', chosenOfAll: 'base', evidence: 'tokens' });
    expect(coefficients).toEqual([0, 0, 0, 0, 0, 0]);
    expect(coverage).toMatchObject({ verdict: 'not-covered', sentence: expect.stringContaining('bare model does as') });
    expect(blend.rank).toBe(1);
  });

  it('sees that a user of two tasks wants the pool per query', async () => {
    const [one, other] = [task('route-farm', 3), task('route-bank', 3)];
    const { chosen, coverage } = await choose('two', [...one, ...other]);
    expect(chosen.ofAll.kind).toBe('per-query');
    expect(chosen.fixed.kind).toBe('fixed');
    expect(coverage!.sentence).not.toContain('outside');
  });

  it('tries nothing after its time and then is the blend by similarity', async () => {
    const { choice, coefficients } = await choose('late', task('intent'), { seconds: 1e-3 });
    const plain = await blendPool({
      pool: POOL,
      examples: task('intent'),
      model: EDGE,
      out: join(dir, 'plain'),
      combine: 'cat',
      long: 'error',
      estimator: 'similarity',
    });
    expect(choice!.candidates.map(({ loss }) => loss)).toEqual(choice!.candidates.map(() => null));
    expect(coefficients).toEqual(plain.coefficients);
  });

  it('tries what is trained where it is asked for, each fold by what the others make, and writes what it chooses', async () => {
    const loraFromBlend = { rank: 4, steps: 3, learningRate: 5e-3 };
    const tried = trainedCandidates({ refine: 1, loraFromBlend }).filter(({ name }) => name === 'lora-from-blend');
    const first = CANDIDATES.filter(({ name }) => ['base', 'similarity'].includes(name));
    const examples = task('route-clinic', 6);
    const { choice, trained, chosen } = await choose('trained', examples, { candidates: [...first, ...tried] });
    const [similarity, base, lora] = choice!.candidates;
    expect(lora).toMatchObject({ name: 'lora-from-blend', loss: expect.any(Number) });
    expect(lora!.loss!).toBeLessThan(Math.min(base!.loss!, similarity!.loss!));
    expect(chosen.fixed.name).toBe('lora-from-blend');
    expect(trained).toMatchObject({ rank: 4, steps: 3, resumed: false });
    expect(record('trained')).toMatchObject({ estimator: 'similarity', combine: 'svd', rank: 4, choice });
  });

  it('goes on with the trainings of a choice that was stopped, to the same bytes', async () => {
    const trained = { loraFromBlend: { rank: 4, steps: 2, checkpointSeconds: 1e-3 } };
    const few = [...CANDIDATES.filter(({ name }) => name === 'similarity'), ...trainedCandidates(trained)];
    const run = (out: string, more: Partial<ChooseBlendOptions> = {}) =>
      choose(out, task('intent', 3), { candidates: few, trained, ...more });
    await run('at once');
    const stop = new AbortController();
    // the first candidate, and a fold of three of the other
    const onTried = (done: number) => done > 1.3 && stop.abort();
    await expect(run('in two', { signal: stop.signal, onTried })).rejects.toMatchObject({ code: 'interrupted' });
    const work = join(dir, 'in two.choice.building');
    expect(readdirSync(work)).toEqual(expect.arrayContaining(['fold-0.safetensors', 'run.json']));
    const other = { ...trained, loraFromBlend: { ...trained.loraFromBlend, steps: 3 } };
    await expect(run('in two', { trained: other })).rejects.toMatchObject({ code: 'checkpoint-mismatch' });
    await run('in two');
    expect(record('in two')).toEqual(record('at once'));
    expect(existsSync(work)).toBe(false);
  });

  it('gives the same bytes for the same examples', async () => {
    const first = await choose('once', task('route-bank', 3));
    const second = await choose('twice', task('route-bank', 3));
    expect(second.blend.digest).toBe(first.blend.digest);
    expect(record('twice')).toEqual(record('once'));
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses %s seconds', async (seconds) => {
    await expect(choose('none', task('intent'), { seconds })).rejects.toMatchObject({ code: 'bad-option' });
  });
});

describe('crayon blend --choose', () => {
  it('shows its table, stores it, and inspect shows it again', async () => {
    const out = join(dir, 'by-command');
    const examples = join(ROOT, 'suite', 'examples', 'bank.jsonl');
    const argv = ['blend', '--pool', POOL, '--model', EDGE, '--examples', examples, '--out', out, '--choose'];
    const { stdout } = await succeed([...argv, '--backend', 'wasm']);
    expect(stdout).toMatch(/the bare model +│ +1\.7\d+ .*2 of 10/);
    expect(stdout).toMatch(/10 of 10 │ +\d+\.\d s │ chosen/);
    const shown = await succeed(['inspect', out]);
    expect(shown.stdout).toMatch(/the bare model +│ +1\.7\d+ .*2 of 10/);
    expect(shown.stdout).toMatch(/10 of 10 │ chosen/);
    const { blend } = await document<{ blend: { choice: { candidates: unknown[] } } }>(['inspect', out]);
    expect(blend.choice.candidates.length).toBeGreaterThan(5);
  });
});
