/** What a strategy is given: the small bench of bench-setup.ts with its pool built, and its cells planned. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { benchConfig } from '../../src/bench/config.js';
import { planRun } from '../../src/bench/plan.js';
import { PoolStore } from '../../src/bench/pools.js';
import { BenchRunDirectory } from '../../src/bench/run-directory.js';
import type { BenchContext } from '../../src/bench/strategies/strategy.js';
import type { RunManifest } from '../../src/bench/types.js';
import { drawExamples, loadBenchTask, readTrainingSet } from '../../src/bench/users.js';
import { HfModel } from '../../src/hf/model.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { chooseBackend, releaseBackend } from '../../src/model/backend.js';
import { LlamaModel } from '../../src/model/llama.js';
import { writeSetup } from './bench-setup.js';
import { temporaryRoot } from './files.js';
import { fixture } from './fixtures.js';

/** @param change of the configuration; that of its pool is a change too */
export async function openBenchContext({ pool, ...change }: Record<string, unknown>) {
  const dir = temporaryRoot();
  await chooseBackend('wasm');
  const setup = writeSetup(join(dir, 'setup'), change).config;
  const config = benchConfig({ ...setup, pool: { ...(setup.pool as object), ...(pool as object) } }, 'bench.yaml');
  const model = fixture('models', 'llama');
  const source = HfModel.open(model);
  const base = { source, model: new LlamaModel(source), tokenizer: loadTokenizer(model) };
  const training = readTrainingSet(config);
  const { users: planned, cells } = planRun(config).seeds[0]!;
  const users = planned.map((user) =>
    drawExamples(
      user,
      user.taskPaths.map((path) => loadBenchTask(path, config, training)),
      config,
    ),
  );
  const pools = new PoolStore(config, training, source.digest(), join(dir, 'work'));
  await pools.ensure(config.pool, {});
  const context: BenchContext = {
    config,
    base,
    server: () => base,
    pools,
    training,
    users,
    manifest: {} as RunManifest,
    directory: new BenchRunDirectory(join(dir, 'run')),
    signal: new AbortController().signal,
    onProgress: () => {},
  };
  const close = () => {
    context.directory.release();
    base.model.dispose();
    source.close();
    releaseBackend();
    rmSync(dir, { recursive: true });
  };
  const cellOf = (user: string, strategy: string) =>
    cells.find((cell) => cell.user.info.name === user && cell.strategy === strategy);
  const userOf = (name: string) => users.find(({ info }) => info.name === name)!;
  return { context, cellOf, userOf, pool: pools.path(config.pool), close };
}
export type OpenContext = Awaited<ReturnType<typeof openBenchContext>>;
