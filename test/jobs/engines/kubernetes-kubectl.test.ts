/** The engine with a real kubectl, where there is one, against an API server that a test plays. No cluster was at hand. */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { INDEX, type Work } from '../../../src/jobs/engine.js';
import { kubernetesEngine } from '../../../src/jobs/engines/kubernetes.js';
import { runWork } from '../../../src/jobs/run.js';
import { temporaryDir } from '../../helpers/files.js';
import { type KubernetesApi, kubernetesApi } from '../../helpers/kubernetes-api.js';

const isThere = spawnSync('kubectl', ['version', '--client']).status === 0;
if (!isThere) console.warn('No real kubectl is tried: there is none on PATH.');

const LABEL = 'batch.kubernetes.io/job-completion-index';

function followed(api: KubernetesApi, signal?: AbortSignal) {
  const dir = join(temporaryDir(), 'pool.building');
  mkdirSync(dir);
  const unit = ['build-pool', 'train', '--cluster', INDEX];
  const work: Work = {
    name: 'crayon-pool',
    program: [],
    unit,
    indices: [0, 1],
    last: ['finish'],
    dir,
    workers: 2,
    threads: 3,
  };
  const engine = kubernetesEngine.open({ image: 'r/crayon', claim: 'nfs', patience: 0 });
  const isEnded = (which: string) =>
    [...api.jobs.values()].some((job) => job.metadata.labels['crayon-job'] === which && job.status?.conditions);
  const isDone = (job: Work['indices'][number] | 'last') => isEnded(job === 'last' ? 'finish' : 'units');
  return { dir, running: runWork({ engine, kind: { name: 'kubernetes', pollMs: 20 }, work, isDone, signal }) };
}

/** A pod of the first Job, as its controller makes them. */
function pod(api: KubernetesApi, index: number, status: object) {
  const [job] = api.jobs.values();
  const metadata = {
    name: `${job.metadata.name}-${index}-x`,
    namespace: 'ml',
    labels: { ...job.metadata.labels, [LABEL]: `${index}` },
  };
  return { metadata, spec: job.spec.template.spec, status };
}

describe.skipIf(!isThere)('kubectl', { timeout: 60_000 }, () => {
  it('applies both Jobs in their order, and brings back what the pods have said', async () => {
    const api = await kubernetesApi();
    let looks = 0;
    api.control = () => {
      const [units, finish] = api.jobs.values();
      if (units === undefined) return; // the first look, whether anybody answers
      const done = { conditions: [{ type: 'Complete', status: 'True' }] };
      if (looks === 0) api.pods = [pod(api, 0, { phase: 'Running' }), pod(api, 1, { phase: 'Running' })];
      units.status = [{ active: 2 }, { completedIndexes: '0', active: 1 }][looks++] ?? {
        completedIndexes: '0,1',
        ...done,
      };
      if (finish !== undefined) finish.status = done;
    };
    const { dir, running } = followed(api);
    await running;
    expect([...api.jobs.values()].map(({ spec }) => spec.completionMode)).toEqual(['Indexed', undefined]);
    expect(readFileSync(join(dir, 'logs', 'unit-1.log'), 'utf8')).toMatch(/^the words of crayon-pool-\w+-1-x\n$/);
    expect(
      api.asked.filter((line) => line.startsWith('POST')).every((line) => line.includes('fieldValidation=Strict')),
    ).toBe(true);
  });

  it('deletes them when the build is stopped', async () => {
    const api = await kubernetesApi();
    const stop = new AbortController();
    api.control = () => {
      if (api.jobs.size > 0) setTimeout(() => stop.abort(), 10);
    };
    await expect(followed(api, stop.signal).running).rejects.toMatchObject({ code: 'interrupted' });
    expect(api.jobs.size).toBe(0);
    expect(api.asked.some((line) => line.startsWith('DELETE'))).toBe(true);
  });
});
