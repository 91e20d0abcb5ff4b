// npx vitest run test/pool/life/update.test.ts
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadDataset } from '../../../src/data/dataset.js';
import { HfModel } from '../../../src/hf/model.js';
import { chooseBackend, releaseBackend } from '../../../src/model/backend.js';
import { openNetwork } from '../../../src/model/open-network.js';
import { retrainCluster, updateCluster } from '../../../src/pool/life/update.js';
import { openPool } from '../../../src/pool/pool.js';
import { loadAdapterLora } from '../../../src/train/adapter-lora.js';
import { scoreExamples } from '../../../src/train/score-forward.js';
import { EDGE, poolAdapter } from '../../helpers/edge-gguf.js';
import { ROOT } from '../../helpers/fixtures.js';
import { copyOfPool, SHIPPED } from '../../helpers/shipped-pool.js';

const source = HfModel.open(EDGE);
const CLINIC = join(ROOT, 'suite', 'sentiment.yaml');
const weights = (...parts: string[]) => readFileSync(join(...parts, 'adapter_model.safetensors'));

beforeAll(async () => {
  await chooseBackend('auto');
});
afterAll(() => {
  releaseBackend();
  source.close();
});

const untouched = (dir: string, id: number) => {
  for (const other of [0, 1, 2, 3, 4, 5].filter((n) => n !== id)) {
    expect(weights(dir, 'adapters', `${other}`).equals(weights(SHIPPED, 'adapters', `${other}`))).toBe(true);
  }
};

describe('updateCluster', () => {
  it('puts another adapter and centroid in the place of one cluster alone', async () => {
    const dir = copyOfPool();
    const { examples } = loadDataset(CLINIC, { split: 'train', limit: 40 });
    const { manifest } = await updateCluster(dir, source, 3, { dir: poolAdapter(1), examples });
    expect(manifest.life).toMatchObject({ version: 2, nextId: 6 });
    expect(manifest.life!.members.map(({ changed }) => changed)).toEqual([1, 1, 1, 2, 1, 1]);
    expect(weights(dir, 'adapters', '3').equals(weights(SHIPPED, 'adapters', '1'))).toBe(true);
    untouched(dir, 3);
    const [before, after] = [openPool(SHIPPED).centroids, openPool(dir).centroids];
    const changed = [...after.keys()].filter((i) => after[i] !== before[i]).map((i) => Math.floor(i / 3072));
    expect([...new Set(changed)]).toEqual([3]);
  });
});

describe('retrainCluster', () => {
  it('trains one adapter alone on new data, which learns it, and is the same bytes each time', async () => {
    const made = [];
    for (let i = 0; i < 2; i++) {
      const dir = copyOfPool();
      const { examples } = loadDataset(CLINIC, { split: 'train', limit: 128 });
      const how = { model: EDGE, data: [CLINIC], split: 'train', limit: 128, epochs: 3, seed: 0 };
      const { manifest } = await retrainCluster(dir, source, 1, examples, how);
      expect(manifest.adapters[1]).toMatchObject({ dir: 'adapters/1', r: 4, loraAlpha: 8 });
      expect(manifest.clusters[1]).toMatchObject({ size: 128, tasks: { sentiment: 128 } });
      expect(readdirSync(join(dir, '..'))).toEqual(['pool']); // nothing stays of the training
      untouched(dir, 1);
      made.push(dir);
    }
    expect(weights(made[0]!, 'adapters', '1').equals(weights(made[1]!, 'adapters', '1'))).toBe(true);
    const model = openNetwork(source);
    const { examples } = loadDataset(CLINIC, { split: 'test', limit: 30 });
    const score = (dir: string) =>
      scoreExamples({
        model,
        tokenizer: source.tokenizer(),
        examples,
        maxLength: 512,
        lora: loadAdapterLora(dir, source),
      });
    const [trained, before] = [await score(join(made[0]!, 'adapters/1')), await score(poolAdapter(1))];
    model.dispose();
    expect(trained.loss).toBeLessThan(0.5 * before.loss);
  });
});
