/** What kubectl is told and how its answers are read, with a program in its place: no cluster was at hand. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { INDEX, type Work } from '../../../src/jobs/engine.js';
import { kubernetesEngine } from '../../../src/jobs/engines/kubernetes.js';
import { runWork } from '../../../src/jobs/run.js';
import { fakePrograms } from '../../helpers/fake-program.js';
import { temporaryDir } from '../../helpers/files.js';

const OPTIONS = { image: 'r/crayon:1', claim: 'nfs' };
const NAME = 'crayon-pool-1a2b3c4d';
const HANDLE = { name: NAME };

function workOf(more: Partial<Work> = {}): Work {
  const dir = join(temporaryDir(), 'pool.building');
  mkdirSync(dir);
  const unit = ['train', '--cluster', INDEX];
  return {
    name: 'crayon-Pool_x',
    program: ['node'],
    unit,
    indices: [0, 1, 3],
    last: ['finish'],
    dir,
    workers: 2,
    threads: 3,
    ...more,
  };
}

/** As `kubectl get jobs,pods -o json` lists them. */
const list = (...items: object[]) => ({ apiVersion: 'v1', kind: 'List', items });
const job = (which: 'units' | 'finish', status: object) => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: which === 'units' ? NAME : `${NAME}-finish`, labels: { 'crayon-run': NAME, 'crayon-job': which } },
  status,
});
const pod = (index: number, status: object) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `${NAME}-${index}-abcde`,
    labels: { 'crayon-run': NAME, 'crayon-job': 'units', 'batch.kubernetes.io/job-completion-index': String(index) },
  },
  status,
});
const exited = (exitCode: number, reason = 'Error') => ({
  phase: 'Failed',
  containerStatuses: [{ name: 'crayon', state: { terminated: { exitCode, reason } } }],
});
const condition = (type: string, reason: string) => ({ conditions: [{ type, status: 'True', reason }] });

/** A kubectl that lists these; each apply is kept as applied-N.yaml. */
function kubectl(...answers: object[]) {
  const programs = fakePrograms();
  answers.forEach((answer, i) => {
    writeFileSync(join(programs.dir, `answer-${i + 1}`), JSON.stringify(answer));
  });
  programs.put(
    'kubectl',
    `case "$*" in
*"get jobs,pods"*) n=$(($(cat polls 2>/dev/null || echo 0) + 1)); echo $n >polls
  [ -e "answer-$n" ] || n=${answers.length}; cat "answer-$n" ;;
*apply*) n=$(ls applied-* 2>/dev/null | wc -l); cat >"applied-$n.yaml" ;;
*logs*) echo "the words of $*" ;;
esac`,
  );
  const applied = (n: number) => readFileSync(join(programs.dir, `applied-${n}.yaml`), 'utf8');
  const applies = () => programs.calls().filter((call) => call.includes('apply'));
  return { ...programs, applied, applies };
}

const shown = (states: Array<{ job: unknown; state: string; detail?: string | undefined }>) =>
  states.map(({ job, state, detail }) => `${job} ${state}${detail ? ` (${detail})` : ''}`);

describe.skipIf(process.platform === 'win32')('Kubernetes', () => {
  it('is given one Job of all units, in the place that is named', async () => {
    const { applied, calls } = kubectl();
    const engine = kubernetesEngine.open({ ...OPTIONS, context: 'lab', namespace: 'ml' });
    const { name } = await engine.submit(workOf());
    expect(name).toMatch(/^crayon-pool-x-[0-9a-f]{8}$/);
    expect(calls()).toEqual(['kubectl --context=lab --namespace=ml apply -f -']);
    const [manifest] = parseAllDocuments(applied(0)).map((document) => document.toJS());
    expect(manifest).toMatchObject({ kind: 'Job', metadata: { name, namespace: 'ml' }, spec: { completions: 4 } });
  });

  it('is given the end alone where no unit is left', async () => {
    const { applied, applies } = kubectl();
    await kubernetesEngine.open(OPTIONS).submit(workOf({ indices: [] }));
    expect(applies()).toHaveLength(1);
    expect(applied(0)).toMatch(/name: crayon-pool-x-[0-9a-f]{8}-finish/);
  });

  it('tells what became of units by its indexes, of others by their pods', async () => {
    const unschedulable = { conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable' }] };
    const pulling = { containerStatuses: [{ name: 'crayon', state: { waiting: { reason: 'ImagePullBackOff' } } }] };
    const { applies } = kubectl(
      list(
        job('units', { completedIndexes: '0,2-4', failedIndexes: '7,9', active: 3 }),
        pod(5, exited(137, 'OOMKilled')),
        pod(5, { phase: 'Running' }),
        pod(6, { phase: 'Pending', ...unschedulable }),
        pod(7, exited(3)),
        pod(8, { phase: 'Pending', ...pulling }),
        pod(9, exited(137, 'OOMKilled')),
      ),
    );
    const work = workOf({ indices: [0, 1, 3, 5, 6, 7, 8, 9] });
    expect(shown(await kubernetesEngine.open(OPTIONS).poll(HANDLE, work))).toEqual([
      ...['0 ended', '1 waiting', '3 ended', '5 running', '6 waiting (Unschedulable)', '7 failed (exit code 3)'],
      ...['8 waiting (ImagePullBackOff)', '9 failed (exit code 137, OOMKilled)'],
    ]);
    expect(applies()).toEqual([]);
    const logs = join(work.dir, 'logs');
    expect(readFileSync(join(logs, 'unit-7.log'), 'utf8')).toContain(
      `-l crayon-run=${NAME},batch.kubernetes.io/job-completion-index=7 --tail=-1`,
    );
    expect(existsSync(join(logs, 'unit-5.log'))).toBe(false);
  });

  it('is given the end when all units are, once, and followed to its end', async () => {
    const units = job('units', { completedIndexes: '0-3', ...condition('Complete', 'CompletionsReached') });
    const { applied, applies } = kubectl(
      list(job('units', { completedIndexes: '0-2' }), pod(3, { phase: 'Running' })),
      list(units),
      list(units, job('finish', { active: 1 })),
      list(units, job('finish', condition('Complete', 'CompletionsReached'))),
    );
    const [engine, work] = [kubernetesEngine.open(OPTIONS), workOf()];
    const polled: string[] = [];
    for (let k = 0; k < 4; k++)
      polled.push(
        shown(await engine.poll(HANDLE, work))
          .slice(-2)
          .join(', '),
      );
    expect(polled).toEqual([
      '3 running, last waiting',
      '3 ended, last waiting',
      '3 ended, last waiting',
      '3 ended, last ended',
    ]);
    expect(applies()).toHaveLength(1);
    expect(applied(0)).toContain(`name: ${NAME}-finish`);
  });

  it.each([
    [
      'whose limits were passed',
      job('units', condition('Failed', 'DeadlineExceeded')),
      ['0 failed (DeadlineExceeded)', '1 failed (DeadlineExceeded)', '3 failed (DeadlineExceeded)'],
    ],
    [
      'whose end has failed',
      job('finish', condition('Failed', 'PodFailurePolicy')),
      ['last failed (PodFailurePolicy)'],
    ],
    ['that somebody has deleted', undefined, []],
  ])('says of a run %s that it is over', async (_, item, expected) => {
    kubectl(item ? list(item) : list());
    expect(shown(await kubernetesEngine.open(OPTIONS).poll(HANDLE, workOf()))).toEqual(expected);
  });

  it('has its jobs deleted, with their pods, when a build is stopped', async () => {
    const { calls } = kubectl(list(job('units', { active: 2 }), pod(0, { phase: 'Running' })));
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 200);
    const kind = { name: 'kubernetes', pollMs: 10 };
    const engine = kubernetesEngine.open(OPTIONS);
    const running = runWork({ engine, kind, work: workOf(), isDone: () => false, signal: stop.signal });
    await expect(running).rejects.toMatchObject({ code: 'interrupted' });
    expect(calls().at(-1)).toMatch(
      /delete jobs -l crayon-run=crayon-pool-x-\w+ --ignore-not-found --cascade=foreground --wait/,
    );
  });

  it('that does not answer for a while is no reason to fail', async () => {
    const programs = kubectl(list(job('units', { completedIndexes: '0' })));
    const work = workOf();
    const [patient, other] = [kubernetesEngine.open(OPTIONS), kubernetesEngine.open({ ...OPTIONS, patience: '0' })];
    const before = await patient.poll(HANDLE, work);
    await other.poll(HANDLE, work);
    programs.put('kubectl', 'echo "Unable to connect to the server: dial tcp: connection refused" >&2; exit 1');
    expect(await patient.poll(HANDLE, work)).toEqual(before);
    const refused = { code: 'jobs-failed', message: expect.stringContaining('kubectl: Unable to connect') };
    await expect(other.poll(HANDLE, work)).rejects.toMatchObject(refused);
    await expect(patient.check()).rejects.toMatchObject({ ...refused, code: 'jobs-unavailable' });
  });

  it('is shown what it would be given, in the order in which it would', () => {
    const { calls } = kubectl();
    const text = kubernetesEngine.open(OPTIONS).print(workOf());
    const documents = parseAllDocuments(text).map((document) => document.toJS());
    expect(documents.map(({ kind, spec }) => [kind, spec.completionMode])).toEqual([
      ['Job', 'Indexed'],
      ['Job', undefined],
    ]);
    expect(text).toContain('# When that one is complete:');
    expect(calls()).toEqual([]);
  });

  it('without a kubectl is said', async () => {
    const { dir } = fakePrograms();
    process.env.PATH = join(dir, 'bin');
    await expect(kubernetesEngine.open(OPTIONS).check()).rejects.toMatchObject({
      code: 'jobs-unavailable',
      message: expect.stringMatching(/^kubectl: no such program/),
    });
  });
});

describe('options of Kubernetes', () => {
  it.each([
    [{ claim: 'nfs' }, /image/],
    [{ image: 'x' }, /claim/],
    [{ ...OPTIONS, mount: 'relative' }, /mount .*an absolute path/],
    [{ ...OPTIONS, memory: '8 GB' }, /memory .*such as 8Gi/],
    [{ ...OPTIONS, node_selector: 'gpu' }, /node_selector/],
    [{ ...OPTIONS, user: '0' }, /user/],
    [{ ...OPTIONS, partition: 'gpu' }, /partition is not a known key/],
  ])('%s are refused', (options, words) => {
    expect(() => kubernetesEngine.open(options)).toThrowError(words);
  });
});
