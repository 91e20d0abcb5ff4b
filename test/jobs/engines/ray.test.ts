/** What is said to a Ray head and what is made of its answers, with a recorded one; test/e2e/ray.test.ts has a real one. */

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { INDEX, type Work } from '../../../src/jobs/engine.js';
import { rayEngine } from '../../../src/jobs/engines/ray.js';
import { runWork } from '../../../src/jobs/run.js';
import { temporaryDir } from '../../helpers/files.js';
import { type RayServer, rayServer, type Seen } from '../../helpers/ray-head.js';

function workOf(more: Partial<Work> = {}): Work {
  const dir = join(temporaryDir(), 'pool.building');
  mkdirSync(dir);
  const unit = ['train', '--pool', '/a b/pool', '--cluster', INDEX];
  const last = ['finish', '--pool', '/a b/pool'];
  return {
    name: 'crayon-pool',
    program: ['node', 'crayon.js'],
    unit,
    indices: [0, 1, 2],
    last,
    dir,
    workers: 2,
    threads: 3,
    ...more,
  };
}

/** Follows it to the end, where a job is done once Ray has said so. */
async function run(ray: RayServer, { work = workOf(), options = {}, signal }: Followed = {}) {
  const engine = rayEngine.open({ address: ray.url, patience: 0.1, ...options });
  const isDone = (job: Work['indices'][number] | 'last') =>
    [...ray.jobs].some(
      ([id, seen]) => id.includes(job === 'last' ? 'finish' : `unit-${job}-`) && seen[0] === 'SUCCEEDED',
    );
  const notes: string[] = [];
  const kind = { name: 'ray', pollMs: 1 };
  await runWork({ engine, kind, work, isDone, signal, onProgress: (done, _, note) => notes.push(`${done} ${note}`) });
  return notes;
}
interface Followed {
  work?: Work;
  options?: Record<string, unknown>;
  signal?: AbortSignal;
}

/** Ids without the run's. */
const names = (ids: Iterable<string>) => [...ids].map((id) => id.replace(/^crayon-pool-[0-9a-f]{8}-/, ''));
const submitted = (ray: RayServer) => names(ray.submitted.map(({ submission_id }) => submission_id));
const fates = (table: Record<string, Seen[]>) => (job: string) => table[job] ?? ['SUCCEEDED'];

describe('jobs of Ray', () => {
  it('ask for what a unit needs, and run crayon with nothing in between', async () => {
    const ray = await rayServer();
    await run(ray, { options: { cpus: '4', gpus: '0.5', memory: '8GB', resources: { a100: 1 } } });
    expect(ray.submitted[1]).toEqual({
      submission_id: expect.stringMatching(/^crayon-pool-[0-9a-f]{8}-unit-1-1$/),
      entrypoint: `exec node crayon.js train --pool '/a b/pool' --cluster 1`,
      entrypoint_num_cpus: 4,
      entrypoint_num_gpus: 0.5,
      entrypoint_memory: 8e9,
      entrypoint_resources: { a100: 1 },
      runtime_env: {
        env_vars: {
          CRAYON_THREADS: '3',
          OMP_NUM_THREADS: '3',
          TF_NUM_INTRAOP_THREADS: '3',
          RAY_JOB_STOP_WAIT_TIME_S: '120',
        },
      },
      metadata: { crayon_pool: 'crayon-pool', crayon_job: 'unit-1' },
    });
  });

  it('ask for as many processors as a unit has threads', async () => {
    const ray = await rayServer();
    await run(ray, { work: workOf({ threads: 6 }) });
    expect(ray.submitted.map((one) => one.entrypoint_num_cpus)).toEqual([6, 6, 6, 6]);
  });

  it('are so many at a time, and the end comes when all are done', async () => {
    const ray = await rayServer(
      fates({
        'unit-0-1': ['PENDING', 'RUNNING', 'RUNNING', 'SUCCEEDED'],
        'unit-1-1': ['RUNNING', 'RUNNING', 'SUCCEEDED'],
      }),
    );
    const notes = await run(ray);
    expect(submitted(ray)).toEqual(['unit-0-1', 'unit-1-1', 'unit-2-1', 'finish-1']);
    const third = ray.asked.lastIndexOf('POST /api/jobs/', ray.asked.lastIndexOf('POST /api/jobs/') - 1);
    expect(ray.asked.slice(0, third).filter((line) => line.startsWith('GET /api/jobs/')).length).toBeGreaterThan(2);
    expect(notes[0]).toBe('0 1 running (unit-1), 3 waiting');
  });

  it('have their words kept in the shared directory', async () => {
    const ray = await rayServer();
    const work = workOf();
    await run(ray, { work });
    expect(readFileSync(join(work.dir, 'logs', 'unit-2.log'), 'utf8')).toMatch(
      /^the words of crayon-pool-\w+-unit-2-1\n$/,
    );
    expect(existsSync(join(work.dir, 'logs', 'finish.log'))).toBe(false); // by then a work directory is gone
  });

  it.each([
    ['killed', [-9], ['unit-1-2']],
    ['killed behind a shell', [137], ['unit-1-2']],
    ['out of memory', [4], ['unit-1-2']],
    [
      'gone with its node',
      [{ status: 'FAILED', error_type: 'JOB_SUPERVISOR_ACTOR_DIED', driver_exit_code: null }],
      ['unit-1-2'],
    ],
    ['wrong', [3], []],
    ['stopped by somebody', ['STOPPED'], []],
  ] as Array<[string, Seen[], string[]]>)('that are %s are begun again where that may help', async (_, seen, again) => {
    const ray = await rayServer(fates({ 'unit-1-1': ['RUNNING', ...seen] }));
    const running = run(ray);
    if (again.length > 0) await running;
    else
      await expect(running).rejects.toMatchObject({
        code: 'jobs-failed',
        message: expect.stringMatching(/^failed: unit-1 /),
        said: [expect.stringMatching(/^the words of/)],
      });
    expect(submitted(ray).filter((id) => /-[2-9]$/.test(id))).toEqual(again);
    expect(submitted(ray).includes('finish-1')).toBe(again.length > 0);
  });

  it('are begun so often at most, and then named with their exit code', async () => {
    const ray = await rayServer((job) => (job.startsWith('unit-1') ? [-9] : ['SUCCEEDED']));
    await expect(run(ray, { options: { tries: 2 } })).rejects.toThrow(/failed: unit-1 \(exit code -9\)/);
    expect(submitted(ray).sort()).toEqual(['unit-0-1', 'unit-1-1', 'unit-1-2', 'unit-2-1']);
  });

  it('for which there was no room for a quarter of an hour wait again', async () => {
    const noRoom = {
      status: 'FAILED',
      error_type: 'JOB_SUPERVISOR_ACTOR_START_TIMEOUT',
      message: 'failed to start within 900 s',
    };
    const ray = await rayServer(fates({ 'unit-0-1': [noRoom], 'unit-0-2': [noRoom] }));
    await run(ray, { options: { tries: 1 } });
    expect(submitted(ray)).toContain('unit-0-3');
  });

  it('that a head started anew no longer knows are begun again', async () => {
    const ray = await rayServer(fates({ 'unit-0-1': ['RUNNING'] }));
    let looks = 0;
    ray.instead = (line) => {
      if (line.endsWith('-unit-0-1') && ++looks === 3) ray.jobs.clear();
      return false;
    };
    await run(ray);
    expect(submitted(ray)).toContain('unit-0-2');
  });

  it('of a coordinator that is gone are followed, and what it had not submitted is', async () => {
    const ray = await rayServer(fates({ 'unit-0-1': ['RUNNING'], 'unit-1-1': [-9], 'unit-1-2': ['RUNNING'] }));
    const work = workOf();
    const gone = rayEngine.open({ address: ray.url });
    const handle = await gone.submit(work);
    await gone.poll(handle, work);
    expect(submitted(ray)).toEqual(['unit-0-1', 'unit-1-1', 'unit-1-2']);
    const next = rayEngine.open({ address: ray.url });
    const states = await next.poll(handle, work);
    expect(states.map(({ job, state }) => `${job} ${state}`)).toEqual([
      '0 running',
      '1 running',
      '2 waiting',
      'last waiting',
    ]);
    for (const seen of ray.jobs.values()) seen.splice(0, 1, 'SUCCEEDED');
    for (let k = 0; k < 3; k++) await next.poll(handle, work);
    expect(submitted(ray).slice(3)).toEqual(['unit-2-1', 'finish-1']);
  });

  it('of a run that is over are no reason to go on with it', async () => {
    const ray = await rayServer(fates({ 'unit-0-1': ['STOPPED'], 'unit-1-1': ['SUCCEEDED'] }));
    const work = workOf();
    const handle = await rayEngine.open({ address: ray.url }).submit(work);
    const states = await rayEngine.open({ address: ray.url }).poll(handle, work);
    expect(states.map(({ job, state }) => `${job} ${state}`)).toEqual(['0 failed', '1 ended']);
    expect(submitted(ray)).toHaveLength(2);
  });

  it('are asked to end when the build is stopped, which waits for their checkpoint', async () => {
    const ray = await rayServer(() => ['RUNNING']);
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    await expect(run(ray, { signal: stop.signal })).rejects.toMatchObject({ code: 'interrupted' });
    const stops = ray.asked.filter((line) => line.endsWith('/stop'));
    expect(names(stops.map((line) => line.split('/')[3]!)).sort()).toEqual(['unit-0-1', 'unit-1-1']);
    expect([...ray.jobs.values()]).toEqual([['STOPPED'], ['STOPPED']]);
  });

  it('are shown as they would be submitted, without a token', () => {
    process.env.CRAYON_TEST_TOKEN = 'sesame';
    const shown = rayEngine
      .open({ address: 'http://head:8265/', token_env: 'CRAYON_TEST_TOKEN', program: 'crayon -q' })
      .print(workOf());
    expect(shown.match(/^POST http:\/\/head:8265\/api\/jobs\/$/gm)).toHaveLength(4);
    expect(shown).toContain(`"entrypoint": "exec crayon -q finish --pool '/a b/pool'"`);
    expect(shown).not.toContain('sesame');
  });
});

describe('a Ray head', () => {
  afterEach(() => {
    delete process.env.RAY_AUTH_TOKEN;
    delete process.env.CRAYON_TEST_TOKEN;
  });

  it('is sent its token and headers', async () => {
    const ray = await rayServer();
    process.env.RAY_AUTH_TOKEN = 'sesame';
    await rayEngine.open({ address: ray.url, headers: 'X-Team: us' }).check();
    process.env.CRAYON_TEST_TOKEN = 'simsim';
    await rayEngine.open({ address: ray.url, token_env: 'CRAYON_TEST_TOKEN', headers: { 'X-Team': 'them' } }).check();
    expect(ray.headers.map((one) => [one.authorization, one['x-team'], one['user-agent']])).toEqual([
      ['Bearer sesame', 'us', 'crayon'],
      ['Bearer simsim', 'them', 'crayon'],
    ]);
  });

  it.each([
    [
      'that wants a token',
      401,
      'Unauthorized: Missing authentication token',
      /answered 401 to GET .*: Unauthorized/,
      /token_env/,
    ],
    ['behind a login page', 302, '<html>', /answered 302 to GET \/api\/version$/, /headers/],
    ['that is none', 200, '<html>hello', /is not JSON .* no Ray head/, undefined],
    ['that is another server', 200, '{"version": 1}', /version.*1.*ray_version|ray_version/s, undefined],
  ])('%s is refused before anything is submitted', async (_, status, body, words, hint) => {
    const ray = await rayServer();
    ray.instead = (_line, response) => {
      response.writeHead(status, status === 302 ? { location: 'http://127.0.0.1:1/' } : {}).end(body);
      return true;
    };
    const error = await rayEngine
      .open({ address: ray.url })
      .check()
      .catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'jobs-unavailable', message: expect.stringMatching(words) });
    if (hint) expect(error.hint).toMatch(hint);
  });

  it('that is not there is said at once', async () => {
    const ray = await rayServer();
    await ray.close();
    await expect(rayEngine.open({ address: ray.url }).check()).rejects.toMatchObject({
      code: 'jobs-unavailable',
      message: `Ray at ${ray.url} cannot be reached (ECONNREFUSED)`,
    });
  });

  it('that does not answer in time is given up, a build with it after a while', async () => {
    const ray = await rayServer(() => ['RUNNING']);
    const options = { address: ray.url, timeout: 0.1, patience: 0.5 };
    const engine = rayEngine.open(options);
    const work = workOf();
    const handle = await engine.submit(work);
    ray.instead = () => true; // and says nothing
    await expect(engine.poll(handle, work)).rejects.toMatchObject({
      code: 'jobs-unavailable',
      message: expect.stringContaining('no answer within 0.1 s'),
    });
    expect(ray.asked.filter((line) => line.endsWith('unit-0-1')).length).toBeGreaterThan(1);
  });

  it('whose faults pass is asked again, and submits nothing twice', async () => {
    const ray = await rayServer();
    const seen = new Map<string, number>();
    ray.instead = (line, response) => {
      const times = (seen.get(line) ?? 0) + 1;
      seen.set(line, times);
      if (line === 'GET /api/version' || times > 2) return false;
      if (line === 'POST /api/jobs/' && times === 2) return false; // it takes it now ...
      if (times === 1) response.writeHead(503).end('No available agent to submit job, please try again later.');
      else response.destroy();
      return true;
    };
    await run(ray, { options: { patience: 20 } });
    expect(submitted(ray)).toEqual(['unit-0-1', 'unit-1-1', 'unit-2-1', 'finish-1']);
  });

  it('that took a submission whose answer was lost is understood', async () => {
    const ray = await rayServer();
    const work = workOf({ indices: [0] });
    let lost = false;
    ray.instead = (line, response) => {
      if (line !== 'POST /api/jobs/' || lost) return false;
      lost = true;
      const write = response.writeHead.bind(response);
      response.writeHead = ((...args: Parameters<typeof write>) => {
        response.destroy();
        return write(...args);
      }) as typeof response.writeHead;
      return false;
    };
    await run(ray, { work, options: { patience: 20 } });
    expect(ray.asked.filter((line) => line === 'POST /api/jobs/')).toHaveLength(3); // unit, unit again, finish
    expect(submitted(ray)).toEqual(['unit-0-1', 'finish-1']);
  });

  it('that refuses what is submitted is heard, and what it took before is stopped', async () => {
    const ray = await rayServer(() => ['RUNNING']);
    let count = 0;
    ray.instead = (line, response) => {
      if (line !== 'POST /api/jobs/' || ++count < 2) return false;
      response
        .writeHead(500)
        .end('Traceback:\n File x\nRuntimeError: Request failed with status code 400: wrong runtime_env.');
      return true;
    };
    await expect(run(ray)).rejects.toMatchObject({
      code: 'jobs-failed',
      message: expect.stringMatching(/answered 500 to POST \/api\/jobs\/: RuntimeError: .*wrong runtime_env/),
    });
    expect(names(ray.asked.filter((line) => line.endsWith('/stop')).map((line) => line.split('/')[3]!))).toEqual([
      'unit-0-1',
    ]);
  });
});

describe('options of Ray', () => {
  it.each([
    [{ address: 'head:8265' }, /address .*expected an address such as http/],
    [{ cpus: '-1' }, /cpus .*a number from 0/],
    [{ memory: '8 apples' }, /memory/],
    [{ headers: 'X-Team' }, /headers/],
    [{ token_env: 'CRAYON_NOT_SET' }, /CRAYON_NOT_SET is not set/],
    [{ tries: 0 }, /tries/],
    [{ partition: 'gpu' }, /partition is not a known key/],
  ])('%s is refused', (options, words) => {
    expect(() => rayEngine.open(options)).toThrowError(words);
  });
});
