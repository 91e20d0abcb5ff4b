/**
 * The Jobs that a build is in Kubernetes (batch/v1, 1.29 or later), and the options that they are made of.
 *
 * Retries are the cluster's: `backoffLimitPerIndex` counts them for each unit, exit codes that would come again fail a unit at once, and
 * evicted or preempted pods are not counted (`podFailurePolicy`). Pods are what the "restricted" Pod Security Standard lets run.
 */

import { dirname, isAbsolute, relative } from 'node:path';
import * as z from 'zod';
import { CrayonError, EXIT } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { threadVariables } from '../../core/threads.js';
import { matching, text } from '../../files/schema.js';
import { INDEX, RETRIED_EXITS, type Work } from '../engine.js';
import { count, TRIES } from '../options.js';

export const RUN_LABEL = 'crayon-run';
export const JOB_LABEL = 'crayon-job';
/** Kubernetes' own. */
export const INDEX_LABEL = 'batch.kubernetes.io/job-completion-index';

const PAIR = /^([^=]+)=(.*)$/;
const quantity = matching(/^\d+(\.\d+)?([EPTGMk]i?|m)?$/, 'a quantity such as 8Gi');

export const KUBERNETES_OPTIONS = z.strictObject({
  image: text.describe("The image that has crayon, made by its repository's Dockerfile."),
  claim: text.describe('The PersistentVolumeClaim of the shared directory (ReadWriteMany).'),
  mount: text
    .refine(isAbsolute, 'an absolute path')
    .optional()
    .describe('Where pods have it, the path under which it is seen here; the directory of the pool when left out.'),
  sub_path: text.optional().describe('The folder of the volume that is mounted there; all of it when left out.'),
  context: text.optional().describe('Of kubectl; the current one when left out.'),
  namespace: text.optional().describe("Where the Jobs are; the context's when left out."),
  cpus: count(1, 4096).optional().describe('Processors of a unit; as many as it has threads when left out.'),
  memory: quantity.optional().describe('Memory of a unit, 8Gi.'),
  gpus: count(0, 1024).default(0).describe('GPUs of a unit.'),
  gpu_resource: text.default('nvidia.com/gpu').describe('What the cluster calls a GPU.'),
  node_selector: z
    .union([z.record(z.string(), z.string()), matching(PAIR, 'label=value')])
    .default({})
    .describe('Labels of the nodes, so that all are of one type: one as label=value, or a map of them (YAML).'),
  service_account: text.optional().describe('Whom pods run as.'),
  priority_class: text.optional().describe('Of the pods.'),
  pull_secret: text.optional().describe('The secret by which the image is fetched from its registry.'),
  user: count(1)
    .optional()
    .describe(
      "Number of the user that pods write files as; that of the command, or of the image where that is root's.",
    ),
  program: text.optional().describe("What runs crayon in the image; the image's entrypoint when left out."),
  tries: TRIES,
  keep: count(0).default(86_400).describe('Seconds for which Jobs that have ended are kept.'),
  patience: count(0, 86_400)
    .default(120)
    .describe('Seconds for which an API server that does not answer is asked again.'),
});
export type KubernetesOptions = z.output<typeof KUBERNETES_OPTIONS>;

/** Codes that the same unit would end with again. */
const FINAL_EXITS = Object.values(EXIT).filter((code) => code !== EXIT.ok && !RETRIED_EXITS.includes(code));
const CONTAINER = 'crayon';

/** A completion for each number up to the last: those that are done end at once, as `train` of a done cluster does. */
export function unitsJob(options: KubernetesOptions, work: Work, name: string): object {
  // Kubernetes sets the variable, and puts its value into arguments that name it so.
  const args = work.unit.map((part) => part.replaceAll(INDEX, '$(JOB_COMPLETION_INDEX)'));
  return jobOf(options, work, { name, run: name, which: 'units', args }, 'FailIndex', {
    completionMode: 'Indexed',
    completions: Math.max(...work.indices) + 1,
    parallelism: work.workers,
    backoffLimitPerIndex: options.tries - 1,
  });
}

/** What comes after them. */
export function finishJob(options: KubernetesOptions, work: Work, run: string): object {
  return jobOf(options, work, { name: `${run}-finish`, run, which: 'finish', args: work.last }, 'FailJob', {
    completions: 1,
    parallelism: 1,
    backoffLimit: options.tries - 1,
  });
}

interface Named {
  name: string;
  run: string;
  which: 'units' | 'finish';
  args: readonly string[];
}

function jobOf(
  options: KubernetesOptions,
  work: Work,
  { name, run, which, args }: Named,
  failing: string,
  more: object,
) {
  const labels = { 'app.kubernetes.io/name': 'crayon', [RUN_LABEL]: run, [JOB_LABEL]: which };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, labels, ...(options.namespace && { namespace: options.namespace }) },
    spec: {
      ...more,
      podReplacementPolicy: 'Failed', // never two pods of one unit
      podFailurePolicy: {
        rules: [
          { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
          { action: failing, onExitCodes: { containerName: CONTAINER, operator: 'In', values: FINAL_EXITS } },
        ],
      },
      ttlSecondsAfterFinished: options.keep,
      template: { metadata: { labels }, spec: podOf(options, work, args) },
    },
  };
}

function podOf(options: KubernetesOptions, work: Work, args: readonly string[]): object {
  const { image, claim, sub_path, cpus = work.threads, memory, gpus, gpu_resource, program } = options;
  const { service_account, priority_class, pull_secret, node_selector } = options;
  const mountPath = mountOf(options, work);
  const gpu = gpus > 0 ? { [gpu_resource]: String(gpus) } : {};
  const memories = memory === undefined ? {} : { memory };
  const env = { ...threadVariables(work.threads), HOME: '/tmp' };
  return {
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: LIMITS.trainerStopMs / 1000, // a step and a checkpoint
    automountServiceAccountToken: false,
    ...(service_account && { serviceAccountName: service_account }),
    ...(priority_class && { priorityClassName: priority_class }),
    ...(pull_secret && { imagePullSecrets: [{ name: pull_secret }] }),
    ...(Object.keys(labelsOf(node_selector)).length > 0 && { nodeSelector: labelsOf(node_selector) }),
    ...(gpus > 0 && { tolerations: [{ key: gpu_resource, operator: 'Exists', effect: 'NoSchedule' }] }),
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' }, ...userOf(options) },
    containers: [
      {
        name: CONTAINER,
        image,
        ...(program && { command: program.split(/\s+/) }),
        args,
        workingDir: mountPath,
        env: Object.entries(env).map(([name, value]) => ({ name, value })),
        resources: { requests: { cpu: String(cpus), ...memories, ...gpu }, limits: { ...memories, ...gpu } },
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        volumeMounts: [{ name: 'pool', mountPath, ...(sub_path && { subPath: sub_path }) }],
      },
    ],
    volumes: [{ name: 'pool', persistentVolumeClaim: { claimName: claim } }],
  };
}

/** @throws CrayonError `bad-option` where the pool is elsewhere */
function mountOf({ mount }: KubernetesOptions, { dir }: Work): string {
  const path = mount ?? dirname(dir);
  if (!relative(path, dir).startsWith('..')) return path;
  throw new CrayonError('bad-option', `mount: the pool's work directory ${dir} is not below ${path}`, {
    hint: 'Mount the volume here under the path that pods are to have it at, and give a pool in it.',
  });
}

/** Files of the shared directory belong to whoever gives the command. */
function userOf({ user }: KubernetesOptions): object {
  const [uid, gid] = [user ?? (process.getuid?.() || undefined), process.getgid?.() || undefined];
  if (uid === undefined) return {};
  return user === undefined && gid !== undefined ? { runAsUser: uid, runAsGroup: gid } : { runAsUser: uid };
}

function labelsOf(given: KubernetesOptions['node_selector']): Record<string, string> {
  if (typeof given !== 'string') return given;
  const [, label, value] = PAIR.exec(given)!;
  return { [label!]: value! };
}
