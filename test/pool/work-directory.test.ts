import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { discardWork, WorkDirectory, workPath } from '../../src/pool/work-directory.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

const INPUTS = { seed: 7 };

/** A work directory with the stage `clusters`, as a continued run opens it. */
function continued(): WorkDirectory {
  const path = join(temporaryDir(), 'pool.building');
  const first = new WorkDirectory(path, INPUTS, false);
  first.save('clusters', { centroids: Float32Array.of(0.5, -1), assignment: Int32Array.of(1, 0, 1) });
  first.release();
  return new WorkDirectory(path, INPUTS, false);
}

describe('a stage of a work directory', () => {
  it('is read as it was kept', () => {
    const work = continued();
    expect(work.resumed).toBe(true);
    expect(work.load('clusters', { centroids: 'F32', assignment: 'I32' })).toEqual({
      centroids: Float32Array.of(0.5, -1),
      assignment: Int32Array.of(1, 0, 1),
    });
    expect(work.load('training', { losses: 'F32' })).toBeUndefined();
  });

  it.each([
    ['lacks an array', { centroids: 'F32', silhouette: 'F64' }, 'has no tensor "silhouette"'],
    ['has one of another type', { assignment: 'F32' }, '"assignment" is I32, expected F32'],
  ] as const)('that %s is refused with the file and a way out', (_, dtypes, problem) => {
    const work = continued();
    const error = errorOf(() => work.load('clusters', dtypes));
    expect(error).toMatchObject({ code: 'safetensors-invalid' });
    expect(error.message).toBe(`${join(work.path, 'clusters.safetensors')}: ${problem}`);
    expect(error.hint).toContain('--fresh');
  });
});

it('goes with the next run where its own was killed after the pool had appeared', () => {
  const pool = join(temporaryDir(), 'pool');
  new WorkDirectory(workPath(pool), { run: 1 }, false).save('clusters', { a: Float32Array.of(1) });
  discardWork(pool);
  expect(readdirSync(dirname(pool))).toEqual([]);
  discardWork(pool); // nothing is there
});
