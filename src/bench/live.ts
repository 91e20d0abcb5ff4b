/**
 * The router as users meet it: an edge server with a user's blend and calibrated thresholds, a server LLM behind it, and the
 * user's test put to the edge over HTTP.
 *
 * For each user: blend; ask the calibration examples of the edge (with cuts that send nothing) and of the server, and find
 * the thresholds for the wanted share; then answer the test by the device alone, by the server alone, and by the router.
 * The conditions repeat this without the adapter, over networks and on devices, with the thresholds as they are: they are
 * what a user has set once.
 */

import { CrayonError, isCrayonError } from '../core/errors.js';
import { type ChatClient, openChatClient } from '../engine/chat-client.js';
import type { BenchDevice, BenchLive } from '../formats/bench-live-config.js';
import type { Example } from '../formats/dataset.js';
import { calibrate } from '../routing/calibrate.js';
import type { CalibrationRecord } from '../routing/calibration-data.js';
import type { Thresholds } from '../routing/types.js';
import { deviceOf } from './devices.js';
import { type EndpointAnswers, type EndpointOptions, scoreEndpoint } from './endpoint.js';
import { type LiveEdge, type LiveUpstream, OPEN_THRESHOLDS, startEdge } from './live-edge.js';
import { type LiveUser, liveCell, liveCellKey, prepareUser, type UserFiles } from './live-user.js';
import type { NetworkName } from './networks.js';
import type { AnswerRecord, Cell } from './types.js';
import type { PlannedUser } from './users.js';

export interface LiveContext {
  live: BenchLive;
  devices: Readonly<Record<string, BenchDevice>>;
  /** what starts crayon: program and first arguments */
  command: readonly string[];
  /** the base model, and a pool of it */
  base: string;
  pool: string;
  /** whether the pool's embedding needs no forward pass, so that an edge server can measure scope by it */
  poolScope: boolean;
  upstream: LiveUpstream;
  maxTokens: number;
  seed: number;
  /** for the user's configurations and adapter, and for exported models */
  dir: string;
  cacheDir: string;
  env?: NodeJS.ProcessEnv;
  signal: AbortSignal;
  onProgress?: (progress: { stage: string; done: number; total: number; note?: string }) => void;
}

export interface LiveResult {
  cell: Cell;
  records: AnswerRecord[];
}

export const ARMS = ['neither', 'blending alone', 'hybrid alone', 'both'] as const;
type Arm = (typeof ARMS)[number];

const CUSTOMISED: readonly Arm[] = ['blending alone', 'both'];
const ROUTED: readonly Arm[] = ['hybrid alone', 'both'];

/** Where an edge server stands. */
interface Place {
  network: NetworkName;
  device: string;
}
const HOME: Place = { network: 'loopback', device: 'default' };

interface Wanted extends Place {
  arm: Arm;
}

export function hybridName(share: number): string {
  return `hybrid-live@${Math.round(100 * share)}`;
}

/** The cells of one user, in the order in which they are made. */
export function plannedLiveCells(user: PlannedUser, live: BenchLive): string[] {
  const main = ['edge-live', 'server-live', hybridName(live.share)];
  return [
    ...main.map((strategy) => liveCellKey(user, strategy)),
    ...conditionsOf(user, live).map(({ arm, ...place }) => liveCellKey(user, arm, { ...place })),
  ];
}

/** One thing at a time: all arms at home and on each device; over each network those that use it. */
function conditionsOf(user: PlannedUser, { conditions }: BenchLive): Wanted[] {
  if (conditions === null) return [];
  if (conditions.users !== null && !conditions.users.includes(user.info.name)) return [];
  const devices = conditions.devices.filter((device) => device !== HOME.device);
  const networks = conditions.networks.filter((network) => network !== HOME.network);
  return [
    ...ARMS.map((arm) => ({ arm, ...HOME })),
    ...networks.flatMap((network) => ROUTED.map((arm) => ({ arm, ...HOME, network }))),
    ...devices.flatMap((device) => ARMS.map((arm) => ({ arm, ...HOME, device }))),
  ];
}

/**
 * Plays one user; each cell is handed out as soon as it is there.
 *
 * @param has whether a cell is there from before, and need not be made again
 * @returns sentences that a reader should see: devices that are too small, answers that failed
 * @throws CrayonError what starting and asking throw
 */
export async function playLive(
  user: LiveUser,
  context: LiveContext,
  has: (key: string) => boolean,
  onCell: (result: LiveResult) => void,
): Promise<string[]> {
  const missing = plannedLiveCells(user, context.live).filter((key) => !has(key));
  if (missing.length === 0) return [];
  const run = new LiveRun(user, context, missing, onCell);
  await run.play();
  return run.notices;
}

class LiveRun {
  readonly notices: string[] = [];
  readonly #server: ChatClient;
  #files!: UserFiles;
  #done = 0;

  constructor(
    private readonly user: LiveUser,
    private readonly context: LiveContext,
    private readonly missing: readonly string[],
    private readonly onCell: (result: LiveResult) => void,
  ) {
    const { baseUrl, model, apiKeyEnv } = context.upstream;
    const apiKey = apiKeyEnv === null ? null : ((context.env ?? process.env)[apiKeyEnv] ?? null);
    this.#server = openChatClient({ baseUrl, model, apiKey });
  }

  async play(): Promise<void> {
    const { user, context } = this;
    const { share } = context.live;
    this.#files = await prepareUser(user, context.pool, context.base, context.dir);
    // What several cells share is made when the first of them needs it.
    const serverSide = once(() => this.#askServer(user.calibration, 'server, calibration'));
    const edges = {
      customised: once(async () => this.#calibrated(true, await serverSide())),
      plain: once(async () => this.#calibrated(false, await serverSide())),
    };
    const edgeOf = (customised: boolean) => (customised ? edges.customised() : edges.plain());
    const routed = {
      customised: once(async () => this.#routed(true, (await edges.customised()).thresholds, HOME)),
      plain: once(async () => this.#routed(false, (await edges.plain()).thresholds, HOME)),
    };

    if (this.#isMissing('edge-live')) this.#cell('edge-live', 'hybrid', {}, (await edgeOf(true)).alone, true);
    if (this.#isMissing('server-live')) {
      this.#cell('server-live', 'hybrid', {}, await this.#askServer(user.test, 'server'), false);
    }
    const hybrid = hybridName(share);
    if (this.#isMissing(hybrid)) {
      const { thresholds } = await edgeOf(true);
      this.#cell(hybrid, 'hybrid', cutsOf(thresholds), (await routed.customised())!, true);
    }
    for (const { arm, ...place } of conditionsOf(user, context.live)) {
      if (!this.#isMissing(arm, { ...place })) continue;
      const customised = CUSTOMISED.includes(arm);
      const isRouted = ROUTED.includes(arm);
      const isHome = place.network === HOME.network && place.device === HOME.device;
      let answered: EndpointAnswers | null;
      if (isHome && isRouted) answered = await (customised ? routed.customised() : routed.plain());
      else if (isHome) answered = (await edgeOf(customised)).alone;
      else if (isRouted) answered = await this.#routed(customised, (await edgeOf(customised)).thresholds, place);
      else answered = await this.#alone(customised, place);
      if (answered !== null) this.#cell(arm, 'conditions', { ...place }, answered, customised);
    }
  }

  /** The thresholds for the wanted share, and the device's own answers to the test. */
  async #calibrated(
    customised: boolean,
    serverSide: EndpointAnswers,
  ): Promise<{ thresholds: Thresholds; alone: EndpointAnswers }> {
    const { user, context } = this;
    const what = customised ? 'edge' : 'base';
    return this.#withEdge(customised, OPEN_THRESHOLDS, HOME, async (edge) => {
      const signals = await this.#askEdge(edge, user.calibration, 'prefer_on_device', `${what}, calibration`);
      const { thresholds } = calibrate(calibrationRecords(signals, serverSide), {
        target: { kind: 'share', value: context.live.share },
        seed: context.seed,
        resamples: 200, // of intervals that are not looked at here
      });
      const alone = await this.#askEdge(edge, user.test, 'only_on_device', `${what} alone`);
      const told = await this.#askEdge(edge, user.test, 'prefer_on_device', `${what}, signals`);
      // Answered alone for the time; asked again for the signals, which a device alone does not compute.
      const records = alone.records.map((record, i): AnswerRecord => {
        const { scope, complexity, confidence } = told.records[i]!;
        return {
          ...record,
          ...(scope === undefined ? {} : { scope }),
          ...(complexity === undefined ? {} : { complexity }),
          ...(confidence === undefined ? {} : { confidence }),
        };
      });
      return { thresholds, alone: { ...alone, records } };
    });
  }

  #routed(customised: boolean, thresholds: Thresholds, place: Place): Promise<EndpointAnswers | null> {
    const title = `${customised ? 'both' : 'hybrid alone'}, ${place.network}, ${place.device}`;
    return this.#where(place, () =>
      this.#withEdge(customised, thresholds, place, (edge) =>
        this.#askEdge(edge, this.user.test, 'prefer_on_device', title),
      ),
    );
  }

  #alone(customised: boolean, place: Place): Promise<EndpointAnswers | null> {
    const title = `${customised ? 'blending alone' : 'neither'}, ${place.device}`;
    return this.#where(place, () =>
      this.#withEdge(customised, OPEN_THRESHOLDS, place, (edge) =>
        this.#askEdge(edge, this.user.test, 'only_on_device', title),
      ),
    );
  }

  /** That a device is too small is a result, not a failure of the run. */
  async #where(place: Place, work: () => Promise<EndpointAnswers>): Promise<EndpointAnswers | null> {
    try {
      return await work();
    } catch (error) {
      if (!isCrayonError(error, 'out-of-memory') || place.device === HOME.device) throw error;
      this.notices.push(`${this.user.id} on ${place.device}: ${error.message}.`);
      return null;
    }
  }

  async #withEdge<T>(
    customised: boolean,
    thresholds: Thresholds,
    place: Place,
    work: (edge: LiveEdge) => Promise<T>,
  ): Promise<T> {
    const { context } = this;
    const { command, dir, cacheDir, base, upstream, seed, env, signal, live } = context;
    const edge = await startEdge({
      ...{ command, dir, base, upstream, seed, signal, thresholds },
      ...(env === undefined ? {} : { env }),
      ...{ name: 'edge', cacheDir, confidence: live.confidence, network: place.network },
      adapter: customised ? this.#files.adapter : null,
      examples: this.#files.examples,
      pool: context.poolScope ? context.pool : null,
      device: deviceOf(place.device, context.devices),
    });
    try {
      return await work(edge);
    } catch (error) {
      // A server that has ended fails every answer; why it ended is the reason.
      throw edge.server.failed.aborted ? edge.server.failed.reason : error;
    } finally {
      await edge.stop();
    }
  }

  #askEdge(edge: LiveEdge, examples: readonly Example[], mode: string, title: string): Promise<EndpointAnswers> {
    const { signal } = this.context;
    const fields = { crayon: { mode } };
    return this.#ask(edge.client, examples, title, { fields, signal: AbortSignal.any([signal, edge.server.failed]) });
  }

  #askServer(examples: readonly Example[], title: string): Promise<EndpointAnswers> {
    return this.#ask(this.#server, examples, title, { source: 'in_cloud', signal: this.context.signal });
  }

  async #ask(
    client: ChatClient,
    examples: readonly Example[],
    title: string,
    how: Pick<EndpointOptions, 'signal' | 'fields' | 'source'>,
  ): Promise<EndpointAnswers> {
    const { live, maxTokens, onProgress } = this.context;
    const answered = await scoreEndpoint(examples, {
      ...{ client, method: 'generation', maxTokens, match: live.match, form: live.form, ...how },
      onProgress: (done, total) =>
        onProgress?.({
          stage: `live: ${this.user.id}`,
          done: this.#done + done / total / 2,
          total: this.missing.length,
          note: title,
        }),
    });
    this.notices.push(...answered.notices.map((notice) => `${this.user.id}, ${title}: ${notice}`));
    return answered;
  }

  #isMissing(strategy: string, options: Cell['options'] = {}): boolean {
    return this.missing.includes(liveCellKey(this.user, strategy, options));
  }

  #cell(strategy: string, table: Cell['table'], options: Cell['options'], answered: EndpointAnswers, blended: boolean) {
    const { user, context } = this;
    const { prices } = context.live;
    const key = liveCellKey(user, strategy, table === 'conditions' ? options : {});
    const blend = blended ? this.#files.blend : null;
    const cell = liveCell({ user, strategy, table, options, answered, blend, prices });
    this.onCell({ cell: { ...cell, key }, records: answered.records });
    this.#done++;
  }
}

/** The same promise for every caller. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** The cuts of the hybrid's cell: what was calibrated. */
function cutsOf({ scope, complexity, confidence }: Thresholds): Cell['options'] {
  return { scope, complexity, confidence };
}

/** Both sides' answers to the same examples, as `crayon calibrate` records them. */
export function calibrationRecords(edge: EndpointAnswers, server: EndpointAnswers): CalibrationRecord[] {
  return edge.records.flatMap((record, i): CalibrationRecord[] => {
    const other = server.records[i]!;
    // An answer that failed says nothing about the query.
    if (edge.answers[i] === null || server.answers[i] === null) return [];
    if (other.id !== record.id)
      throw new CrayonError('dataset-invalid', `${record.id} and ${other.id} are not the same`);
    const [local, remote] = [edge.answers[i]?.usage ?? null, server.answers[i]?.usage ?? null];
    return [
      {
        id: record.id,
        scope: record.scope ?? null,
        complexity: record.complexity ?? null,
        confidence: record.confidence ?? null,
        edgeCorrect: record.correct,
        serverCorrect: other.correct,
        tokens: {
          edge: local?.completionTokens ?? 0,
          serverPrompt: remote?.promptTokens ?? 0,
          serverCompletion: remote?.completionTokens ?? 0,
        },
        serverCost: 0,
      },
    ];
  });
}
