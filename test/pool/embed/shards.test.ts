/** Shards on disk: the rows of one matrix, written once, whatever is killed or damaged. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { meanRows } from '../../../src/core/vector.js';
import { ShardedRows, shardStage, writeShards } from '../../../src/pool/embed/shards.js';
import { centreRows } from '../../../src/pool/embed/space.js';
import { clusterInBatches } from '../../../src/pool/mini-batch.js';
import { stageFile } from '../../../src/pool/work-directory.js';
import { ROOT, scratch, TSX } from '../../e2e/helpers.js';
import { blobs } from '../../helpers/blobs.js';

const dir = scratch();
let count = 0;

/** Writes the rows of a matrix, of which a prompt names one; gives the sizes of the shards that were embedded. */
async function write({ data, n, d }: ReturnType<typeof blobs>, rows: number, into?: string, others = 0) {
  const place = into ?? join(dir, String(count++));
  mkdirSync(place, { recursive: true });
  const embedded: number[] = [];
  const prompts = Array.from({ length: n }, (_, i) => Int32Array.of(i, ...(i < others ? [1] : [])));
  await writeShards({
    ...{ dir: place, prompts, d, rows },
    embed: (some) => {
      embedded.push(some.length);
      return Float32Array.from(some.flatMap(([i]) => [...data.subarray(i! * d, (i! + 1) * d)]));
    },
  });
  return { place, embedded, source: new ShardedRows(place, n, d, rows) };
}

const read = (source: ShardedRows, first: number, rows: number) => {
  const target = new Float32Array(rows * source.d);
  source.read(first, rows, target);
  return target;
};

describe('shards', () => {
  const points = blobs(4, 25, 6, 0.5);

  it('are the rows of the whole, across their borders, and have its mean', async () => {
    const { source, embedded } = await write(points, 16);
    expect(embedded).toEqual([16, 16, 16, 16, 16, 16, 4]);
    expect(read(source, 0, 100)).toEqual(points.data);
    expect(read(source, 15, 50)).toEqual(points.data.slice(15 * 6, 65 * 6));
    expect(source.mean()).toEqual(meanRows(points.data, 100, 6));
    const mean = Float32Array.from(source.mean());
    source.centre = mean;
    const centred = points.data.slice();
    centreRows(centred, mean);
    expect(read(source, 3, 90)).toEqual(centred.slice(3 * 6, 93 * 6));
    source.dispose();
  });

  it('are not embedded again, but for those that are missing, damaged or of other examples', async () => {
    const { place } = await write(points, 16);
    expect((await write(points, 16, place)).embedded).toEqual([]);
    truncateSync(stageFile(place, shardStage(6)), 100);
    expect((await write(points, 16, place)).embedded).toEqual([4]);
    expect((await write(points, 16, place, 17)).embedded).toEqual([16, 16]);
    expect((await write(points, 20, place)).embedded).toEqual([20, 20, 20, 20, 20]);
  });

  it('stay where the work is stopped between two of them', async () => {
    const place = join(dir, String(count++));
    mkdirSync(place);
    const prompts = Array.from({ length: 9 }, (_, i) => Int32Array.of(i));
    const job = { dir: place, prompts, d: 1, rows: 4, embed: () => new Float32Array(4) };
    const pause = async () => {
      throw new Error('stopped');
    };
    await expect(writeShards({ ...job, pause })).rejects.toThrow('stopped');
    expect([0, 1].map((i) => existsSync(stageFile(place, shardStage(i))))).toEqual([true, false]);
  });

  it('give the same clusters whatever their size', async () => {
    const many = blobs(12, 500, 8, 0.9);
    const of = async (rows: number) => clusterInBatches((await write(many, rows)).source, { clusters: 7, seed: 1 });
    expect(await of(777)).toEqual(await of(6000));
  });

  it('are clustered in memory that does not grow with them', () => {
    const peak = (shards: number) => {
      const script = `
        import { mkdirSync } from 'node:fs';
        import { ShardedRows, writeShards } from '${ROOT}/src/pool/embed/shards.ts';
        import { clusterInBatches } from '${ROOT}/src/pool/mini-batch.ts';
        const [dir, d, rows, n] = ['${join(dir, `peak-${shards}`)}', 256, 16_384, ${shards} * 16_384];
        mkdirSync(dir);
        const block = Float32Array.from({ length: rows * d }, (_, i) => Math.sin((i % d) * (1 + (i >> 8) % 3)) / 11);
        const embed = () => block;
        await writeShards({ dir, d, rows, embed, prompts: Array(n).fill(Int32Array.of(1)) });
        const source = new ShardedRows(dir, n, d, rows);
        await clusterInBatches(source, { clusters: 3, seed: 0, threads: 1 });
        console.log(process.resourceUsage().maxRSS);
      `;
      const run = ['--import', TSX, '--input-type=module', '-e', script];
      return Number(execFileSync(process.execPath, run, { encoding: 'utf8', cwd: ROOT })) / 1024;
    };
    // 17 MB a shard: 201 MB more rows, of which full k-means would hold two copies. What lies between is garbage that
    // waits for its collector (0 to 50 MB).
    expect(peak(14) - peak(2)).toBeLessThan(120);
  }, 120_000);
});
