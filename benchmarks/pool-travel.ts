/**
 * A pool that travels: what `crayon serve-pool` sends beside plain servers of the same bytes, how many blends it makes, and how long a
 * fleet of devices takes to be customised over emulated networks, static against blended on the server.
 *
 *     npx tsx benchmarks/pool-travel.ts [--rows send,make,fleet] [--pool models/crayon-edge-pool] [--nginx <binary>]
 *         [--seconds 5] [--rounds 3] [--clients 1,8,32] [--devices 1000] [--rate 20] [--networks wifi,4g] [--top-k 2]
 *
 * | row | work |
 * |---|---|
 * | send | one kept blend, again and again over kept connections: serve-pool by POST and by GET, nginx (two workers, sendfile), node:http with a read stream; the same by its ETag; with the server's processor time for each |
 * | make | blends of new coefficients, `cat` and `svd` to the pool's rank in F16, with one worker and with two |
 * | fleet | devices that come by a Poisson process, each behind a link of its own: the pool's address to the adapter on its disk |
 *
 * Servers in processes of their own, clients and links in this one, on the same cores. nginx: `apt-get download nginx; dpkg-deb -x`,
 * it needs no installation. A device's time is that of the network and of the server: what it computes itself (reading its examples;
 * static: the blend) is measured apart, as a thousand devices would share this machine's two cores for it.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { percentile } from '../src/bench/latency.js';
import { type NetworkName, networkShape } from '../src/bench/live/network/networks.js';
import { openShapingProxy } from '../src/bench/live/network/proxy.js';
import { blendPool } from '../src/blend/blend-pool.js';
import { gate, keepLargest } from '../src/core/gate.js';
import { createRandom } from '../src/core/random.js';
import { openPool } from '../src/pool/pool.js';
import { blendOnServer } from '../src/remote/blends.js';
import { poolPlace } from '../src/remote/place.js';
import { machine, machineLine } from './machine.js';
import { processorMs, type RunningServer, startServer } from './serving/servers.js';

const { values: options } = parseArgs({
  options: {
    rows: { type: 'string', default: 'send,make,fleet' },
    pool: { type: 'string', default: 'models/crayon-edge-pool' },
    nginx: { type: 'string' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    clients: { type: 'string', default: '1,8,32' },
    devices: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '20' },
    networks: { type: 'string', default: 'wifi,4g' },
    'top-k': { type: 'string', default: '2' },
  },
});
const POOL = resolve(options.pool);
const ROWS = options.rows.split(',');
const SECONDS = Number(options.seconds);
const TOP_K = Number(options['top-k']);
const ENTRY = fileURLToPath(new URL('../bin/crayon.ts', import.meta.url));
const WORK = mkdtempSync(join(tmpdir(), 'crayon-travel-'));
const { N, tau } = openPool(POOL).manifest;

type Figures = Record<string, number | string>;
const found: Array<Figures & { row: string }> = [];
function tell(row: string, figures: Figures): void {
  found.push({ row, ...figures });
  const shown = Object.entries(figures).map(([name, value]) => {
    return `${name} ${typeof value === 'number' ? Number(value.toPrecision(4)) : value}`;
  });
  console.log(`${row}: ${shown.join('; ')}`);
}

/** @param cache a name: servers of one name find each other's blends */
function startPool(cache: string, ...more: string[]): Promise<RunningServer> {
  const flags = [
    '--pool',
    POOL,
    '--port',
    '0',
    '--log-level',
    'silent',
    '--queue',
    '10000',
    '--cache-dir',
    join(WORK, cache),
  ];
  return startServer(
    [process.execPath, '--import', 'tsx', ENTRY, 'serve-pool', ...flags, ...more],
    /Listens\s+(http:\/\/\S+)/,
  );
}

const NODE_SERVER = `
const { createServer } = require('node:http');
const { createReadStream, statSync } = require('node:fs');
const file = process.argv[1];
const length = statSync(file).size;
const server = createServer((_, response) => {
  response.writeHead(200, { 'content-length': length });
  createReadStream(file, { highWaterMark: 262144 }).pipe(response);
});
server.listen(0, '127.0.0.1', () => console.log('http://127.0.0.1:' + server.address().port));`;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** nginx with nothing but files of a folder. */
async function startNginx(binary: string, root: string): Promise<{ base: string; pid: number; child: ChildProcess }> {
  const prefix = join(WORK, 'nginx');
  mkdirSync(prefix, { recursive: true });
  const port = await freePort();
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${prefix}/${name};`,
  );
  const config = `daemon off; master_process on; worker_processes 2; pid ${prefix}/pid; error_log ${prefix}/error.log;
user root;
events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; ${places.join(' ')}
  server { listen 127.0.0.1:${port}; root ${root}; } }`;
  writeFileSync(join(prefix, 'nginx.conf'), config);
  const child = spawn(binary, ['-p', prefix, '-c', join(prefix, 'nginx.conf')], { stdio: 'inherit' });
  const base = `http://127.0.0.1:${port}`;
  for (let i = 0; i < 100; i++) {
    if (await fetch(base).then(Boolean, () => false)) return { base, pid: child.pid!, child };
    await sleep(100);
  }
  throw new Error(`${binary} does not listen: ${readFileSync(join(prefix, 'error.log'), 'utf8')}`);
}

/** Answers before any counts: until V8 has compiled the server for good. */
const WARM_UP = 2000;

interface Contestant {
  name: string;
  base: string;
  pid: number;
  request: string;
}

/** Asks the same thing over kept connections for some seconds and `least` times, reading no more of the answers than their length. */
async function load({ base, pid, request }: Contestant, clients: number, least = 0) {
  const { port } = new URL(base);
  const before = processorMs(pid);
  let answers = 0;
  let bytes = 0;
  const until = performance.now() + SECONDS * 1000;
  const client = () =>
    new Promise<void>((done, fail) => {
      const socket = connect(Number(port), '127.0.0.1', () => socket.write(request));
      let head = '';
      let left = -1;
      socket.on('error', fail);
      socket.on('close', () => done());
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        let at = 0;
        if (left < 0) {
          head += chunk.toString('latin1');
          const end = head.indexOf('\r\n\r\n');
          if (end < 0) return;
          const isNotModified = head.startsWith('HTTP/1.1 304');
          if (!isNotModified && !head.startsWith('HTTP/1.1 200')) fail(new Error(head.slice(0, 200)));
          left = isNotModified ? 0 : Number(/content-length: (\d+)/i.exec(head)![1]);
          at = chunk.length - (head.length - end - 4);
          head = '';
        }
        left -= chunk.length - at;
        if (left > 0) return;
        answers++;
        left = -1;
        if (performance.now() < until || answers < least) socket.write(request);
        else socket.destroy();
      });
    });
  const started = performance.now();
  await Promise.all(Array.from({ length: clients }, client));
  const seconds = (performance.now() - started) / 1000;
  const processor = (processorMs(pid) - before) / answers;
  return { 'requests/s': answers / seconds, 'MB/s': bytes / seconds / 1e6, 'processor ms': processor };
}

const postOf = (coefficients: readonly number[], headers = ''): string => {
  const body = JSON.stringify({ coefficients });
  return `POST /v1/blends HTTP/1.1\r\nhost: 127.0.0.1\r\n${headers}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
};
const getOf = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${headers}\r\n`;

async function sendRow(): Promise<void> {
  const pool = await startPool('send');
  const coefficients = Array.from({ length: N }, (_, n) => (n < TOP_K ? 1 / TOP_K : 0));
  const response = await fetch(`${pool.base}/v1/blends`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ coefficients }),
  });
  const root = join(WORK, 'files');
  mkdirSync(root);
  writeFileSync(join(root, 'blend.tar'), Buffer.from(await response.arrayBuffer()));
  const node = await startServer([process.execPath, '-e', NODE_SERVER, join(root, 'blend.tar')], /(http:\S+)/);
  const nginx = options.nginx === undefined ? null : await startNginx(options.nginx, root);
  if (nginx === null) console.log('send: no --nginx: node:http alone is beside it');
  const path = response.headers.get('content-location')!;
  const known = `if-none-match: ${response.headers.get('etag')}\r\n`;
  const ours = (name: string, request: string) => ({ name: `serve-pool, ${name}`, ...pool, request });
  const contestants: Contestant[] = [
    ours('POST', postOf(coefficients)),
    ours('GET', getOf(path)),
    { name: 'node:http', ...node, request: getOf('/blend.tar') },
    ours('POST, 304', postOf(coefficients, known)),
    ours('GET, 304', getOf(path, known)),
  ];
  if (nginx !== null) {
    const file = await fetch(`${nginx.base}/blend.tar`, { method: 'HEAD' });
    const same = `if-none-match: ${file.headers.get('etag')}\r\n`;
    contestants.push({ name: 'nginx', ...nginx, request: getOf('/blend.tar') });
    contestants.push({ name: 'nginx, 304', ...nginx, request: getOf('/blend.tar', same) });
  }
  try {
    for (const contestant of contestants) await load(contestant, 2, WARM_UP);
    for (const clients of options.clients.split(',').map(Number)) {
      const rates = new Map<string, Array<Awaited<ReturnType<typeof load>>>>();
      for (let round = 0; round < Number(options.rounds); round++) {
        for (const contestant of contestants) {
          rates.set(contestant.name, [...(rates.get(contestant.name) ?? []), await load(contestant, clients)]);
        }
      }
      for (const [who, all] of rates) {
        const middle = (what: keyof (typeof all)[number]) =>
          percentile(
            all.map((one) => one[what]),
            50,
          );
        const figures = ['requests/s', 'MB/s', 'processor ms'] as const;
        tell('send', { who, clients, ...Object.fromEntries(figures.map((what) => [what, middle(what)])) });
      }
    }
    tell('send', { who: 'serve-pool', 'resident MiB': pool.residentMib() });
  } finally {
    await Promise.all([pool.stop(), node.stop()]);
    nginx?.child.kill('SIGTERM');
  }
}

/** How a device gets its adapter, and of serve-pool in what form. */
const BLENDED = {
  static: null,
  'blended, cat': { combine: 'cat' },
  'blended, svd to the pool’s rank, F16': { combine: 'svd', dtype: 'F16' },
} as const;

async function makeRow(): Promise<void> {
  for (const workers of [1, 2]) {
    for (const [how, asked] of Object.entries(BLENDED)) {
      if (asked !== null) await makeOf(workers, how, asked);
    }
  }
}

async function makeOf(workers: number, how: string, asked: object): Promise<void> {
  const pool = await startPool(`make-${workers}-${how.replace(/\W/g, '')}`, '--workers', String(workers));
  try {
    const random = createRandom(workers, 'bench-travel-make');
    const ask = async () => {
      const response = await fetch(`${pool.base}/v1/blends`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ coefficients: drawn(random), ...asked }),
      });
      return (await response.arrayBuffer()).byteLength;
    };
    const bytes = await ask(); // starts a thread
    const until = performance.now() + SECONDS * 1000;
    const times: number[] = [];
    const client = async () => {
      while (performance.now() < until) {
        const started = performance.now();
        await ask();
        times.push(performance.now() - started);
      }
    };
    const before = processorMs(pool.pid);
    const started = performance.now();
    await Promise.all(Array.from({ length: 2 * workers }, client));
    const seconds = (performance.now() - started) / 1000;
    tell('make', {
      ...{ workers, how, kB: bytes / 1000, 'blends/s': times.length / seconds },
      ...{ 'p50 ms': percentile(times, 50), 'p99 ms': percentile(times, 99) },
      'processor ms': (processorMs(pool.pid) - before) / times.length,
    });
  } finally {
    await pool.stop();
  }
}

/** A user's coefficients: near one cluster, and somewhat near others. */
function drawn(random: ReturnType<typeof createRandom>): number[] {
  const near = Math.floor(random.uniform() * N);
  const cosines = Array.from(
    { length: N },
    (_, n) => 0.15 + 0.1 * random.uniform() + (n === near ? 0.3 * random.uniform() : 0),
  );
  return [...keepLargest(gate(cosines, tau), Math.min(TOP_K, N))];
}

async function fleetRow(): Promise<void> {
  const alone: number[] = [];
  for (let i = 0; i < 5; i++) {
    const started = performance.now();
    const out = join(WORK, `alone-${i}`);
    const coefficients = drawn(createRandom(i, 'bench-travel-alone'));
    await blendPool({ pool: POOL, coefficients, estimator: 'given', combine: 'cat', long: 'error', out });
    alone.push(performance.now() - started);
  }
  tell('fleet', { 'static: blend on the device, ms': percentile(alone, 50) });
  for (const network of options.networks.split(',') as NetworkName[]) {
    for (const how of Object.keys(BLENDED) as Array<keyof typeof BLENDED>) {
      const pool = await startPool(`fleet-${network}-${how.replace(/\W/g, '')}`, '--workers', '2');
      const random = createRandom(0, `bench-travel-${network}`); // the same users for both
      try {
        const times: number[] = [];
        const bytes: Record<'down' | 'up', number[]> = { down: [], up: [] };
        const failures: unknown[] = [];
        const device = async (n: number, coefficients: number[]) => {
          const shape = networkShape(network);
          const target = { host: '127.0.0.1', port: Number(new URL(pool.base).port) };
          const proxy = shape === null ? null : await openShapingProxy({ target, shape, seed: n });
          const url = proxy === null ? pool.base : `http://127.0.0.1:${proxy.port}`;
          const cacheDir = join(WORK, `device-${n}`);
          try {
            const started = performance.now();
            const place = await poolPlace(url, { cacheDir });
            const asked = BLENDED[how];
            if (asked === null) await place.members(coefficients);
            else await blendOnServer(place.remote!, { coefficients, ...asked, out: join(cacheDir, 'adapter') });
            times.push(performance.now() - started);
            if (proxy !== null) for (const way of ['down', 'up'] as const) bytes[way].push(proxy.sent[way]);
          } catch (error) {
            failures.push(error);
          } finally {
            await proxy?.close();
            rmSync(cacheDir, { recursive: true, force: true });
          }
        };
        const all: Array<Promise<void>> = [];
        for (let n = 0; n < Number(options.devices); n++) {
          all.push(device(n, drawn(random)));
          await sleep((-1000 / Number(options.rate)) * Math.log(1 - random.uniform()));
        }
        await Promise.all(all);
        if (failures.length > 0) console.log(`fleet: ${failures.length} failed, the first: ${failures[0]}`);
        const metrics = await (await fetch(`${pool.base}/metrics`)).text();
        const origins = [...metrics.matchAll(/blends_total\{origin="(\w+)"\} (\d+)/g)].map(
          ([, name, count]) => `${count} ${name}`,
        );
        const ms = (p: number) => percentile(times, p);
        const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / Math.max(1, values.length);
        tell('fleet', {
          ...{ network, how, devices: times.length, failed: failures.length },
          ...{ 'p50 ms': ms(50), 'p90 ms': ms(90), 'p99 ms': ms(99) },
          ...{ 'kB down a device': mean(bytes.down) / 1000, 'kB up': mean(bytes.up) / 1000 },
          ...(how !== 'static' && { blends: origins.join(', ') }),
        });
      } finally {
        await pool.stop();
      }
    }
  }
}

console.log(`${basename(POOL)}: N = ${N}, top ${TOP_K} of each user`);
try {
  if (ROWS.includes('send')) await sendRow();
  if (ROWS.includes('make')) await makeRow();
  if (ROWS.includes('fleet')) await fleetRow();
} finally {
  rmSync(WORK, { recursive: true, force: true });
}
const where = machine();
console.log(machineLine(where));
console.log(JSON.stringify({ benchmark: 'pool-travel', machine: where, options, found }));
