/**
 * As much of a Kubernetes API server as kubectl needs to apply, list, read logs of and delete Jobs, over a real socket: discovery, and
 * Jobs that are kept as long as they have the shape of Kubernetes' schema. What its controller would do is a test's.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { onTestFinished } from 'vitest';
import { temporaryDir } from './files.js';
import { fixture } from './fixtures.js';

// biome-ignore lint/suspicious/noExplicitAny: what a peer says
type Thing = any;

const schema = JSON.parse(readFileSync(fixture('kubernetes', 'job.json'), 'utf8'));
export const isKubernetesJob = new Ajv2020({ strict: false }).compile<Thing>(schema);

export interface KubernetesApi {
  asked: string[];
  jobs: Map<string, Thing>;
  pods: Thing[];
  /** called before things are listed */
  control: () => void;
}

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'watch'];
const resource = (name: string, kind: string) => ({ name, singularName: '', namespaced: true, kind, verbs: VERBS });
const KIND = { group: 'batch', version: 'v1', kind: 'Job' };
/** By it kubectl learns that the server checks the fields of what is applied. */
const PATCH = {
  'x-kubernetes-group-version-kind': KIND,
  parameters: [{ name: 'fieldValidation', in: 'query', schema: { type: 'string' } }],
  responses: {},
};
const FIXED: Record<string, object> = {
  '/version': { major: '1', minor: '32', gitVersion: 'v1.32.0' },
  '/api': { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] },
  '/apis': {
    ...{ kind: 'APIGroupList', apiVersion: 'v1' },
    groups: [{ name: 'batch', versions: [{ groupVersion: 'batch/v1', version: 'v1' }] }],
  },
  '/api/v1': {
    ...{ kind: 'APIResourceList', groupVersion: 'v1' },
    resources: [resource('pods', 'Pod'), resource('pods/log', 'Pod')],
  },
  '/apis/batch/v1': { kind: 'APIResourceList', groupVersion: 'batch/v1', resources: [resource('jobs', 'Job')] },
  '/openapi/v3': { paths: { 'apis/batch/v1': { serverRelativeURL: '/openapi/v3/apis/batch/v1?hash=1' } } },
  '/openapi/v3/apis/batch/v1': {
    ...{ openapi: '3.0.0', info: { title: 'Kubernetes', version: 'v1' } },
    paths: { '/apis/batch/v1/namespaces/{namespace}/jobs/{name}': { patch: PATCH } },
  },
};
const failure = (code: number, reason: string, message: string) => ({
  ...{ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure' },
  ...{ code, reason, message },
});

/** Starts it, and has kubectl talk to it. */
export async function kubernetesApi(): Promise<KubernetesApi> {
  const api: KubernetesApi = { asked: [], jobs: new Map(), pods: [], control: () => {} };
  const http = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const [status, body] = answer(api, request, Buffer.concat(parts).toString());
      const type = typeof body === 'string' ? 'text/plain' : 'application/json';
      response.writeHead(status, { 'content-type': type }).end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const home = temporaryDir();
  const server = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const config = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test' },
    clusters: [{ name: 'test', cluster: { server } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace: 'ml' } }],
    users: [{ name: 'test', user: { token: 'none' } }],
  };
  writeFileSync(join(home, 'config'), JSON.stringify(config));
  const { HOME, KUBECONFIG } = process.env;
  Object.assign(process.env, { HOME: home, KUBECONFIG: join(home, 'config') });
  onTestFinished(async () => {
    process.env.HOME = HOME;
    if (KUBECONFIG === undefined) delete process.env.KUBECONFIG;
    else process.env.KUBECONFIG = KUBECONFIG;
    await new Promise((resolve) => {
      http.close(resolve);
      http.closeAllConnections();
    });
  });
  return api;
}

function answer(api: KubernetesApi, request: IncomingMessage, body: string): [status: number, body: object | string] {
  const { pathname, searchParams } = new URL(request.url!, 'http://x');
  if (FIXED[pathname]) return [200, FIXED[pathname]];
  api.asked.push(`${request.method} ${request.url}`);
  const [, kind, name, more] = /\/namespaces\/ml\/(jobs|pods)(?:\/([^/]+)(\/log)?)?$/.exec(pathname) ?? [];
  const missing: [number, object] = [404, failure(404, 'NotFound', `${pathname} not found`)];
  if (kind === undefined) return missing;
  if (request.method === 'POST') {
    const job = JSON.parse(body);
    if (!isKubernetesJob(job)) return [400, failure(400, 'BadRequest', JSON.stringify(isKubernetesJob.errors))];
    Object.assign(job.metadata, { uid: `uid-${job.metadata.name}`, resourceVersion: '1' });
    api.jobs.set(job.metadata.name, job);
    return [201, job];
  }
  if (more) return [200, `the words of ${name}\n`];
  if (request.method === 'DELETE') {
    api.jobs.delete(name!);
    return [200, { kind: 'Status', apiVersion: 'v1', status: 'Success', details: { name, uid: `uid-${name}` } }];
  }
  if (name !== undefined) return api.jobs.has(name) ? [200, api.jobs.get(name)] : missing;
  if (kind === 'jobs') api.control();
  const wanted = (searchParams.get('labelSelector') ?? '').split(',').map((pair) => pair.split('='));
  const all: Thing[] = kind === 'jobs' ? [...api.jobs.values()] : api.pods;
  const items = all.filter(({ metadata }) => wanted.every(([label, value]) => metadata.labels[label!] === value));
  const [listKind, apiVersion] = kind === 'jobs' ? ['JobList', 'batch/v1'] : ['PodList', 'v1'];
  return [200, { kind: listKind, apiVersion, metadata: { resourceVersion: '1' }, items }];
}
