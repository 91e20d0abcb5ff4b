/** Adapters that were trained elsewhere become members of a pool, or a pool of their own. */

import { basename, resolve } from 'node:path';
import { CrayonError } from '../../core/errors.js';
import { meanRows } from '../../core/vector.js';
import type { Example } from '../../data/dataset.js';
import { baseRecord } from '../../hf/adapter-record.js';
import type { BaseModel } from '../../hf/base-model.js';
import { nameForOthers } from '../../hf/base-name.js';
import { choosePromptForm, type PromptForm, promptRecord, type WantedForm } from '../../hf/prompt-form.js';
import type { PeftAdapter } from '../../peft/read.js';
import { fittingModules } from '../../train/adapter-lora.js';
import { rememberBase } from '../base-place.js';
import type { ForwardPass } from '../embed/kind.js';
import { embeddingKind, parseEmbeddingKind } from '../embed/kinds.js';
import { type EmbeddingSpace, embedInSpace, poolSpace, refuseOtherBase } from '../embed/space.js';
import { type Pool, type PoolManifest, poolForm, poolTemplate } from '../pool.js';
import { prepareExamples } from '../prepare.js';
import { keepVocabulary } from '../vocabulary.js';
import { type Admitted, admissionOf, admitAdapter, digestsOf } from './admit.js';
import { type Place, type PlacedCluster, placeByEnergy, placeExamples } from './centroid.js';
import { changing, nextLife, restOf, type Slot, slotsOf, writeSlots } from './slots.js';

export interface AdapterToAdd {
  /** a PEFT directory */
  dir: string;
  /** of what it is for; null: it is found by itself, through the probes */
  examples: readonly Example[] | null;
}

export interface AddOptions {
  /** prompts by which adapters without examples are found; answers are not read */
  probes?: readonly Example[] | undefined;
  anyBase?: boolean | undefined;
  forward?: ForwardPass | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface PoolChanged {
  manifest: PoolManifest;
  /** what came or was made anew */
  ids: number[];
  /** what the user should know */
  notices: string[];
}

/**
 * Adds adapters to a pool. The others stay byte for byte, with their ids and centroids.
 *
 * @throws CrayonError `pool-mismatch` for another base model, `pool-invalid` for a pool whose members stand on a general adapter, what
 *   admitting an adapter and placing it throw; the pool then is what it was
 */
export function addToPool(
  dir: string,
  source: BaseModel,
  added: readonly AdapterToAdd[],
  options: AddOptions = {},
): Promise<PoolChanged> {
  return changing(dir, async (pool) => {
    refuseOtherBase(pool, source, options.anyBase);
    refuseGeneral(pool, 'an adapter that was trained without it');
    const admission = admissionOf(pool.manifest, source, poolTemplate(pool), options.anyBase);
    const admitted: Admitted[] = [];
    const present = added.some(({ examples }) => examples === null) ? pool.openMembers() : [];
    try {
      for (const { dir } of added) admitted.push(admitAdapter(dir, admission));
      fittingModules([...present, ...admitted.map(({ adapter }) => adapter)], source);
      const tokenizer = source.tokenizer();
      const form = poolForm(pool, tokenizer, source.path);
      const place = { space: poolSpace(pool), source, tokenizer, form, forward: options.forward ?? {} };
      const placed = await placeAll(place, added, admitted, present, options);
      const next = nextLife(pool);
      const slots = newSlots(added, admitted, placed, next);
      const manifest = writeSlots(
        dir,
        {
          manifest: { ...restOf(pool), standards: undefined },
          slots: [...slotsOf(pool), ...slots],
          life: { ...next, nextId: next.nextId + slots.length },
          space: pool,
          beside: dir,
        },
        { replaces: true },
      );
      const notices = [...admitted.flatMap(({ notices }) => notices), ...standardsNotice(pool)];
      return { manifest, ids: slots.map(({ id }) => id), notices };
    } finally {
      for (const adapter of [...present, ...admitted.map(({ adapter }) => adapter)]) adapter.close();
    }
  });
}

/** Standards are of all clusters at once: with another cluster they are to be measured again. */
export function standardsNotice({ manifest, dir }: Pool): string[] {
  if (manifest.standards === undefined) return [];
  return [
    `What the pool kept of its own examples (for --standardise and label-evidence) was of other clusters and is gone: crayon measure-pool --pool ${dir} measures it again.`,
  ];
}

export function refuseGeneral({ dir, manifest }: Pool, what: string): void {
  if (manifest.general === undefined) return;
  throw new CrayonError(
    'pool-invalid',
    `${dir}: its members were trained on top of a general adapter; ${what} would not fit them`,
    {
      hint: 'Put it into a pool without one: crayon pool import NEW DIRECTORY... --model BASE.',
    },
  );
}

/** Centroids in the order of `added`. */
async function placeAll(
  place: Place,
  added: readonly AdapterToAdd[],
  admitted: readonly Admitted[],
  present: readonly PeftAdapter[],
  { probes, onProgress }: AddOptions,
): Promise<PlacedCluster[]> {
  const without = [...added.keys()].filter((i) => added[i]!.examples === null);
  if (without.length > 0 && probes === undefined) {
    const names = without.map((i) => added[i]!.dir).join(', ');
    throw new CrayonError('bad-option', `${names}: neither examples nor prompts to find it by`, {
      hint: 'Give --examples FILE of what it is for, or --probes FILE: unlabelled prompts of all the kinds that users ask.',
    });
  }
  const all = [...present, ...admitted.map(({ adapter }) => adapter)];
  const wanted = without.map((i) => present.length + i);
  const found = without.length === 0 ? [] : await placeByEnergy(place, all, wanted, probes!, onProgress);
  const placed: PlacedCluster[] = [];
  for (const { dir, examples } of added) {
    placed.push(examples === null ? found.shift()! : await placeExamples(place, examples, `examples of ${dir}`));
  }
  return placed;
}

function newSlots(
  added: readonly AdapterToAdd[],
  admitted: readonly Admitted[],
  placed: readonly PlacedCluster[],
  { version, nextId }: { version: number; nextId: number },
): Slot[] {
  return admitted.map(({ adapter, put }, i): Slot => {
    const { r, loraAlpha } = adapter.config;
    const { dir, examples } = added[i]!;
    const id = nextId + i;
    const gate = examples === null ? 'adapter' : 'data';
    const source = basename(resolve(dir));
    return { id, since: version, changed: version, gate, source, ...placed[i]!, adapter: { r, loraAlpha }, put };
  });
}

export interface BeginOptions extends AddOptions, WantedForm {
  embedding: string;
  centred: boolean;
  tau: number;
  force: boolean;
}

/**
 * A pool of nothing but adapters. What its space needs of a training set (frequencies, a mean) is taken from all the prompts that are
 * given: the examples and the probes.
 *
 * @throws CrayonError `output-exists`, and what `addToPool` throws
 */
export async function beginPool(
  out: string,
  source: BaseModel,
  added: readonly AdapterToAdd[],
  options: BeginOptions,
): Promise<PoolChanged> {
  const tokenizer = source.tokenizer();
  const form = choosePromptForm(tokenizer, options, source.path);
  const { config, path } = source;
  const baseName = nameForOthers(path);
  const digests = digestsOf(source);
  const prompt = promptRecord(form);
  const template = form.kind === 'chat' ? tokenizer.chatTemplate : null;
  const admitted: Admitted[] = [];
  try {
    for (const { dir } of added) {
      admitted.push(admitAdapter(dir, { base: source, baseName, prompt, template, anyBase: options.anyBase }));
    }
    const corpus = [...added.flatMap(({ examples }) => examples ?? []), ...(options.probes ?? [])];
    const forward = options.forward ?? {};
    const space = await fittedSpace({ source, tokenizer, form, forward }, corpus, options);
    const placed = await placeAll({ space, source, tokenizer, form, forward }, added, admitted, [], options);
    const slots = newSlots(added, admitted, placed, { version: 1, nextId: 0 });
    const manifest = writeSlots(
      out,
      {
        manifest: {
          format: 'crayon-pool',
          base: { name: baseName, modelType: config.modelType, hiddenSize: config.hiddenSize, ...baseRecord(digests) },
          embedding: { kind: space.kind, centred: space.mean !== null, dim: space.d },
          prompt,
          seed: 0,
          tau: options.tau,
          training: {},
          data: [],
          silhouette: null,
        },
        slots,
        life: { version: 1, nextId: slots.length, removed: [], earlier: [] },
        space,
        beside: null,
      },
      { replaces: false, force: options.force },
    );
    keepVocabulary(out, source, digests.tokenizerDigest);
    if (baseName !== path) rememberBase(digests.digest, path);
    return { manifest, ids: slots.map(({ id }) => id), notices: admitted.flatMap(({ notices }) => notices) };
  } finally {
    for (const { adapter } of admitted) adapter.close();
  }
}

async function fittedSpace(
  { source, tokenizer, form, forward }: Omit<Place, 'space'> & { form: PromptForm },
  corpus: readonly Example[],
  { embedding, centred }: BeginOptions,
): Promise<EmbeddingSpace> {
  const { name } = parseEmbeddingKind(embedding, source.config.numLayers);
  const { kind } = embeddingKind(name);
  const { maxPositionEmbeddings: maxLength, vocabSize } = source.config;
  const how = { maxLength, long: 'truncate', form, addEnd: false, vocabSize } as const;
  const prompts = prepareExamples(corpus, tokenizer, how).examples.map(({ promptIds }) => promptIds);
  const d = kind.size(source.config);
  if (kind.needs !== 'forward pass' && kind.fit !== undefined) {
    return { kind: name, d, mean: null, idf: kind.fit(prompts, vocabSize) };
  }
  const space: EmbeddingSpace = { kind: name, d, mean: null, idf: null };
  if (!centred) return space;
  const bosId = tokenizer.addsBos ? tokenizer.bosId : null;
  const rows = await embedInSpace(space, source, prompts, { ...forward, bosId });
  return { ...space, mean: Float32Array.from(meanRows(rows, prompts.length, d)) };
}
