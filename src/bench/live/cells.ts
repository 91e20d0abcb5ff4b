/**
 * The router as users meet it: an edge server with a user's blend and calibrated thresholds, a server LLM behind it, and the
 * user's test put to the edge over HTTP.
 *
 * For each user: blend; ask the calibration examples of the edge (with cuts that send nothing) and of the server, and find
 * the thresholds for the wanted share; then answer the test by the device alone, by the server alone, and by the router.
 * The conditions repeat this without the adapter, over networks and on devices, with the thresholds as they are: they are
 * what a user has set once.
 */

import { CrayonError, isCrayonError } from '../../core/errors.js';
import type { Example } from '../../data/dataset.js';
import { type ChatClient, openChatClient } from '../../engine/server/chat-client.js';
import { calibrate } from '../../routing/calibrate/calibrate.js';
import type { CalibrationRecord } from '../../routing/calibrate/data.js';
import { OPEN_THRESHOLDS, recordedSignals, type Thresholds } from '../../routing/signals/index.js';
import type { AnswerRecord, Cell } from '../types.js';
import type { PlannedUser } from '../users.js';
import type { BenchDevice, BenchLive } from './config.js';
import { deviceOf } from './devices.js';
import { GATE, type LiveEdge, type LiveUpstream, startEdge } from './edge.js';
import { type EndpointAnswers, type EndpointOptions, scoreEndpoint, signalsTold } from './endpoint.js';
import type { NetworkName } from './network/networks.js';
import { type LiveUser, liveCell, liveCellKey, prepareUser } from './user.js';

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

export function hybridName(share: number, kind: BenchLive['thresholds'][number] = 'user'): string {
  return `hybrid-${kind === 'user' ? 'live' : kind}@${Math.round(100 * share)}`;
}

/** The cells of one user, in the order in which they are made. */
export function plannedLiveCells(user: PlannedUser, live: BenchLive): string[] {
  const main = ['edge-live', 'server-live', ...live.thresholds.map((kind) => hybridName(live.share, kind))];
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

/** One user's part. Cells are handed out as soon as they are there; what several of them share is made once. */
export class LiveRun {
  readonly #user: LiveUser;
  readonly #context: LiveContext;
  readonly #missing: readonly string[];
  readonly #onCell: (result: LiveResult) => void;
  /** sentences that a reader should see: devices that are too small, answers that failed */
  readonly notices: string[] = [];
  readonly #server: ChatClient;
  #done = 0;

  readonly #files = once(() => {
    const { pool, base, dir } = this.#context;
    return prepareUser(this.#user, pool, base, dir);
  });
  readonly #serverSide = once(() => this.#askServer(this.#user.calibration, 'server, calibration'));
  readonly #edges = {
    customised: once(async () => this.#calibrated(true, await this.#serverSide())),
    plain: once(async () => this.#calibrated(false, await this.#serverSide())),
  };
  readonly #routedHome = {
    customised: once(async () => this.#routed(true, (await this.#edges.customised()).thresholds, HOME)),
    plain: once(async () => this.#routed(false, (await this.#edges.plain()).thresholds, HOME)),
  };

  /** @param missing keys of the cells that are wanted */
  constructor(user: LiveUser, context: LiveContext, missing: readonly string[], onCell: (result: LiveResult) => void) {
    this.#user = user;
    this.#context = context;
    this.#missing = missing;
    this.#onCell = onCell;
    const { baseUrl, model, apiKeyEnv } = context.upstream;
    const apiKey = apiKeyEnv === null ? null : ((context.env ?? process.env)[apiKeyEnv] ?? null);
    this.#server = openChatClient({ baseUrl, model, apiKey });
  }

  /** Held-out queries of this user, answered by its customised device and by the server. */
  async records(): Promise<CalibrationRecord[]> {
    const { records } = await this.#edges.customised();
    return records.map((record) => ({ ...record, id: `${this.#user.id} ${record.id}` }));
  }

  /**
   * @param pooled the thresholds that all users share
   * @throws CrayonError what starting and asking throw
   */
  async play(pooled: () => Promise<Thresholds>): Promise<void> {
    const user = this.#user;
    const context = this.#context;
    const { share } = context.live;
    const edgeOf = (customised: boolean) => (customised ? this.#edges.customised() : this.#edges.plain());
    if (this.#isMissing('edge-live')) await this.#cell('edge-live', 'hybrid', {}, (await edgeOf(true)).alone, true);
    if (this.#isMissing('server-live')) {
      await this.#cell('server-live', 'hybrid', {}, await this.#askServer(user.test, 'server'), false);
    }
    const own = hybridName(share);
    if (this.#isMissing(own)) {
      const { thresholds } = await edgeOf(true);
      await this.#cell(own, 'hybrid', cutsOf(thresholds), (await this.#routedHome.customised())!, true);
    }
    const shared = hybridName(share, 'pooled');
    if (this.#isMissing(shared)) {
      const thresholds = await pooled();
      await this.#cell(shared, 'hybrid', cutsOf(thresholds), (await this.#routed(true, thresholds, HOME))!, true);
    }
    for (const { arm, ...place } of conditionsOf(user, context.live)) {
      if (!this.#isMissing(arm, { ...place })) continue;
      const customised = CUSTOMISED.includes(arm);
      const isRouted = ROUTED.includes(arm);
      const isHome = place.network === HOME.network && place.device === HOME.device;
      let answered: EndpointAnswers | null;
      if (isHome && isRouted) answered = await (customised ? this.#routedHome.customised() : this.#routedHome.plain());
      else if (isHome) answered = (await edgeOf(customised)).alone;
      else if (isRouted) answered = await this.#routed(customised, (await edgeOf(customised)).thresholds, place);
      else answered = await this.#alone(customised, place);
      if (answered !== null) await this.#cell(arm, 'conditions', { ...place }, answered, customised);
    }
  }

  /** The thresholds for the wanted share, and the device's own answers to the test. */
  async #calibrated(
    customised: boolean,
    serverSide: EndpointAnswers,
  ): Promise<{ thresholds: Thresholds; records: CalibrationRecord[]; alone: EndpointAnswers }> {
    const user = this.#user;
    const context = this.#context;
    const what = customised ? 'edge' : 'base';
    return this.#withEdge(customised, OPEN_THRESHOLDS, HOME, async (edge) => {
      const signals = await this.#askEdge(edge, user.calibration, 'prefer_on_device', `${what}, calibration`);
      const calibration = calibrationRecords(signals, serverSide);
      const thresholds = thresholdsFor(calibration, context);
      const alone = await this.#askEdge(edge, user.test, 'only_on_device', `${what} alone`);
      const told = await this.#askEdge(edge, user.test, 'prefer_on_device', `${what}, signals`);
      // Answered alone for the time; asked again for the signals, which a device alone does not compute.
      const records = alone.records.map((record, i): AnswerRecord => {
        return { ...record, ...signalsTold({ ...told.records[i]! }) };
      });
      return { thresholds, records: calibration, alone: { ...alone, records } };
    });
  }

  #routed(customised: boolean, thresholds: Thresholds, place: Place): Promise<EndpointAnswers | null> {
    const title = `${customised ? 'both' : 'hybrid alone'}, ${place.network}, ${place.device}`;
    return this.#where(place, () =>
      this.#withEdge(customised, thresholds, place, (edge) =>
        this.#askEdge(edge, this.#user.test, 'prefer_on_device', title),
      ),
    );
  }

  #alone(customised: boolean, place: Place): Promise<EndpointAnswers | null> {
    const title = `${customised ? 'blending alone' : 'neither'}, ${place.device}`;
    return this.#where(place, () =>
      this.#withEdge(customised, OPEN_THRESHOLDS, place, (edge) =>
        this.#askEdge(edge, this.#user.test, 'only_on_device', title),
      ),
    );
  }

  /** That a device is too small is a result, not a failure of the run. */
  async #where(place: Place, work: () => Promise<EndpointAnswers>): Promise<EndpointAnswers | null> {
    try {
      return await work();
    } catch (error) {
      if (!isCrayonError(error, 'out-of-memory') || place.device === HOME.device) throw error;
      this.notices.push(`${this.#user.id} on ${place.device}: ${error.message}.`);
      return null;
    }
  }

  async #withEdge<T>(
    customised: boolean,
    thresholds: Thresholds,
    place: Place,
    work: (edge: LiveEdge) => Promise<T>,
  ): Promise<T> {
    const context = this.#context;
    const files = await this.#files();
    const { command, dir, cacheDir, base, upstream, seed, env, signal, live } = context;
    const edge = await startEdge({
      command,
      dir,
      base,
      upstream,
      seed,
      signal,
      thresholds,
      ...(env === undefined ? {} : { env }),
      name: 'edge',
      cacheDir,
      confidence: live.confidence,
      network: place.network,
      adapter: !customised ? null : live.gate === 'per-query' ? GATE : files.adapter,
      examples: files.examples,
      pool: context.poolScope || live.gate === 'per-query' ? context.pool : null,
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
    const { signal } = this.#context;
    const fields = { crayon: { mode } };
    return this.#ask(edge.client, examples, title, { fields, signal: AbortSignal.any([signal, edge.server.failed]) });
  }

  #askServer(examples: readonly Example[], title: string): Promise<EndpointAnswers> {
    return this.#ask(this.#server, examples, title, { source: 'in_cloud', signal: this.#context.signal });
  }

  async #ask(
    client: ChatClient,
    examples: readonly Example[],
    title: string,
    how: Pick<EndpointOptions, 'signal' | 'fields' | 'source'>,
  ): Promise<EndpointAnswers> {
    const { live, maxTokens, onProgress } = this.#context;
    const answered = await scoreEndpoint(examples, {
      client,
      maxTokens,
      match: live.match,
      form: live.form,
      ...how,
      onProgress: (done, total) =>
        onProgress?.({
          stage: `live: ${this.#user.id}`,
          done: this.#done + done / total / 2,
          total: this.#missing.length,
          note: title,
        }),
    });
    this.notices.push(...answered.notices.map((notice) => `${this.#user.id}, ${title}: ${notice}`));
    return answered;
  }

  #isMissing(strategy: string, options: Cell['options'] = {}): boolean {
    return this.#missing.includes(liveCellKey(this.#user, strategy, options));
  }

  async #cell(
    strategy: string,
    table: Cell['table'],
    options: Cell['options'],
    answered: EndpointAnswers,
    blended: boolean,
  ): Promise<void> {
    const user = this.#user;
    const context = this.#context;
    const { prices } = context.live;
    const key = liveCellKey(user, strategy, table === 'conditions' ? options : {});
    const blend = blended ? (await this.#files()).blend : null;
    const cell = liveCell({ user, strategy, table, options, answered, blend, prices });
    this.#onCell({ cell: { ...cell, key }, records: answered.records });
    this.#done++;
  }
}

/** The thresholds that send the wanted share of these queries. */
export function thresholdsFor(
  records: readonly CalibrationRecord[],
  { live, seed }: Pick<LiveContext, 'live' | 'seed'>,
): Thresholds {
  const target = { kind: 'share', value: live.share } as const;
  return calibrate(records, { target, seed, resamples: 200 }).thresholds; // of intervals that are not looked at here
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
function cutsOf(thresholds: Thresholds): Cell['options'] {
  return recordedSignals((name) => thresholds[name] ?? null);
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
        ...recordedSignals((name) => record[name] ?? null),
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
