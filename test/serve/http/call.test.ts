import { describe, expect, it } from 'vitest';
import { Call, compose, type Middleware, timeLimit } from '../../../src/serve/http/call.js';

const aCall = (signal?: AbortSignal) =>
  new Call(new Request('http://localhost/x', { signal: signal ?? null }), 'req_1');

describe('compose', () => {
  it('puts the first step outermost, and lets a step answer in the place of the rest', async () => {
    const said: string[] = [];
    const step =
      (name: string): Middleware =>
      async (call, next) => {
        said.push(`${name} in`);
        const response = await next(call);
        said.push(`${name} out`);
        return response;
      };
    const handler = () => new Response('handler');
    expect(await (await compose(step('a'), step('b'))(handler)(aCall())).text()).toBe('handler');
    expect(said).toEqual(['a in', 'b in', 'b out', 'a out']);
    const refusing: Middleware = () => new Response('refused');
    expect(await (await compose(refusing, step('c'))(handler)(aCall())).text()).toBe('refused');
    expect(said).toHaveLength(4);
    expect(await (await compose()(handler)(aCall())).text()).toBe('handler');
  });
});

describe('Call', () => {
  it('is ended by its time limit, unless it has ended before', async () => {
    const late = aCall();
    await timeLimit(1)(late, () => new Response());
    await new Promise((resolve) => late.signal.addEventListener('abort', resolve));
    expect(late.explain(new Error('x'))).toMatchObject({ status: 504, code: 'request_timeout' });
    expect(late.record).toEqual({ code: 'request_timeout' });
    const done = aCall();
    await timeLimit(1)(done, () => new Response());
    done.end(200);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(done.signal.aborted).toBe(false);
  });

  it('is cancelled by a client that has gone before it came', () => {
    const gone = aCall(AbortSignal.abort());
    expect([gone.signal.aborted, gone.isAbandoned]).toEqual([true, true]);
    gone.cancel('stop'); // the first cause counts
    expect(gone.explain(new Error('x')).status).toBe(499);
  });

  it('tells everybody of its end once, the last to ask first', () => {
    const call = aCall();
    const said: string[] = [];
    call.onEnd((status) => said.push(`first ${status}`));
    call.onEnd((status) => said.push(`second ${status}`));
    call.end(200);
    call.end(500);
    expect(said).toEqual(['second 200', 'first 200']);
  });
});
