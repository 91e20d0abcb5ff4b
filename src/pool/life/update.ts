/**
 * One cluster of a pool gets another adapter, trained on new data here or elsewhere, and another centroid. Its id stays, its version
 * tells its coefficients apart; all other members stay byte for byte.
 */

import { join } from 'node:path';
import type { Example } from '../../data/dataset.js';
import { removePath } from '../../files/io.js';
import { isJsonObject } from '../../files/json.js';
import type { BaseModel } from '../../hf/base-model.js';
import { fittingModules } from '../../train/adapter-lora.js';
import { TRAIN_DEFAULTS, type TrainSettings } from '../../train/settings.js';
import { buildPool } from '../build.js';
import { poolSpace, refuseOtherBase } from '../embed/space.js';
import { BUILD_DEFAULTS, type BuildHooks } from '../inputs.js';
import { openPool, type Pool, poolForm, poolTemplate } from '../pool.js';
import { type AdapterToAdd, type AddOptions, type PoolChanged, refuseGeneral, standardsNotice } from './add.js';
import { admissionOf, admitAdapter } from './admit.js';
import { placeByEnergy, placeExamples } from './centroid.js';
import { lifeOf } from './record.js';
import { refuseUnknown } from './remove.js';
import { changing, nextLife, restOf, slotsOf, writeSlots } from './slots.js';

/**
 * @param adapter what takes the place; with `examples: null` it is found by itself, through the probes
 * @throws CrayonError as `addToPool`, and `bad-option` for an id that the pool does not have
 */
export function updateCluster(
  dir: string,
  source: BaseModel,
  id: number,
  adapter: AdapterToAdd,
  options: AddOptions = {},
): Promise<PoolChanged> {
  return changing(dir, async (pool) => {
    refuseOtherBase(pool, source, options.anyBase);
    refuseUnknown(pool, [id]);
    refuseGeneral(pool, 'an adapter that was trained without it');
    const admission = admissionOf(pool.manifest, source, poolTemplate(pool), options.anyBase);
    const admitted = admitAdapter(adapter.dir, admission);
    const members = pool.openMembers();
    try {
      const slots = slotsOf(pool);
      const n = slots.findIndex((slot) => slot.id === id);
      const all = members.map((member, i) => (i === n ? admitted.adapter : member));
      fittingModules(all, source);
      const tokenizer = source.tokenizer();
      const form = poolForm(pool, tokenizer, source.path);
      const place = { space: poolSpace(pool), source, tokenizer, form, forward: options.forward ?? {} };
      const { examples } = adapter;
      const placed =
        examples === null
          ? (await placeByEnergy(place, all, [n], options.probes ?? [], options.onProgress))[0]!
          : await placeExamples(place, examples, `examples of cluster ${id}`);
      const life = nextLife(pool);
      const { r, loraAlpha } = admitted.adapter.config;
      const { source: _, ...before } = slots[n]!;
      slots[n] = {
        ...before,
        ...placed,
        changed: life.version,
        gate: examples === null ? 'adapter' : 'data',
        adapter: { r, loraAlpha },
        put: admitted.put,
      };
      const manifest = writeSlots(
        dir,
        {
          manifest: { ...restOf(pool), silhouette: null, standards: undefined },
          slots,
          life,
          space: pool,
          beside: dir,
        },
        { replaces: true },
      );
      return { manifest, ids: [id], notices: [...admitted.notices, ...standardsNotice(pool)] };
    } finally {
      for (const member of members) member.close();
      admitted.adapter.close();
    }
  });
}

export interface RetrainOptions {
  model: string;
  data: string[];
  dataDir?: string | undefined;
  split?: string | undefined;
  limit?: number | undefined;
  epochs?: number | undefined;
  learningRate?: number | undefined;
  seed: number;
}

/**
 * Trains one adapter alone on new data, of the rank, targets and settings of the member whose place it takes, then puts it there. What is
 * trained is kept beside the pool until it is in it: a training that was stopped goes on.
 *
 * @param examples of the data, for the centroid
 */
export async function retrainCluster(
  dir: string,
  source: BaseModel,
  id: number,
  examples: readonly Example[],
  options: RetrainOptions,
  { building = {}, ...hooks }: AddOptions & { building?: BuildHooks } = {},
): Promise<PoolChanged> {
  const pool = openPool(dir);
  refuseOtherBase(pool, source, hooks.anyBase);
  refuseUnknown(pool, [id]);
  refuseGeneral(pool, 'one that is trained alone');
  const n = lifeOf(pool.manifest).members.findIndex((member) => member.id === id);
  const out = `${dir.replace(/[\\/]+$/, '')}.cluster-${id}`;
  const { r, loraAlpha } = pool.manifest.adapters[n]!;
  const { model, data, dataDir, split, limit, seed } = options;
  const { maxLength, prompt } = { maxLength: pool.manifest.training.maxLength, prompt: pool.manifest.prompt };
  await buildPool(
    {
      ...BUILD_DEFAULTS,
      ...{ model, data, dataDir, split, limit, seed, out, r },
      clusters: 1,
      mode: 'independent',
      // the trained adapter is placed in the pool's own space afterwards
      embedding: 'tfidf',
      centred: false,
      promptForm: prompt?.form ?? 'plain',
      system: prompt?.system,
      targets: targetsOf(pool, n),
      maxLength: typeof maxLength === 'number' ? maxLength : undefined,
      long: 'truncate',
      training: trainingOf(pool, loraAlpha, options),
      force: true,
    },
    building,
  );
  const changed = await updateCluster(dir, source, id, { dir: join(out, 'adapters', '0'), examples }, hooks);
  removePath(out);
  return changed;
}

/** The projections that the member has, whatever made it. */
function targetsOf(pool: Pool, n: number): string[] {
  const adapter = pool.openAdapter(n);
  adapter.close();
  return [...new Set(adapter.modules.map(({ name }) => name.split('.').at(-1)!))].sort();
}

/** As the pool was trained; what an imported pool does not say is crayon's default. */
function trainingOf(
  { manifest }: Pool,
  loraAlpha: number,
  { epochs, learningRate, seed }: RetrainOptions,
): TrainSettings {
  const { training } = manifest;
  const known = Object.fromEntries(
    Object.entries(TRAIN_DEFAULTS).map(([key, preset]) => {
      const value = training[key];
      const isUsable = typeof value === typeof preset && (typeof preset !== 'object' || isJsonObject(value));
      return [key, isUsable ? value : preset];
    }),
  ) as TrainSettings;
  return {
    ...known,
    loraAlpha,
    seed,
    ...(epochs === undefined ? {} : { epochs }),
    ...(learningRate === undefined ? {} : { learningRate }),
  };
}
