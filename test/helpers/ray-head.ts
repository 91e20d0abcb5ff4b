/** What a Ray head (2.60) answers to its Jobs REST API, as recorded from one, over a real socket; what becomes of jobs is a test's. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** RUNNING, SUCCEEDED; a number: FAILED with it for an exit code; an object: as it is. */
export type Seen = string | number | Record<string, unknown>;

export interface RayServer {
  url: string;
  /** `POST /api/jobs/`, in their order */
  asked: string[];
  /** bodies of what was submitted */
  submitted: Array<Record<string, unknown> & { submission_id: string }>;
  headers: IncomingMessage['headers'][];
  /** of jobs: how they are seen, one a look, the last one from then on */
  jobs: Map<string, Seen[]>;
  /** answers in place of the head; returns whether it has */
  instead: (line: string, response: ServerResponse) => boolean;
  close(): Promise<void>;
}

/** @param fate of a job by the end of its id, `unit-0-1` */
export async function rayServer(fate: (job: string) => Seen[] = () => ['SUCCEEDED']): Promise<RayServer> {
  const http = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => answer(request, Buffer.concat(parts).toString(), response));
  });
  const say = (response: ServerResponse, status: number, body: unknown) => {
    response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body));
  };
  function answer({ method, url, headers }: IncomingMessage, body: string, response: ServerResponse) {
    const line = `${method} ${url}`;
    server.asked.push(line);
    server.headers.push(headers);
    if (server.instead(line, response)) return;
    if (line === 'GET /api/version')
      return say(response, 200, { version: '4', ray_version: '2.60.0', ray_commit: 'b7f4' });
    if (method === 'POST' && Object.keys(headers).some((name) => name.startsWith('sec-fetch-'))) {
      return say(response, 405, "'POST' method not allowed for browser traffic.");
    }
    if (line === 'POST /api/jobs/') return submit(JSON.parse(body), response);
    const [, id, verb] = /^\/api\/jobs\/([\w-]+)(?:\/(logs|stop))?$/.exec(url!) ?? [];
    const seen = server.jobs.get(id!);
    if (seen === undefined) return say(response, 404, `Job ${id} does not exist`);
    if (verb === 'logs') return say(response, 200, { logs: `the words of ${id}\n` });
    if (verb === 'stop') {
      server.jobs.set(id!, ['RUNNING', 'STOPPED']);
      return say(response, 200, { stopped: true });
    }
    const now = seen.length > 1 ? seen.shift()! : seen[0]!;
    say(response, 200, { type: 'SUBMISSION', submission_id: id, entrypoint: '', message: null, ...fieldsOf(now) });
  }
  function submit(given: RayServer['submitted'][number], response: ServerResponse) {
    const id = given.submission_id;
    if (server.jobs.has(id)) {
      const error = `ValueError: Job with submission_id ${id} already exists. Please use a different submission_id.`;
      const wrapped = `RuntimeError: Request failed with status code 400: Traceback (most recent call last):\n${error}\n.`;
      return say(response, 500, `Traceback (most recent call last):\n${wrapped}`);
    }
    server.submitted.push(given);
    server.jobs.set(id, [...fate(/(unit-\d+|finish)-\d+$/.exec(id)![0])]);
    say(response, 200, { job_id: id, submission_id: id });
  }
  const server: RayServer = {
    url: '',
    asked: [],
    submitted: [],
    headers: [],
    jobs: new Map(),
    instead: () => false,
    close: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  server.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  onTestFinished(() => server.close());
  return server;
}

function fieldsOf(seen: Seen): Record<string, unknown> {
  if (typeof seen === 'object') return seen;
  if (typeof seen === 'string') return { status: seen, driver_exit_code: seen === 'SUCCEEDED' ? 0 : null };
  const message = `Job entrypoint command failed with exit code ${seen}, last available logs (truncated to 20,000 chars):\n...`;
  return { status: 'FAILED', error_type: 'JOB_ENTRYPOINT_COMMAND_ERROR', driver_exit_code: seen, message };
}
