/** `crayon bench load` against a scripted server. */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { LoadCell } from '../../src/bench/types.js';
import { refusedBaseUrl, reply, useUpstream } from '../helpers/scripted-upstream.js';
import { crayon, document, records, refusal, scratch, writeJsonl } from './helpers.js';

const dir = scratch();
const other = scratch();
writeFileSync(join(other, 'notes.txt'), 'mine');
const data = writeJsonl(join(dir, 'prompts.jsonl'), records(6));
const args = (url: string, ...more: string[]) => [
  ...['bench', 'load', '--url', url, '--model', 'm', '--data', data, '--warmup', '1', '--quiet'],
  ...more,
];
const loadOf = async (argv: string[]) => (await document<{ cells: LoadCell[] }>(argv)).cells;

describe('crayon bench load', () => {
  it('measures closed and open patterns, warm-up aside, and writes them', async () => {
    const upstream = await useUpstream(reply.answer(['a', 'b', 'c'], { tokenDelayMs: 15, promptTokens: 7 }));
    const out = join(dir, 'out');
    const more = [
      '--clients',
      '2',
      '--rate',
      '200',
      '--requests',
      '8',
      '--goodput',
      'ttft:5000,e2e:5000',
      '--out',
      out,
    ];
    const [closed, open] = (await loadOf(args(upstream.baseUrl, ...more))) as [LoadCell, LoadCell];
    expect(upstream.requests.length).toBe(2 * (1 + 8));
    expect(closed).toMatchObject({ pattern: 'closed, 2 clients', completed: 8, failed: 0, promptTokens: 56 });
    expect(closed).toMatchObject({ completionTokens: 24, serverShare: 0, goodputLimits: { ttft: 5000, e2e: 5000 } });
    expect(closed.goodput).toBeCloseTo(closed.requestThroughput, 9);
    expect(closed.ttft.all!.p50).toBeGreaterThan(13);
    expect(closed.tpot.all!.p50).toBeGreaterThan(10);
    expect(closed.itl.all!.p50).toBeGreaterThan(10);
    expect(closed.e2e.all!.p50).toBeGreaterThan(40);
    expect(closed.outputThroughput).toBeCloseTo(3 * closed.requestThroughput, 9);
    expect(open).toMatchObject({ pattern: 'open, 200 requests/s', completed: 8, failed: 0 });
    const files = readdirSync(join(out, 'load')).sort();
    expect(files.length).toBe(2);
    expect(files.map((name) => JSON.parse(readFileSync(join(out, 'load', name), 'utf8')))).toEqual([closed, open]);
    const prompts = upstream.requests.map(({ body }) => (body.messages as [{ content: string }])[0].content);
    expect(new Set(prompts).size).toBe(6);
  });

  it('draws models and lengths of answers for each request, the same for the same seed', async () => {
    const upstream = await useUpstream(reply.answer(['a']));
    const more = ['--model', 'ann', '--max-tokens', '5,9', '--clients', '1', '--requests', '40'];
    const asked: string[][] = [];
    for (const seed of ['1', '1', '2']) {
      const before = upstream.requests.length;
      await loadOf(args(upstream.baseUrl, ...more, '--seed', seed));
      asked.push(upstream.requests.slice(before).map(({ body }) => `${body.model} ${body.max_tokens}`));
    }
    expect(new Set(asked[0])).toEqual(new Set(['m 5', 'm 9', 'ann 5', 'ann 9']));
    expect(asked[1]).toEqual(asked[0]);
    expect(asked[2]).not.toEqual(asked[0]);
  });

  it('counts failures apart, by status', async () => {
    const upstream = await useUpstream(
      ...[reply.answer(['warm']), reply.answer(['a']), reply.status(429), reply.answer(['b']), reply.status(500)],
    );
    const [cell] = await loadOf(args(upstream.baseUrl, '--clients', '1', '--requests', '5'));
    expect(cell).toMatchObject({
      completed: 2,
      failed: 3,
      failures: { 'server-failed:429': 1, 'server-failed:500': 2 },
    });
  });

  it('says that a server does not count', async () => {
    const upstream = await useUpstream(reply.answer(['a', 'b'], { usage: 'never' }));
    const argv = args(upstream.baseUrl, '--clients', '1', '--requests', '2').filter((arg) => arg !== '--quiet');
    const { stdout, stderr, code } = await crayon(argv);
    expect(code).toBe(0);
    expect(stderr).toContain('no usage');
    expect(stdout).toContain('closed, 1 client');
  });

  it('sends the mode, the key and the number of tokens', async () => {
    const upstream = await useUpstream(reply.answer(['a']));
    const more = ['--clients', '1', '--requests', '1', '--mode', 'only_on_device', '--max-tokens', '3'];
    const { code } = await crayon(args(upstream.baseUrl, ...more, '--key-env', 'THE_KEY'), { THE_KEY: 'secret' });
    expect(code).toBe(0);
    const { body, headers } = upstream.requests[0]!;
    expect(body).toMatchObject({ max_tokens: 3, crayon: { mode: 'only_on_device' } });
    expect(headers.authorization).toBe('Bearer secret');
  });

  it('ends with the time', async () => {
    const upstream = await useUpstream(reply.answer(['a'], { tokenDelayMs: 20 }));
    const [cell] = await loadOf(args(upstream.baseUrl, '--clients', '1', '--seconds', '0.3'));
    expect(cell!.completed).toBeGreaterThan(1);
    expect(cell!.completed).toBeLessThan(16);
    expect(cell!.seconds).toBeGreaterThan(0.25);
    expect(cell!.seconds).toBeLessThan(2);
  });

  it('refuses what it cannot do, and says why', async () => {
    const url = 'http://127.0.0.1:1/v1';
    expect(await refusal(['bench', 'load', '--model', 'm', '--data', data])).toMatchObject({ code: 'bad-option' });
    expect(await refusal(['bench', 'load', '--url', url, '--data', data])).toMatchObject({ code: 'bad-option' });
    expect(await refusal(['bench', 'load', '--url', url, '--model', 'm'])).toMatchObject({ code: 'bad-option' });
    expect(await refusal(args(url, '--goodput', 'ttft=3'))).toMatchObject({ code: 'bad-option', exit: 2 });
    expect(await refusal(args(url, '--clients', '1.5'))).toMatchObject({ code: 'config-invalid' });
    expect(await refusal(args(url, '--key-env', 'NOT_SET_ANYWHERE'))).toMatchObject({ code: 'config-invalid' });
    expect(await refusal(args(await refusedBaseUrl(), '--clients', '1'))).toMatchObject({ code: 'server-unreachable' });
  });

  it('adds nothing to a directory of something else', async () => {
    const upstream = await useUpstream(reply.answer(['a']));
    const out = other;
    const more = ['--clients', '1', '--requests', '1', '--out', out];
    expect(await refusal(args(upstream.baseUrl, ...more))).toMatchObject({ code: 'output-exists' });
    expect(existsSync(join(out, 'load'))).toBe(false);
  });
});
