/** Manifests, against Kubernetes' own schema of a Job (test/fixtures/kubernetes) and what its server checks beyond it. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { INDEX, isWorthRetrying, type Work } from '../../../src/jobs/engine.js';
import { finishJob, KUBERNETES_OPTIONS, unitsJob } from '../../../src/jobs/engines/kubernetes-jobs.js';
import { isKubernetesJob as isJob } from '../../helpers/kubernetes-api.js';

const pool = '/nfs/pools/mine';
const work: Work = {
  name: 'crayon-mine',
  program: ['node', '/home/me/crayon.js'],
  unit: ['build-pool', 'train', '--pool', pool, '--cluster', INDEX],
  indices: [0, 2, 5],
  last: ['build-pool', 'finish', '--pool', pool],
  dir: join(pool, '..', 'mine.building'),
  workers: 2,
  threads: 3,
};
const optionsOf = (more: object = {}) => KUBERNETES_OPTIONS.parse({ image: 'r/crayon:1', claim: 'nfs', ...more });

// biome-ignore lint/suspicious/noExplicitAny: manifests are read as YAML would be
type Manifest = any;
const both = (more?: object): Manifest[] => [
  unitsJob(optionsOf(more), work, 'crayon-mine-1a2b3c4d'),
  finishJob(optionsOf(more), work, 'crayon-mine-1a2b3c4d'),
];

describe('Jobs of Kubernetes', () => {
  it.each([
    ['with what must be given', {}],
    [
      'with all that can be',
      {
        ...{
          namespace: 'ml',
          cpus: '4',
          gpus: '1',
          memory: '8Gi',
          node_selector: 'gpu=a100',
          tries: '5',
          sub_path: 'pools',
        },
        ...{
          service_account: 'builder',
          priority_class: 'low',
          pull_secret: 'key',
          user: '1234',
          program: 'node crayon.js',
        },
      },
    ],
    ['with labels of several nodes', { node_selector: { type: 'c5', zone: 'b' }, mount: '/nfs' }],
  ])('%s are what its schema has', (_, more) => {
    for (const manifest of both(more)) {
      expect(isJob(manifest), JSON.stringify(isJob.errors)).toBe(true);
    }
  });

  it('would be refused with a key that there is not', () => {
    const [units] = both();
    units.spec.template.spec.containers[0].imagePolicy = 'Always';
    expect(isJob(units)).toBe(false);
    const [other] = both();
    other.spec.podFailurePolicy.rules[1].onExitCodes.values = ['1'];
    expect(isJob(other)).toBe(false);
  });

  it('have the number of a cluster for completion index, so many at a time, retried each for itself', () => {
    const { spec } = both({ tries: 4 })[0];
    expect(spec).toMatchObject({ completionMode: 'Indexed', completions: 6, parallelism: 2, backoffLimitPerIndex: 3 });
    expect(spec).not.toHaveProperty('backoffLimit'); // one cluster's failures are none of the others'
    const { args, command } = spec.template.spec.containers[0];
    expect(args).toEqual(['build-pool', 'train', '--pool', pool, '--cluster', '$(JOB_COMPLETION_INDEX)']);
    expect(command).toBeUndefined(); // the image's entrypoint
    expect(spec.template.spec.restartPolicy).toBe('Never'); // as podFailurePolicy demands
  });

  it('fail at once by exactly those codes of crayon that would come again', () => {
    const [units, finish] = both();
    const rules = [units, finish].map(({ spec }) => spec.podFailurePolicy.rules);
    expect(rules.map(([lost, final]) => [lost.action, final.action])).toEqual([
      ['Ignore', 'FailIndex'],
      ['Ignore', 'FailJob'],
    ]);
    for (const [, { onExitCodes }] of rules) {
      expect(onExitCodes).toMatchObject({ containerName: 'crayon', operator: 'In', values: [1, 2, 3, 5] });
      expect(onExitCodes.values.some(isWorthRetrying)).toBe(false);
    }
  });

  it('ask for what a unit needs', () => {
    const pod = both({ cpus: 4, gpus: 2, memory: '16Gi' })[0].spec.template.spec;
    const [container] = pod.containers;
    expect(container.resources).toEqual({
      requests: { cpu: '4', memory: '16Gi', 'nvidia.com/gpu': '2' },
      limits: { memory: '16Gi', 'nvidia.com/gpu': '2' }, // GPUs count by their limit alone
    });
    expect(pod.tolerations).toEqual([{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }]);
    expect(container.env).toContainEqual({ name: 'CRAYON_THREADS', value: '3' }); // the plan's
    expect(both()[0].spec.template.spec.containers[0].resources.requests).toEqual({ cpu: '3' });
  });

  it('have the shared directory under the path that it has here', () => {
    const volume = (more?: object) => both(more)[0].spec.template.spec.containers[0].volumeMounts[0];
    expect(volume()).toEqual({ name: 'pool', mountPath: '/nfs/pools' });
    expect(volume({ mount: '/nfs', sub_path: 'us' })).toEqual({ name: 'pool', mountPath: '/nfs', subPath: 'us' });
    expect(() => both({ mount: '/data' })).toThrowError(/mine\.building is not below \/data/);
  });

  it('run in the image of the Dockerfile, as a user by number, with crayon for its entrypoint', () => {
    const dockerfile = readFileSync('Dockerfile', 'utf8');
    const { bin, engines } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect(dockerfile).toMatch(/^USER \d{4}:\d{4}$/m); // runAsNonRoot
    expect(dockerfile).toContain(`ENTRYPOINT ["node", "${join('/crayon', bin.crayon)}"]`);
    expect(Number(/^FROM node:(\d+)-slim$/m.exec(dockerfile)![1])).toBe(Number(/\d+/.exec(engines.node)![0]));
    const copied = [...dockerfile.matchAll(/^COPY --from=build \/crayon\/(\S+)/gm)].map((match) => match[1]!);
    const made = ['dist', 'node_modules'];
    expect(copied).toEqual(expect.arrayContaining(made));
    for (const path of copied) expect(made.includes(path) || existsSync(path), path).toBe(true);
  });

  it('run as nobody with rights, and write files as whoever gives the command', () => {
    const pod = both({ user: 1234 })[0].spec.template.spec;
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1234 });
    expect(pod.containers[0].securityContext).toEqual({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    });
    expect(pod.automountServiceAccountToken).toBe(false);
  });
});
