/**
 * Makes customisations: a user's examples, or coefficients, to numbers that are kept (record.ts), and those numbers to adapters.
 *
 * As a rule a customisation is the pool's adapters at scales: llama.cpp has them in memory once, and a user is N numbers. One that is
 * merged is a file of its own, made on a thread, because merging reads and writes many megabytes without a pause.
 */

import type { BlendRule } from '../../blend/blend-pool.js';
import { BARE_MODEL } from '../../blend/choice-record.js';
import { type BlendEstimate, type Estimator, estimateBlend } from '../../blend/coefficients.js';
import { coverageByEvidence } from '../../blend/coverage.js';
import { checkCoefficients } from '../../blend/plan.js';
import { CANDIDATES } from '../../choose/candidates.js';
import { CrayonError } from '../../core/errors.js';
import { dropSmall, gate, keepFew } from '../../core/gate.js';
import type { RawExample } from '../../data/example.js';
import type { DeviceEngine } from '../../engine/types.js';
import { ScratchDirectory } from '../../files/scratch-directory.js';
import { carryCoefficients, lostWords, withoutLost } from '../../pool/life/carry.js';
import { memberCoefficients, type Pool, servedDigest } from '../../pool/pool.js';
import type { ScopeFunction } from '../../routing/signals/scope.js';
import { embedPrompts, type TextEmbedder } from '../base-model.js';
import { badField } from '../http/error.js';
import { type AdapterSet, fixedAdapters, gatedAdapters, type NamedAdapter, scaledAdapters } from './adapter-set.js';
import { blendThread } from './blend-thread.js';
import { type ChoiceOrder, type ChooserParts, type ChosenCustomization, createChooser } from './choose.js';
import { type Blend, type Form, keptProfile, scopeBy } from './record.js';

/** What requests get of a customisation. */
export interface Served {
  /** the pool's at scales, one that they are merged to, none where the bare model was chosen; or weighed for each prompt */
  adapters: Pick<AdapterSet, 'choose' | 'isGated'>;
  scope: ScopeFunction | null;
  /** Keeps a merged adapter's file until the function that it returns is called, or longer. */
  hold(): () => void;
  /** The file goes, as soon as nobody holds it. */
  remove(): void;
}

export interface MadeBlend extends Blend, Served {}

export interface BlendOrder {
  examples: ReadonlyArray<Pick<RawExample, 'prompt' | 'messages'>> | null;
  coefficients: number[] | null;
  topK: number | null;
  temperature: number | null;
  /** how the examples become coefficients */
  estimator: Extract<Estimator, 'similarity' | 'mean-gate'>;
  /** similarities are measured by those of the pool's own examples */
  standardise?: boolean;
  /** the configured one when absent */
  form?: Form | undefined;
  /** the examples choose, in place of topK, temperature, estimator and standardise */
  choose?: ChoiceOrder | null;
  /** the examples as they are to be kept; not at all when absent */
  shown?: unknown[] | undefined;
}

/** Makes adapters from a pool, away from the event loop. */
export interface BlendMaker {
  /** Digest of what coefficients and profiles are of. */
  readonly pool: string;
  /** the form of an order that names none */
  readonly form: Form;
  make(order: BlendOrder, signal: AbortSignal): Promise<MadeBlend>;
  /**
   * What was made of an earlier state of the pool, as it is of this one: by the ids of its clusters, and where some were removed by the
   * similarities that are kept with it; a sentence says what was done. The reason in words where it cannot be.
   *
   * @param digest of what it was made of
   */
  carry(digest: string, blend: Blend): Blend | { why: string };
  /** The adapters of what was made before. @throws CrayonError `coefficients-invalid` for what is not of this pool */
  restore(blend: Blend, signal: AbortSignal): Promise<MadeBlend>;
  close(): void;
}

export interface MakerParts {
  pool: Pool;
  /** the pool's members as GGUF LoRAs, see `membersOf` */
  members: readonly NamedAdapter[];
  embedder: TextEmbedder;
  /** the base model: Hugging Face directory or GGUF */
  base: string;
  /** scores what examples choose among, and forgets each adapter whose file is gone */
  device: Pick<DeviceEngine, 'contextTokens' | 'scoreTokens' | 'forget'>;
  form: Form;
  /** share of the largest coefficient below which estimated ones are dropped, where adapters are applied at scales */
  dropBelow: number;
  gateTopK: ChooserParts['gateTopK'];
}

const NOTHING = 'All coefficients are zero: the blend leaves the base model as it is.';

export function createBlendMaker(parts: MakerParts): BlendMaker {
  const { pool, members, embedder, base, device, form, dropBelow, gateTopK } = parts;
  const files = sharedFiles((path) => device.forget?.(path));
  const thread = blendThread({ pool: pool.dir, base, dir: files.dir });
  const { manifest } = pool;
  const { N } = manifest;
  const choose = createChooser({ pool, members, device, encode: thread.encode, gateTopK });

  /** One adapter in a file. */
  const merged = async (blend: Blend, combine: Exclude<Form, 'scales'>, signal: AbortSignal) => {
    const done = files.working();
    try {
      const { coefficients } = blend;
      const { id, path, notices, ms } = await thread.run({ coefficients, combine }, signal);
      const adapters = fixedAdapters([{ id, path, name: id }]);
      const all = [...new Set([...blend.notices, ...notices])];
      return { ...blend, notices: all, ms, adapters, hold: () => files.hold(path), remove: files.hold(path) };
    } finally {
      done();
    }
  };

  const restore = async (blend: Blend, signal: AbortSignal): Promise<MadeBlend> => {
    refuseForeign(blend, N, embedder.d);
    const { coefficients, profile, choice } = blend;
    const scope = profile && scopeBy(profile, embedder);
    const candidate = CANDIDATES.find(({ name }) => name === choice?.chosen);
    const withoutFile = (adapters: AdapterSet): MadeBlend => {
      return { ...blend, adapters, scope, hold: () => () => {}, remove: () => {} };
    };
    if (candidate?.kind === 'per-query') {
      const weigh = (cosines: Float64Array) =>
        keepFew(candidate.gate(cosines, manifest), { topK: gateTopK, dropBelow });
      return withoutFile(gatedAdapters(members, { centroids: pool.centroids, weigh }, embedder));
    }
    if (candidate?.name === BARE_MODEL) return withoutFile(fixedAdapters([]));
    if (blend.form === 'scales') {
      return withoutFile(scaledAdapters(members, memberCoefficients(manifest, coefficients)));
    }
    return { ...(await merged(blend, blend.form, signal)), scope };
  };

  return {
    pool: servedDigest(pool),
    form,
    carry: (digest, blend) => carryBlend(pool, digest, blend, dropBelow),
    restore,
    async make(order, signal) {
      const { examples, topK, standardise, choose: wanted, form: asked = form } = order;
      if (topK !== null && topK > N) {
        throw badField('top_k', `top_k is ${topK}, expected at most ${N}: the pool has no more adapters.`);
      }
      if (standardise === true && manifest.standards?.similarity === undefined) {
        throw badField('standardise', 'standardise needs a pool that `crayon measure-pool` has measured.');
      }
      const least = asked === 'scales' ? dropBelow : 0;
      const rows = examples === null ? null : await embedPrompts(examples, embedder, signal);
      const found =
        rows !== null && wanted != null ? await choose({ ...wanted, dropBelow: least }, rows, signal) : null;
      const started = performance.now();
      const { estimator: by, ...rule } = found?.rule ?? ruleOf(order);
      const estimate = estimateBlend(pool, by, rows && { rows, losses: found?.losses }, rule);
      // What a request decides stays as it is.
      const isDecided = order.coefficients !== null || topK !== null;
      const coefficients = Float64Array.from(estimate.coefficients);
      const blend: Blend = {
        form: asked,
        coefficients: [...(isDecided ? coefficients : dropSmall(coefficients, least))],
        similarities: estimate.similarities,
        coverage: coverageOf(estimate, found?.chosen),
        examples: estimate.examples,
        notices: [
          ...(found?.chosen.notices ?? []),
          ...(asked === 'scales' && manifest.general === undefined && coefficients.every((a) => Math.fround(a) === 0)
            ? [NOTHING]
            : []),
        ],
        ms: 0,
        choice: found && choiceOf(found.chosen),
        profile: rows && keptProfile(rows),
        ...(order.shown === undefined ? {} : { shown: order.shown }),
      };
      const made = await restore(blend, signal);
      return { ...made, ms: performance.now() - started };
    },
    close() {
      thread.close();
      files.close();
    },
  };
}

/** What the request says of how examples become coefficients. */
function ruleOf({ examples, coefficients, topK, temperature, estimator, standardise }: BlendOrder): BlendRule {
  return {
    estimator: examples === null ? 'given' : estimator,
    tau: temperature ?? undefined,
    standardise,
    topK: topK ?? undefined,
    coefficients: coefficients ?? undefined,
  };
}

function coverageOf({ coverage }: BlendEstimate, chosen: ChosenCustomization | undefined): Blend['coverage'] {
  if (coverage === null) return null;
  const { verdict, sentence, percentile } = chosen ? coverageByEvidence(coverage, chosen.record) : coverage;
  return { verdict, sentence, percentile };
}

function choiceOf({ candidate, record, candidates, seconds }: ChosenCustomization): Blend['choice'] {
  return {
    chosen: candidate.name,
    chosenFixed: record.chosen,
    evidence: record.evidence,
    seconds,
    candidates: candidates.map(({ candidate: { name }, ...found }) => ({ name, ...found })),
  };
}

/** A file may say anything, and a pool be another one. */
function refuseForeign({ coefficients, profile, choice }: Blend, N: number, d: number): void {
  const refuse = (what: string) => {
    throw new CrayonError('coefficients-invalid', `the customisation is not of this pool: ${what}`);
  };
  checkCoefficients(coefficients, N);
  if (profile !== null && profile.d !== d) refuse(`a profile of ${profile.d} numbers, expected ${d}`);
  if (choice !== null && !CANDIDATES.some(({ name }) => name === choice.chosen)) {
    refuse(`it was chosen by ${JSON.stringify(choice.chosen)}, which this version does not know`);
  }
}

export const OTHER_POOL = 'it was made with another pool than the one that is served';

function carryBlend(pool: Pool, digest: string, blend: Blend, dropBelow: number): Blend | { why: string } {
  const { coefficients, similarities, choice } = blend;
  const carried = carryCoefficients(pool, digest, coefficients);
  if (carried === null) return { why: OTHER_POOL };
  const { lost, added } = carried;
  const ofAll = similarities && carryCoefficients(pool, digest, similarities);
  const shown = ofAll !== null && ofAll.lost.length + added.length === 0 ? [...ofAll.coefficients] : null;
  const later = added.length === 0 ? [] : [`Clusters ${added.join(', ')} came later and have no share in it.`];
  const kept = { ...blend, similarities: shown };
  if (CANDIDATES.some(({ name, kind }) => name === choice?.chosen && kind === 'per-query')) {
    const gated = ['The pool has changed: prompts are weighed by the clusters that it has now.'];
    const isWhole =
      carryCoefficients(
        pool,
        digest,
        coefficients.map(() => 1),
      )!.lost.length === 0;
    if (isWhole) return { ...kept, coefficients: [...carried.coefficients], notices: [...blend.notices, ...gated] };
  }
  if (lost.length === 0)
    return { ...kept, coefficients: [...carried.coefficients], notices: [...blend.notices, ...later] };
  const gone = `clusters of it are no longer in the pool: ${lostWords(lost)}`;
  const alpha = choice === null && bySimilarity(pool, blend, dropBelow) ? withoutLost(carried, 'similarity') : null;
  if (alpha === null) return { why: gone };
  const notices = [...blend.notices, ...later, `Remade from its similarities, as ${gone}.`];
  return { ...kept, coefficients: [...alpha], notices };
}

/** Whether the coefficients are the softmax of the similarities that are kept beside them. */
function bySimilarity({ manifest: { tau } }: Pool, { coefficients, similarities }: Blend, dropBelow: number): boolean {
  if (similarities === null || similarities.length !== coefficients.length) return false;
  const all = gate(similarities, tau);
  const same = (alpha: Float64Array) => alpha.every((a, n) => Math.abs(a - coefficients[n]!) < 1e-6);
  return same(all) || same(dropSmall(all, dropBelow));
}

/** Equal blends have one file, by its digest: it goes when the last of them goes, and never while one is being made. */
function sharedFiles(forget: (path: string) => void) {
  const scratch = new ScratchDirectory();
  const holders = new Map<string, number>();
  let workers = 0;

  const sweep = (): void => {
    if (workers > 0) return;
    for (const [path, count] of holders) {
      if (count > 0) continue;
      holders.delete(path);
      scratch.discard(path);
      forget(path);
    }
  };
  return {
    dir: scratch.path,
    working: (): (() => void) => {
      workers++;
      return () => {
        workers--;
        sweep();
      };
    },
    hold: (path: string): (() => void) => {
      holders.set(path, (holders.get(path) ?? 0) + 1);
      let isHeld = true;
      return () => {
        if (!isHeld) return;
        isHeld = false;
        holders.set(path, holders.get(path)! - 1);
        sweep();
      };
    },
    close: () => scratch.remove(),
  };
}
