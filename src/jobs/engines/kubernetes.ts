/**
 * Kubernetes, by kubectl, with whatever account and access its user has: the units are one Indexed Job, whose completion index is the
 * cluster's number; what comes after them is a Job of its own, handed in from `poll` when the first is complete. kubernetes-jobs.ts has
 * their manifests, in which retries and what is not worth one are told to the cluster.
 */

import { randomBytes } from 'node:crypto';
import * as z from 'zod';
import { CrayonError, isCrayonError, reasonOf } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { jsonValue } from '../../files/json.js';
import { checked } from '../../files/schema.js';
import { yamlText } from '../../files/yaml.js';
import { type Engine, engineKind, type Handle, type Job, type JobState, type Work } from '../engine.js';
import { keepLog, keptLog } from '../kept-log.js';
import { runProgram } from '../program.js';
import {
  finishJob,
  INDEX_LABEL,
  JOB_LABEL,
  KUBERNETES_OPTIONS,
  type KubernetesOptions,
  RUN_LABEL,
  unitsJob,
} from './kubernetes-jobs.js';

export const kubernetesEngine = engineKind({
  name: 'kubernetes',
  title: 'an Indexed Job of Kubernetes, by kubectl',
  options: KUBERNETES_OPTIONS,
  pollMs: 3000,
  open: (options) => new KubernetesEngine(options),
});

const CONDITIONS = z
  .array(z.looseObject({ type: z.string(), status: z.string(), reason: z.string().nullish() }))
  .nullish();
const CONTAINER_STATE = z.looseObject({
  waiting: z.looseObject({ reason: z.string().nullish() }).nullish(),
  terminated: z.looseObject({ exitCode: z.int(), reason: z.string().nullish() }).nullish(),
});

/** A Job or a Pod, as far as it is read. */
const ITEM = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ labels: z.record(z.string(), z.string()).default({}) }),
  status: z
    .looseObject({
      conditions: CONDITIONS,
      completedIndexes: z.string().nullish(),
      failedIndexes: z.string().nullish(),
      phase: z.string().nullish(),
      reason: z.string().nullish(),
      containerStatuses: z.array(z.looseObject({ state: CONTAINER_STATE.nullish() })).nullish(),
    })
    .default({}),
});
type Item = z.output<typeof ITEM>;
const LIST = z.looseObject({ items: z.array(ITEM) });

class KubernetesEngine implements Engine {
  readonly #options: KubernetesOptions;
  /** whose words are in the shared directory */
  readonly #kept = new Set<Job>();
  /** the last answer, for as long as the next one may be missing */
  #last: { states: JobState[]; atMs: number } | undefined;

  constructor(options: KubernetesOptions) {
    this.#options = options;
  }

  print(work: Work): string {
    const name = nameOf(work);
    const units = work.indices.length > 0 ? [yamlText(unitsJob(this.#options, work, name))] : [];
    const when = units.length > 0 ? '# When that one is complete:\n' : '';
    return [...units, when + yamlText(finishJob(this.#options, work, name))].join('---\n');
  }

  async check(): Promise<void> {
    try {
      await this.#kubectl(['get', 'jobs', '-l', `${RUN_LABEL}=none`, '-o', 'name']);
    } catch (error) {
      if (!isCrayonError(error, 'jobs-failed')) throw error;
      throw new CrayonError('jobs-unavailable', error.message, {
        said: error.said,
        hint: 'kubectl says why; --engine-options context=... and namespace=... choose another cluster or place.',
        cause: error,
      });
    }
  }

  async submit(work: Work): Promise<Handle> {
    const name = nameOf(work);
    const first = work.indices.length > 0 ? unitsJob : finishJob;
    await this.#apply(first(this.#options, work, name));
    return { name };
  }

  async poll(handle: Handle, work: Work): Promise<JobState[]> {
    const name = nameIn(handle);
    try {
      const states = await this.#states(name, work);
      this.#last = { states, atMs: performance.now() };
      return states;
    } catch (error) {
      const { states, atMs } = this.#last ?? { atMs: 0 };
      const isOver = performance.now() - atMs > this.#options.patience * 1000;
      if (states === undefined || isOver || !isCrayonError(error, 'jobs-failed')) throw error;
      return states; // an API server that is started anew
    }
  }

  async #states(name: string, work: Work): Promise<JobState[]> {
    const answer = await this.#kubectl(['get', 'jobs,pods', '-l', `${RUN_LABEL}=${name}`, '-o', 'json']);
    const source = { where: 'what kubectl answers', code: 'jobs-failed' } as const;
    const { items } = checked(LIST, jsonValue(answer), source);
    const jobOf = (which: string) =>
      items.find(({ kind, metadata }) => kind === 'Job' && metadata.labels[JOB_LABEL] === which);
    const podsOf = (which: string, index?: number) =>
      items.filter(({ kind, metadata: { labels } }) => {
        const isIts = kind === 'Pod' && labels[JOB_LABEL] === which;
        return isIts && (index === undefined || labels[INDEX_LABEL] === String(index));
      });
    const [units, finish] = [jobOf('units'), jobOf('finish')];
    const states = units === undefined ? [] : work.indices.map((k) => unitState(k, units, podsOf('units', k)));
    for (const { job, state } of states) {
      if (state === 'ended' || state === 'failed') await this.#keep(name, work, job);
    }
    const isOpen = states.every(({ state }) => state !== 'failed');
    if (finish !== undefined) {
      const last = finishState(finish, podsOf('finish'));
      if (last.state === 'failed') await this.#keep(name, work, 'last');
      states.push(last);
    } else if (units !== undefined && isOpen) {
      if (states.every(({ state }) => state === 'ended')) await this.#apply(finishJob(this.#options, work, name));
      states.push({ job: 'last', state: 'waiting' });
    }
    return states;
  }

  async #keep(name: string, work: Work, job: Job): Promise<void> {
    if (this.#kept.has(job)) return;
    this.#kept.add(job);
    if (keptLog(work, job) === '') await keepLog(work, job, () => this.#said(name, job));
  }

  /** Of all attempts. */
  #said(name: string, job: Job): Promise<string> {
    const which = job === 'last' ? `${JOB_LABEL}=finish` : `${INDEX_LABEL}=${job}`;
    return this.#kubectl(['logs', '-l', `${RUN_LABEL}=${name},${which}`, '--tail=-1', '--ignore-errors']);
  }

  async log(handle: Handle, work: Work, job: Job): Promise<string> {
    return keptLog(work, job) || (await this.#said(nameIn(handle), job).catch(reasonOf));
  }

  /** Waits until they have ended, so that whoever begins again meets none of them. */
  async cancel(handle: Handle): Promise<void> {
    const which = ['-l', `${RUN_LABEL}=${nameIn(handle)}`, '--ignore-not-found'];
    const seconds = LIMITS.trainerStopMs / 1000 + 30;
    const args = ['delete', 'jobs', ...which, '--cascade=foreground', '--wait', `--timeout=${seconds}s`];
    await this.#kubectl(args, { timeoutMs: (seconds + 30) * 1000 });
  }

  async #apply(manifest: object): Promise<void> {
    await this.#kubectl(['apply', '-f', '-'], { input: yamlText(manifest) });
  }

  #kubectl(args: readonly string[], more: { input?: string; timeoutMs?: number } = {}): Promise<string> {
    const { context, namespace } = this.#options;
    const place = [...(context ? [`--context=${context}`] : []), ...(namespace ? [`--namespace=${namespace}`] : [])];
    const hint = 'Install kubectl, or choose --engine local.';
    return runProgram('kubectl', [...place, ...args], { missing: ['by which clusters are spoken to', hint], ...more });
  }
}

/** Of a run: it begins names of pods and hosts, which have at most 63 characters. */
function nameOf({ name }: Work): string {
  const plain = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 36)
    .replace(/^-+|-+$/g, '');
  return `${plain || 'crayon'}-${randomBytes(4).toString('hex')}`;
}

function nameIn({ name }: Handle): string {
  if (typeof name === 'string' && /^[a-z0-9-]+$/.test(name)) return name;
  throw new CrayonError('jobs-failed', 'the record of an earlier coordinator names no Job of Kubernetes', {
    hint: 'Remove engine.json from the work directory, and run the command again.',
  });
}

/** @param pods of all its attempts */
function unitState(job: number, { status }: Item, pods: readonly Item[]): JobState {
  if (isListed(status.completedIndexes, job)) return { job, state: 'ended' };
  const failed = conditionOf(status.conditions, 'Failed');
  const isOver = isListed(status.failedIndexes, job) || failed !== undefined;
  if (isOver) return { job, state: 'failed', detail: exitOf(pods) ?? failed?.reason ?? undefined };
  return { job, ...activeState(pods) };
}

function finishState({ status }: Item, pods: readonly Item[]): JobState {
  const failed = conditionOf(status.conditions, 'Failed');
  if (failed) return { job: 'last', state: 'failed', detail: exitOf(pods) ?? failed.reason ?? undefined };
  if (conditionOf(status.conditions, 'Complete')) return { job: 'last', state: 'ended' };
  return { job: 'last', ...activeState(pods) };
}

/** Of what its pods do; without any it waits for its turn, or for its next attempt. */
function activeState(pods: readonly Item[]): { state: 'running' | 'waiting'; detail?: string | undefined } {
  if (pods.some(({ status }) => status.phase === 'Running')) return { state: 'running' };
  const pending = pods.find(({ status }) => status.phase === 'Pending')?.status;
  const unscheduled = pending?.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
  const waiting = pending?.containerStatuses?.find(({ state }) => state?.waiting)?.state?.waiting;
  return { state: 'waiting', detail: unscheduled?.reason ?? waiting?.reason ?? undefined };
}

const conditionOf = (conditions: z.output<typeof CONDITIONS>, wanted: string) =>
  conditions?.find(({ type, status }) => type === wanted && status === 'True');

/** How the last of them has failed. */
function exitOf(pods: readonly Item[]): string | undefined {
  const status = pods.filter((pod) => pod.status.phase === 'Failed').at(-1)?.status;
  const ended = status?.containerStatuses?.[0]?.state?.terminated;
  if (!ended) return status?.reason ?? undefined;
  return `exit code ${ended.exitCode}${ended.reason && ended.reason !== 'Error' ? `, ${ended.reason}` : ''}`;
}

/** Whether `0,2-4,7` has a number. */
function isListed(list: string | null | undefined, index: number): boolean {
  return (list ?? '').split(',').some((part) => {
    const [, first, last] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
    return first !== undefined && index >= Number(first) && index <= Number(last ?? first);
  });
}
