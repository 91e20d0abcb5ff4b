/**
 * A build's plan: what `prepare` leaves in the shared directory, so that each cluster's adapter can be trained by itself, anywhere, as a
 * function of the plan and the cluster's number alone. The directory is the build's work directory (`<pool>.building`):
 *
 *     run.json                           fingerprint of all inputs
 *     clusters.safetensors, ...          the stages before the training
 *     plan.json                          options, base model, for each cluster its size and its fingerprint; written last
 *     units/<k>/examples.safetensors     of mode separate: token ids of cluster k
 *     units/<k>/result.safetensors       its adapter, the loss of every step, the losses before and after
 *     units/joint/                       checkpoints of the joint phase, when all clusters are there
 *     trained.safetensors                of the other modes: all adapters are trained
 */

import { join, resolve } from 'node:path';
import * as z from 'zod';
import { CrayonError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { threadShare } from '../../core/threads.js';
import { sha256, sha256File } from '../../files/digest.js';
import { exists } from '../../files/io.js';
import { type JsonObject, readJsonObject, writeJson } from '../../files/json.js';
import { CRAYON_VERSION } from '../../files/package.js';
import { checked, sha256Text, text, whole } from '../../files/schema.js';
import { BACKENDS } from '../../model/names.js';
import { TrainingPlan } from '../../train/plan.js';
import { flatOf, startsOf } from '../flat-lists.js';
import { type BuildPoolOptions, jointSettings, settingsOf, TRAINING_MODES } from '../inputs.js';
import { isPoolDirectory } from '../pool.js';
import type { Build, Staged } from '../stages.js';
import { saveStage, stageFile, workPath } from '../work-directory.js';

const FILE = 'plan.json';
const FORMAT = 'crayon-build-plan';
/** Raised whenever an older crayon would train something else from the same plan. */
const VERSION = 2;

const UNIT = z.object({
  examples: whole(0),
  tokens: whole(0),
  /** updates of its training */
  steps: whole(0),
  /** of its examples.safetensors */
  sha256: sha256Text,
  /** of all that its adapter depends on */
  fingerprint: sha256Text,
});

/** Parts in which batches are read; null with a trainer of its own mind. */
const MICRO = z.object({ rows: whole(1), recomputes: z.boolean() }).nullable();

const PLAN = z.object({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  createdBy: text,
  mode: z.enum(TRAINING_MODES),
  /** clusters */
  N: whole(1),
  base: z.object({ name: text, digest: sha256Text, tokenizerDigest: sha256Text }),
  sources: z.array(z.object({ path: text, sha256: sha256Text, examples: whole(0) })),
  /** in which workers compute, where they are told nothing else */
  backend: z.enum(['auto', ...BACKENDS]),
  /** with which each unit computes, whatever its machine has: sums over threads are rounded by how many there are */
  threads: whole(1),
  micro: MICRO,
  /** BuildPoolOptions with absolute paths, where this machine has them */
  options: z.looseObject({ model: text, data: z.array(text), out: text }),
  /** one for each cluster in mode separate; none where all are trained together */
  units: z.array(UNIT),
  /** what follows when all units are done; null where nothing does */
  joint: z
    .object({
      /** updates of its training */
      steps: whole(1),
      micro: MICRO,
      /** of all that its adapters depend on */
      fingerprint: sha256Text,
    })
    .nullable(),
});

type PlanFile = z.output<typeof PLAN>;
export interface BuildPlanFile extends Omit<PlanFile, 'options'> {
  options: BuildPoolOptions;
}

export const planPath = (out: string): string => join(workPath(out), FILE);
export const jointPath = (out: string): string => join(workPath(out), 'units', 'joint');
export const unitPath = (out: string, k: number): string => join(workPath(out), 'units', String(k));

/** What a unit's examples are kept as; `evaluated` are places among them. */
export const EXAMPLES = 'examples';
export const EXAMPLE_ARRAYS = { ids: 'I32', idStarts: 'I32', promptLengths: 'I32', evaluated: 'I32' } as const;

/**
 * Writes what is missing of the plan; one of the same inputs that is there already stays, with the parts in which it reads batches. Another
 * joint phase than it had takes the place of that one: the clusters know nothing of it.
 *
 * @param backend in which workers compute
 */
export function writePlan(build: Build, staged: Staged, backend: PlanFile['backend']): BuildPlanFile {
  const { inputs } = build;
  const options = withPlaces(build.options);
  const { out } = options;
  if (exists(planPath(out))) {
    const plan = readPlan(out);
    return isSame(plan.options.joint, options.joint) ? plan : kept(out, withJoint({ ...plan, options }, build));
  }
  const common: PlanWithoutUnits = {
    format: FORMAT,
    version: VERSION,
    createdBy: `crayon ${CRAYON_VERSION}`,
    mode: options.mode,
    N: staged.clustering.k,
    base: { name: inputs.baseName, digest: inputs.modelDigest, tokenizerDigest: inputs.tokenizerDigest },
    sources: inputs.sources,
    backend,
    threads: threadShare(),
    micro: partsOfBatches(build),
    options,
  };
  const units = options.mode === 'separate' ? staged.members.map((_, k) => writeUnit(common, build, staged, k)) : [];
  return kept(out, withJoint({ ...common, units }, build));
}

function kept(out: string, plan: BuildPlanFile): BuildPlanFile {
  writeJson(planPath(out), plan);
  return plan;
}

const isSame = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);

const partsOfBatches = ({ micro }: Build): BuildPlanFile['micro'] =>
  micro === undefined ? null : { rows: micro.rows, recomputes: micro.recomputes };

/** The plan of the clusters with what follows them. */
function withJoint(plan: Omit<BuildPlanFile, 'joint'>, build: Build): BuildPlanFile {
  const { joint, training } = plan.options;
  if (joint === undefined) return { ...plan, joint: null };
  const lengths = build.inputs.examples.map(({ ids }) => ids.length);
  const steps = new TrainingPlan(lengths, jointSettings(training, joint)).totalSteps;
  const micro = partsOfBatches(build);
  return { ...plan, joint: { steps, micro, fingerprint: jointFingerprint(plan, micro) } };
}

/** Whether a plan is of these very options, so that it need not be made again; what they name may have changed. */
export function isPlanOf({ options }: BuildPlanFile, wanted: BuildPoolOptions): boolean {
  const words = (all: BuildPoolOptions) => {
    const { model, data, dataDir, joint } = withPlaces(all);
    return JSON.stringify({
      ...settingsOf(all),
      joint,
      model,
      data,
      dataDir,
      form: all.promptForm,
      system: all.system,
    });
  };
  return words(options) === words(wanted);
}

function withPlaces(options: BuildPoolOptions): BuildPoolOptions {
  const { model, data, dataDir, out } = options;
  return {
    ...options,
    model: resolve(model),
    data: data.map((path) => resolve(path)),
    ...(dataDir !== undefined && { dataDir: resolve(dataDir) }),
    out: resolve(out),
    fresh: false,
  };
}

/** A plan but for its units, and what they come to. */
type PlanWithoutUnits = Omit<BuildPlanFile, 'units' | 'joint'>;

function writeUnit(plan: PlanWithoutUnits, { inputs, options }: Build, staged: Staged, k: number) {
  const members = staged.members[k]!;
  const places = new Map(members.map((i, place) => [i, place]));
  const examples = members.map((i) => inputs.examples[i]!);
  const ids = examples.map((example) => example.ids);
  const lengths = ids.map(({ length }) => length);
  const dir = unitPath(options.out, k);
  saveStage(dir, EXAMPLES, {
    ids: flatOf(ids),
    idStarts: startsOf(ids),
    promptLengths: Int32Array.from(examples, ({ promptLength }) => promptLength),
    evaluated: Int32Array.from(staged.samples[k]!, (i) => places.get(i)!),
  });
  const digest = sha256File(stageFile(dir, EXAMPLES));
  return {
    examples: members.length,
    tokens: lengths.reduce((a, b) => a + b, 0),
    steps: members.length === 0 ? 0 : new TrainingPlan(lengths, options.training).totalSteps,
    sha256: digest,
    fingerprint: unitFingerprint(plan, k, digest),
  };
}

/** Everything that the adapter of cluster k depends on, but for the machine. */
export function unitFingerprint(plan: PlanWithoutUnits, k: number, examples: string): string {
  const { version, createdBy, base, threads, micro, options } = plan;
  const of = {
    version,
    createdBy,
    base: base.digest,
    threads,
    micro,
    settings: settingsOf(options),
    cluster: k,
    examples,
  };
  return sha256(JSON.stringify(of));
}

/** Likewise the joint phase: on all clusters' adapters, on the mixtures, and on its settings. */
function jointFingerprint(plan: Omit<BuildPlanFile, 'joint'>, micro: BuildPlanFile['micro']): string {
  const { options, units, sources } = plan;
  const { joint, training, tau } = options;
  return sha256(
    JSON.stringify({
      units: units.map(({ fingerprint }) => fingerprint),
      sources: sources.map(({ sha256 }) => sha256),
      settings: joint && jointSettings(training, joint),
      tau,
      micro,
    }),
  );
}

/**
 * The plan of a pool that is being built.
 *
 * @throws CrayonError `file-not-found` where nothing was prepared, `plan-invalid` for one of another version or that was changed
 */
export function readPlan(out: string): BuildPlanFile {
  const path = planPath(out);
  if (!exists(path)) {
    const finished = isPoolDirectory(out) ? '; there is a finished pool' : '';
    throw new CrayonError('file-not-found', `${path}: no plan of a build${finished}`, {
      hint: 'Run `crayon build-pool prepare` first, with this --pool, where this machine sees it.',
    });
  }
  const json = readJsonObject(path, LIMITS.manifestBytes);
  refuseOtherVersion(path, json);
  const plan = checked(PLAN, json, { where: path, code: 'plan-invalid', hint: AGAIN });
  const options = revived(plan.options as unknown as BuildPoolOptions);
  const found = { ...plan, options: { ...options, out } };
  const wrong = plan.units.findIndex(({ sha256, fingerprint }, k) => unitFingerprint(found, k, sha256) !== fingerprint);
  const { joint } = plan;
  const expected = options.joint && jointFingerprint(found, joint?.micro ?? null);
  const isOther = joint?.fingerprint !== expected;
  if (wrong !== -1 || isOther || (plan.mode === 'separate' && plan.units.length !== plan.N)) {
    throw new CrayonError('plan-invalid', `${path}: was changed since it was written`, { hint: AGAIN });
  }
  return found;
}

const AGAIN = 'Run `crayon build-pool prepare` again, with --fresh.';

function refuseOtherVersion(path: string, { format, version, createdBy }: JsonObject): void {
  if (format !== FORMAT) throw new CrayonError('plan-invalid', `${path}: is not a plan of a build`, { hint: AGAIN });
  const ours = `crayon ${CRAYON_VERSION}`;
  if (version === VERSION && createdBy === ours) return;
  throw new CrayonError('plan-invalid', `${path}: version ${version} by ${createdBy}, expected ${VERSION} by ${ours}`, {
    hint: 'Use one version of crayon on all machines of a build; or run `crayon build-pool prepare` again with this one and --fresh.',
  });
}

/** JSON has no infinity. */
function revived(options: BuildPoolOptions): BuildPoolOptions {
  const { training } = options;
  const { adamw } = training;
  return { ...options, training: { ...training, adamw: { ...adamw, clipNorm: adamw.clipNorm ?? Infinity } } };
}
