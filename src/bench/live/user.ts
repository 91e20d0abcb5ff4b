/**
 * One user's part of the live run: a server on the device with the user's blend and calibrated thresholds, a server LLM behind
 * it, and the user's test put to it over HTTP.
 *
 * Calibration asks the held-out examples of the device (with cuts that send nothing) and of the server, and finds the
 * thresholds for the wanted share. Conditions repeat the test without the adapter, over networks and on devices, with the
 * thresholds as they are: they are what a user has set once.
 */

import { join } from 'node:path';
import { blendPool } from '../../blend/blend-pool.js';
import { CrayonError } from '../../core/errors.js';
import { createRandom } from '../../core/random.js';
import type { Example } from '../../data/dataset.js';
import { type ChatClient, openChatClient } from '../../engine/server/chat-client.js';
import { ensureDirectory } from '../../files/atomic.js';
import { calibrate } from '../../routing/calibrate/calibrate.js';
import { type CalibrationRecord, MIN_RECORDS } from '../../routing/calibrate/data.js';
import { OPEN_THRESHOLDS, recordedSignals, type Thresholds } from '../../routing/signals/index.js';
import type { Mode } from '../../routing/types.js';
import { cellOf } from '../cells.js';
import type { BenchConfig } from '../settings.js';
import type { Cell } from '../types.js';
import { promptHash, type UserWithExamples, writeShown } from '../users.js';
import { type DeviceServer, isTooSmall, type LiveContext, withDevice } from './device.js';
import { type EndpointAnswers, type EndpointOptions, scoreEndpoint, signalsTold } from './endpoint.js';
import { ARMS, type Cuts, HOME, isHome, type LivePlan, type Place } from './plan.js';
import type { BenchLive } from './settings.js';

/** Cells are handed out as soon as they are there; what several of them share is made once. */
export class LiveRun {
  readonly #user: LiveUser;
  readonly #context: LiveContext;
  readonly #wanted: readonly LivePlan[];
  readonly #dir: string;
  readonly #server: ChatClient;
  readonly #made = new Map<string, Promise<unknown>>();
  /** sentences that a reader should see: devices that are too small, answers that failed */
  readonly notices: string[] = [];
  #done = 0;

  /** @param wanted the cells that are missing */
  constructor(user: LiveUser, context: LiveContext, wanted: readonly LivePlan[]) {
    this.#user = user;
    this.#context = context;
    this.#wanted = wanted;
    this.#dir = join(context.cacheDir, user.id);
    const { base_url: baseUrl, model, api_key_env: keyEnv } = context.upstream;
    const apiKey = keyEnv === null ? null : ((context.env ?? process.env)[keyEnv] ?? null);
    this.#server = openChatClient({ baseUrl, model, apiKey });
  }

  /** Held-out queries of this user, answered by its customised device and by the server. */
  async records(): Promise<CalibrationRecord[]> {
    const { records } = await this.#calibrated(true);
    return records.map((record) => ({ ...record, id: `${this.#user.id} ${record.id}` }));
  }

  /**
   * @param pooled the thresholds that all users share
   * @throws CrayonError what starting and asking throw
   */
  async play(pooled: () => Promise<Thresholds>): Promise<void> {
    for (const plan of this.#wanted) {
      const { device, place, table } = plan;
      if (device === null) {
        await this.#keep(plan, {}, await this.#askServer(this.#user.test, 'server'));
        continue;
      }
      const { blended, cuts } = device;
      const calibrated = () => this.#calibrated(blended);
      const thresholds = cuts === 'pooled' ? await pooled() : cuts && (await calibrated()).thresholds;
      const isAlone = thresholds === null && isHome(place);
      const answered = isAlone ? (await calibrated()).alone : await this.#answersAt(place, blended, cuts, thresholds);
      if (answered === null) continue; // the device is too small
      await this.#keep(plan, table === 'conditions' ? { ...place } : cutsOf(thresholds), answered);
    }
  }

  /** Of one device to the test; routed by thresholds, or alone. null for a device that is too small: that is a result. */
  #answersAt(place: Place, blended: boolean, cuts: Cuts | null, thresholds: Thresholds | null) {
    const { device, network } = place;
    return this.#once(`${blended} ${cuts} ${network} ${device}`, async (): Promise<EndpointAnswers | null> => {
      const mode = thresholds === null ? 'only_on_device' : 'prefer_on_device';
      const { name } = ARMS.find((arm) => arm.blended === blended && arm.routed === (thresholds !== null))!;
      try {
        return await this.#withDevice(blended, thresholds ?? OPEN_THRESHOLDS, place, (server) =>
          this.#askDevice(server, this.#user.test, mode, `${name}, ${network}, ${device}`),
        );
      } catch (error) {
        if (!isTooSmall(error, device)) throw error;
        this.notices.push(`${this.#user.id} on ${device}: ${error.message}.`);
        return null;
      }
    });
  }

  /** Thresholds, the records that they were found on, and the device's own answers to the test. */
  #calibrated(blended: boolean) {
    return this.#once(`calibrated ${blended}`, async () => {
      const { calibration, test } = this.#user;
      const what = blended ? 'edge' : 'base';
      const serverSide = await this.#once('server', () => this.#askServer(calibration, 'server, calibration'));
      return this.#withDevice(blended, OPEN_THRESHOLDS, HOME, async (server) => {
        const signals = await this.#askDevice(server, calibration, 'prefer_on_device', `${what}, calibration`);
        const records = calibrationRecords(signals, serverSide);
        const thresholds = thresholdsFor(records, this.#context.config);
        const alone = await this.#askDevice(server, test, 'only_on_device', `${what} alone`);
        // Answered alone for the time; asked again for the signals, which a device alone does not compute.
        const seen = await this.#askDevice(server, test, 'prefer_on_device', `${what}, signals`);
        const withSignals = alone.records.map((record, i) => ({ ...record, ...signalsTold({ ...seen.records[i]! }) }));
        return { thresholds, records, alone: { ...alone, records: withSignals } };
      });
    });
  }

  async #withDevice<T>(
    blended: boolean,
    thresholds: Thresholds,
    place: Place,
    work: (server: DeviceServer) => Promise<T>,
  ): Promise<T> {
    const { adapter, examples } = await this.#files();
    const { config, pool, scopePool } = this.#context;
    const { gate } = config.live!;
    const how = gate === 'per-query' ? { blend: { gate }, pool } : { blend: { adapter }, pool: scopePool };
    const blend = blended ? how.blend : {};
    return withDevice(this.#context, { dir: this.#dir, examples, thresholds, place, ...how, blend }, work);
  }

  #files(): Promise<UserFiles> {
    return this.#once('files', () => prepareUser(this.#user, this.#context, this.#dir));
  }

  #askDevice(server: DeviceServer, examples: readonly Example[], mode: Mode, title: string): Promise<EndpointAnswers> {
    return this.#ask(examples, title, { ...server, fields: { crayon: { mode } } });
  }

  #askServer(examples: readonly Example[], title: string): Promise<EndpointAnswers> {
    return this.#ask(examples, title, { client: this.#server, source: 'in_cloud', signal: this.#context.signal });
  }

  async #ask(
    examples: readonly Example[],
    title: string,
    how: Pick<EndpointOptions, 'client' | 'signal' | 'fields' | 'source'>,
  ): Promise<EndpointAnswers> {
    const { live, max_tokens: maxTokens } = this.#context.config;
    const { match, form } = live!;
    const progress = { stage: `live: ${this.#user.id}`, total: this.#wanted.length, note: title };
    const onProgress = (done: number, total: number) =>
      this.#context.onProgress({ ...progress, done: this.#done + done / total / 2 });
    const answered = await scoreEndpoint(examples, { maxTokens, match, form, ...how, onProgress });
    this.notices.push(...answered.notices.map((notice) => `${this.#user.id}, ${title}: ${notice}`));
    return answered;
  }

  async #keep({ key, strategy, table, device }: LivePlan, options: Cell['options'], answered: EndpointAnswers) {
    const { info, seed, runSeed, test } = this.#user;
    const blend = device?.blended ? (await this.#files()).blend : null;
    const { config, directory } = this.#context;
    const { records } = answered;
    const costs = liveCosts(answered, blend, config.live!.prices);
    const parts = { key, user: info, strategy, table, options, seed, runSeed, test, records, ...costs };
    directory.writeCell(cellOf(parts), records);
    this.#done++;
  }

  /** The same promise for every caller. */
  #once<T>(name: string, make: () => Promise<T>): Promise<T> {
    if (!this.#made.has(name)) this.#made.set(name, make());
    return this.#made.get(name) as Promise<T>;
  }
}

/** What a live cell cost. @param blend null for the base model or the server */
export function liveCosts(answered: EndpointAnswers, blend: UserFiles['blend'] | null, prices: BenchLive['prices']) {
  const { ms: customisationMs = 0, bytes: adapterBytes = 0, coefficients } = blend ?? {};
  return {
    method: 'generation',
    loss: null,
    customisationMs,
    bytesToServer: 0,
    adapterBytes,
    // stored as float32; the file's header is less than a parameter in a thousand
    adapterParameters: Math.floor(adapterBytes / 4),
    costPer1000: costPer1000(answered, prices),
    coefficients,
  } as const;
}

/** The thresholds that send the wanted share of these queries. */
export function thresholdsFor(
  records: readonly CalibrationRecord[],
  { live, seed }: Pick<BenchConfig, 'live' | 'seed'>,
): Thresholds {
  const target = { kind: 'share', value: live!.share } as const;
  return calibrate(records, { target, seed, resamples: 200 }).thresholds; // unused intervals: keep it cheap
}

/** The cuts of the hybrid's cell: what was calibrated. */
function cutsOf(thresholds: Thresholds | null): Cell['options'] {
  return thresholds === null ? {} : recordedSignals((name) => thresholds[name] ?? null);
}

/** Both sides' answers to the same examples, as `crayon calibrate` records them. */
export function calibrationRecords(edge: EndpointAnswers, server: EndpointAnswers): CalibrationRecord[] {
  return edge.records.flatMap((record, i): CalibrationRecord[] => {
    const other = server.records[i]!;
    const [onDevice, onServer] = [edge.answers[i]!, server.answers[i]!];
    if (onDevice === null || onServer === null) return []; // an answer that failed says nothing about the query
    if (other.id !== record.id) {
      throw new CrayonError('dataset-invalid', `${record.id} and ${other.id} are not the same`);
    }
    const { id, correct: edgeCorrect } = record;
    const signals = recordedSignals((name) => record[name] ?? null);
    const tokens = {
      edge: onDevice.usage?.completionTokens ?? 0,
      serverPrompt: onServer.usage?.promptTokens ?? 0,
      serverCompletion: onServer.usage?.completionTokens ?? 0,
    };
    return [{ id, ...signals, edgeCorrect, serverCorrect: other.correct, tokens, serverCost: 0 }];
  });
}

export interface LiveUser extends UserWithExamples {
  /** held-out examples that are neither shown nor tested */
  calibration: Example[];
}

/** Draws the calibration examples from what the tasks have to show, less what the user shows and is tested on. */
export function liveUser(user: UserWithExamples, count: number): LiveUser {
  const used = new Set([...user.shown, ...user.test].map(({ prompt }) => promptHash(prompt)));
  const left = user.tasks.flatMap((task) => task.shown.filter(({ prompt }) => !used.has(promptHash(prompt))));
  if (left.length < MIN_RECORDS) {
    throw new CrayonError(
      'dataset-too-small',
      `${user.info.name}: ${left.length} held-out examples are left to calibrate on, expected at least ${MIN_RECORDS}`,
    );
  }
  const order = createRandom(user.seed, `calibration of ${user.id}`).shuffle([...left]);
  return { ...user, calibration: order.slice(0, count) };
}

export interface UserFiles {
  /** what the user shows, for the scope signal */
  examples: string;
  adapter: string;
  blend: { ms: number; bytes: number; coefficients: number[] };
}

/** Writes the user's examples and blends its adapter, as `crayon blend` does. */
export async function prepareUser(
  user: UserWithExamples,
  { pool, base }: { pool: string; base: string },
  dir: string,
): Promise<UserFiles> {
  ensureDirectory(dir);
  const examples = writeShown(user, dir);
  const adapter = join(dir, 'adapter');
  const { coefficients, totalMs, blend } = await blendPool({
    pool,
    examples: user.shown,
    model: base,
    out: adapter,
    estimator: 'similarity',
    combine: 'cat',
    dtype: 'F32',
    long: 'truncate',
    force: true,
  });
  return { examples, adapter, blend: { ms: totalMs, bytes: blend.bytes, coefficients } };
}

/** Money for 1,000 such queries; null without prices, and where the server does not count its tokens. */
export function costPer1000({ records, answers }: EndpointAnswers, prices: BenchLive['prices']): number | null {
  if (prices === null) return null;
  let money = 0;
  for (const [i, answer] of answers.entries()) {
    if (answer === null || records[i]!.source !== 'in_cloud') continue;
    if (answer.usage === null) return null;
    const { promptTokens, completionTokens } = answer.usage;
    money += (promptTokens * prices.input_per_million + completionTokens * prices.output_per_million) / 1e6;
  }
  return (1000 * money) / answers.length;
}
