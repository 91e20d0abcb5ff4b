/**
 * Customisations made while the server runs: each a blend of the pool's adapters, kept in memory with its file in a
 * temporary directory, gone when the server ends.
 *
 * A user's examples are embedded here, and blended on a thread of its own, because blending reads and writes many megabytes
 * without a pause and answers must flow on.
 */

import { randomBytes } from 'node:crypto';
import type { CombineKind } from '../../blend/blend.js';
import type { BlendRule } from '../../blend/blend-pool.js';
import { BARE_MODEL } from '../../blend/choice-record.js';
import { type BlendEstimate, type Estimator, estimateBlend } from '../../blend/coefficients.js';
import { coverageByEvidence } from '../../blend/coverage.js';
import { oneHot } from '../../core/vector.js';
import type { RawExample } from '../../data/example.js';
import { interrupted } from '../../engine/clock.js';
import type { DeviceEngine } from '../../engine/types.js';
import { ScratchDirectory } from '../../files/scratch-directory.js';
import type { Pool } from '../../pool/pool.js';
import type { ScopeFunction } from '../../routing/signals/scope.js';
import { embedPrompts, scopeOf, type TextEmbedder } from '../base-model.js';
import { badField, HttpError } from '../http/error.js';
import { type AdapterSet, fixedAdapters, gatedAdapters } from './adapter-set.js';
import { blendThread, type HeldBlend } from './blend-thread.js';
import { type ChoiceOrder, type ChosenCustomization, createChooser } from './choose.js';

/** What was blended: one adapter, none where the bare model was chosen, or the pool's, weighed for each prompt. */
export interface MadeBlend extends BlendEstimate {
  adapters: Pick<AdapterSet, 'choose' | 'isGated'>;
  /** null where nothing was chosen by evidence */
  chosen: ChosenCustomization | null;
  scope: ScopeFunction | null;
  /** Plain sentences that the user should read. */
  notices: string[];
  ms: number;
  /** Keeps the adapters' files until the function that it returns is called, or longer. */
  hold(): () => void;
  /** The files go, as soon as nobody holds them. */
  remove(): void;
}

export interface BlendOrder {
  examples: ReadonlyArray<Pick<RawExample, 'prompt' | 'messages'>> | null;
  coefficients: number[] | null;
  topK: number | null;
  temperature: number | null;
  /** how the examples become coefficients */
  estimator: Extract<Estimator, 'similarity' | 'mean-gate'>;
  /** similarities are measured by those of the pool's own examples */
  standardise?: boolean;
  combine: CombineKind;
  /** the examples choose, in place of topK, temperature, estimator and standardise */
  choose?: ChoiceOrder | null;
}

/** Makes an adapter from a pool, away from the event loop. */
export interface BlendMaker {
  make(order: BlendOrder, signal: AbortSignal): Promise<MadeBlend>;
  close(): void;
}

export interface Customization extends MadeBlend {
  id: string;
  name: string | null;
  /** Seconds since 1970. */
  created: number;
}

export type Customizations = ReturnType<typeof createCustomizations>;

export function createCustomizations(maker: BlendMaker, limit: number, now: () => number = Date.now) {
  const kept = new Map<string, Customization>();
  let making = 0;
  return {
    size: () => kept.size,
    list: () => [...kept.values()],
    get: (id: string) => kept.get(id),
    /** @throws HttpError 429 when as many are kept as may be; what the blend throws */
    create: async (order: BlendOrder, name: string | null, signal: AbortSignal): Promise<Customization> => {
      if (kept.size + making >= limit) {
        throw new HttpError(429, `${limit} customisations are kept, which is the limit: delete one first.`, {
          type: 'rate_limit_error',
          code: 'customizations_full',
          headers: { 'x-should-retry': 'false' },
        });
      }
      making++;
      try {
        const blend = await maker.make(order, signal);
        if (signal.aborted) {
          blend.remove(); // nobody is left who would learn its id
          throw interrupted();
        }
        const id = randomBytes(8).toString('hex');
        const made: Customization = { id, name, created: Math.floor(now() / 1000), ...blend };
        kept.set(id, made);
        return made;
      } finally {
        making--;
      }
    },
    /** No new request can use it; running ones finish. @returns false where there is none */
    delete: (id: string): boolean => {
      kept.get(id)?.remove();
      return kept.delete(id);
    },
    close: (): void => {
      for (const { remove } of kept.values()) remove();
      kept.clear();
      maker.close();
    },
  };
}

/**
 * @param base the base model: Hugging Face directory or GGUF
 * @param device scores what examples choose among, and forgets each adapter whose file is gone
 */
export function createBlendMaker(
  pool: Pool,
  embedder: TextEmbedder,
  base: string,
  device: Pick<DeviceEngine, 'contextTokens' | 'scoreTokens' | 'forget'>,
): BlendMaker {
  const files = sharedFiles((path) => device.forget?.(path));
  const thread = blendThread({ pool: pool.dir, base, dir: files.dir });
  const { manifest } = pool;
  const { N } = manifest;

  const blended = async (coefficients: number[], combine: CombineKind, signal: AbortSignal): Promise<HeldBlend> => {
    const done = files.working();
    try {
      const made = await thread.run({ coefficients, combine }, signal);
      return { ...made, name: made.id, hold: () => files.hold(made.path), release: files.hold(made.path) };
    } finally {
      done();
    }
  };
  const choose = createChooser({ pool, device, encode: thread.encode, blended });

  /**
   * The adapters of a prompt, and what they are made of. A pool's general adapter is in each of those that are weighed, and so counts
   * once: weights sum to 1.
   */
  const adaptersOf = async (
    chosen: ChosenCustomization | null,
    coefficients: number[],
    combine: CombineKind,
    signal: AbortSignal,
  ): Promise<{ adapters: AdapterSet; blends: HeldBlend[] }> => {
    const candidate = chosen?.candidate;
    const isGated = candidate?.kind === 'per-query';
    const wanted = isGated ? manifest.adapters.map((_, n) => Array.from(oneHot(n, N))) : [coefficients];
    const blends: HeldBlend[] = [];
    try {
      if (candidate?.name !== BARE_MODEL) {
        for (const one of wanted) blends.push(await blended(one, isGated ? 'cat' : combine, signal));
      }
    } catch (error) {
      for (const { release } of blends) release();
      throw error;
    }
    if (!isGated) return { adapters: fixedAdapters(blends), blends };
    const weigh = (similarities: Float64Array) => candidate.gate(similarities, manifest);
    return { adapters: gatedAdapters(blends, { centroids: pool.centroids, weigh }, embedder), blends };
  };

  return {
    async make({ examples, coefficients, topK, temperature, estimator, standardise, combine, choose: wanted }, signal) {
      if (topK !== null && topK > N) {
        throw badField('top_k', `top_k is ${topK}, expected at most ${N}: the pool has no more adapters.`);
      }
      if (standardise === true && manifest.standards?.similarity === undefined) {
        throw badField('standardise', 'standardise needs a pool that `crayon measure-pool` has measured.');
      }
      const rows = examples === null ? null : await embedPrompts(examples, embedder, signal);
      const found = rows !== null && wanted != null ? await choose(wanted, rows, signal) : null;
      const given: BlendRule = {
        estimator: rows === null ? 'given' : estimator,
        tau: temperature ?? undefined,
        standardise,
        topK: topK ?? undefined,
        coefficients: coefficients ?? undefined,
      };
      const { estimator: by, ...rule } = found?.rule ?? given;
      const estimate = estimateBlend(pool, by, rows && { rows, losses: found?.losses }, rule);
      const chosen = found?.chosen ?? null;
      const started = performance.now();
      const { adapters, blends } = await adaptersOf(chosen, estimate.coefficients, combine, signal);
      const release = () => {
        for (const one of blends) one.release();
      };
      return {
        ...estimate,
        coverage: chosen === null ? estimate.coverage : coverageByEvidence(estimate.coverage!, chosen.record),
        adapters,
        chosen,
        scope: rows === null ? null : scopeOf(rows, embedder),
        notices: [...new Set([...(chosen?.notices ?? []), ...blends.flatMap(({ notices }) => notices)])],
        ms: blends.length === 1 ? blends[0]!.ms : performance.now() - started,
        hold: () => {
          const held = blends.map(({ hold }) => hold());
          return () => {
            for (const one of held) one();
          };
        },
        remove: release,
      };
    },
    close() {
      thread.close();
      files.close();
    },
  };
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
