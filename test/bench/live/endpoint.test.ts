import { describe, expect, it } from 'vitest';
import { type EndpointOptions, firstTokenScores, scoreEndpoint } from '../../../src/bench/live/endpoint.js';
import { promptHash } from '../../../src/bench/tasks.js';
import type { Example } from '../../../src/data/dataset.js';
import { openChatClient } from '../../../src/engine/server/chat-client.js';
import type { TokenDetail } from '../../../src/engine/types.js';
import { type Reply, reply, useUpstream } from '../../helpers/scripted-upstream.js';
import { beginStream, chunkOf } from '../../helpers/upstream-answers.js';

const example = (i: number, answer: number, choices?: string[]): Example => {
  const all = choices ?? [' wet', ' dry'];
  return { id: `t:${i}`, dataset: 't', prompt: `q${i}: `, completion: all[answer]!, choices: all, answer };
};
const open = (i: number, completion: string): Example => ({ id: `t:${i}`, dataset: 't', prompt: `q${i}`, completion });

/** A chat answer of one token with these likeliest tokens. */
const withTop =
  (text: string, top: Record<string, number>): Reply =>
  (exchange) => {
    beginStream(exchange);
    const entry = (token: string, p: number) => ({ token, logprob: Math.log(p), bytes: null });
    const content = [
      { ...entry(text, top[text] ?? 0.01), top_logprobs: Object.entries(top).map(([token, p]) => entry(token, p)) },
    ];
    const choice = { delta: { content: text }, logprobs: { content }, finish_reason: 'stop' };
    exchange.response.end(`data: ${chunkOf(exchange, choice)}\n\ndata: [DONE]\n\n`);
  };

/** An answer without log-probabilities, whatever was asked. */
const silent =
  (text: string): Reply =>
  (exchange) => {
    beginStream(exchange);
    const choice = { delta: { content: text }, finish_reason: 'stop' };
    exchange.response.end(`data: ${chunkOf(exchange, choice)}\n\ndata: [DONE]\n\n`);
  };

async function ask(examples: Example[], over: Partial<EndpointOptions>, ...replies: Reply[]) {
  const upstream = await useUpstream(...replies);
  const client = openChatClient({ baseUrl: upstream.baseUrl, model: 'm' });
  const signal = AbortSignal.timeout(10_000);
  const scored = scoreEndpoint(examples, {
    client,
    method: 'auto',
    maxTokens: 8,
    match: 'exact',
    form: 'chat',
    signal,
    ...over,
  });
  return { upstream, scored };
}

describe('scoreEndpoint by generation', () => {
  it('takes the trimmed answer that equals the right one', async () => {
    const { upstream, scored } = await ask(
      [open(0, ' Paris'), open(1, ' Rome'), open(2, ' Oslo')],
      { method: 'generation' },
      reply.answer([' Pa', 'ris \n']),
      reply.answer(['rome']),
      reply.answer(['Oslo', '\nIs it?']),
    );
    const { method, records, notices } = await scored;
    expect(method).toBe('generation');
    expect(records.map(({ correct }) => correct)).toEqual([1, 0, 1]);
    expect(records[0]).toMatchObject({ id: 't:0', promptHash: promptHash('q0'), answer: 'Paris', loss: null });
    expect(records[0]).toMatchObject({ source: 'in_cloud', reason: 'mode' });
    expect(records.every(({ latencyMs }) => latencyMs > 0)).toBe(true);
    expect(notices).toEqual([]);
    expect(upstream.requests[0]!.body.messages).toEqual([{ role: 'user', content: 'q0' }]);
    expect(upstream.requests[0]!.body.logprobs).toBeUndefined();
  });

  it('is what auto does without choices, and asks a text where that is the form', async () => {
    const { upstream, scored } = await ask([open(0, ' a')], { form: 'text' }, reply.answer([' a']));
    expect((await scored).method).toBe('generation');
    expect(upstream.requests[0]!.path).toBe('/v1/completions');
    expect(upstream.requests[0]!.body).toMatchObject({ prompt: 'q0', temperature: 0, max_tokens: 8 });
  });

  it('lets an answer that talks on count where it may', async () => {
    const { scored } = await ask(
      [open(0, ' yes')],
      { method: 'generation', match: 'start' },
      reply.answer(['yes, it is']),
    );
    expect((await scored).records[0]!.correct).toBe(1);
  });

  it('counts an answer that failed as wrong, with its code, and says so', async () => {
    const { scored } = await ask(
      [open(0, ' a'), open(1, ' b')],
      { method: 'generation' },
      reply.status(503),
      reply.answer(['b']),
    );
    const { records, answers, notices } = await scored;
    expect(records[0]).toMatchObject({ correct: 0, answer: '', reason: 'server-failed:503' });
    expect(records[1]!.correct).toBe(1);
    expect(answers[0]).toBeNull();
    expect(notices.length).toBe(1);
  });

  it('throws where every answer fails, and at the first refusal', async () => {
    const failing = await ask([open(0, ' a'), open(1, ' b')], { method: 'generation' }, reply.status(500));
    await expect(failing.scored).rejects.toMatchObject({ code: 'server-failed' });
    const refusing = await ask([open(0, ' a'), open(1, ' b')], { method: 'generation' }, reply.status(401));
    await expect(refusing.scored).rejects.toMatchObject({ code: 'server-refused' });
    expect(refusing.upstream.requests.length).toBe(1);
  });

  it('keeps the order of the examples with several questions at a time', async () => {
    const slowFirst: Reply = (exchange) => {
      const [{ content }] = exchange.request.body.messages as [{ content: string }];
      return reply.after(content === 'q0' ? 60 : 0, reply.answer([content]))(exchange);
    };
    const examples = [0, 1, 2].map((i) => open(i, ` q${i}`));
    const { scored } = await ask(examples, { method: 'generation', parallel: 3 }, slowFirst);
    expect((await scored).records.map(({ answer }) => answer)).toEqual(['q0', 'q1', 'q2']);
  });

  it('names the source where it is known, whatever the server says', async () => {
    const says: Reply = (exchange) => {
      exchange.response.setHeader('x-crayon-source', 'on_device');
      exchange.response.setHeader('x-crayon-reason', 'accepted');
      return reply.answer(['a'])(exchange);
    };
    const plain = await ask([open(0, ' a')], { method: 'generation' }, says);
    expect((await plain.scored).records[0]).toMatchObject({ source: 'on_device', reason: 'accepted' });
    const known = await ask([open(0, ' a')], { method: 'generation', source: 'in_cloud' }, says);
    expect((await known.scored).records[0]).toMatchObject({ source: 'in_cloud', reason: 'mode' });
  });
});

describe('scoreEndpoint by first token', () => {
  it('takes the choice that the likeliest first tokens begin', async () => {
    const { upstream, scored } = await ask(
      [example(0, 0), example(1, 0)],
      {},
      // neither is what the model says, but "wet" in its two forms is likelier than "dry"
      withTop('Well', { Well: 0.4, ' dry': 0.21, ' w': 0.15, we: 0.1 }),
      withTop('dry', { dry: 0.6, wet: 0.2 }),
    );
    const { method, records } = await scored;
    expect(method).toBe('first-token');
    expect(records.map(({ answer, correct }) => [answer, correct])).toEqual([
      ['wet', 1],
      ['dry', 0],
    ]);
    expect(upstream.requests[0]!.body).toMatchObject({ logprobs: true, top_logprobs: 20 });
  });

  it('takes none where no choice is listed', async () => {
    const { scored } = await ask([example(0, 0)], {}, withTop('Well', { Well: 0.9, Hm: 0.1 }));
    expect((await scored).records[0]).toMatchObject({ answer: '', correct: 0 });
  });

  it('is never mixed: one example without log-probabilities has all judged by generation', async () => {
    const { scored } = await ask([example(0, 0), example(1, 1)], {}, withTop('wet', { wet: 0.9 }), silent('dry'));
    const { method, records, notices } = await scored;
    expect(method).toBe('generation');
    expect(records.map(({ correct }) => correct)).toEqual([1, 1]);
    expect(notices[0]).toMatch(/top_logprobs/);
  });

  it('counts an answer without any token as wrong, unless there is no other', async () => {
    const two = [example(0, 0), example(1, 0)];
    const some = await ask(two, {}, withTop('wet', { wet: 0.9 }), silent(''));
    expect(await some.scored).toMatchObject({ method: 'first-token', records: [{ correct: 1 }, { correct: 0 }] });
    const none = await ask(two, {}, silent(''));
    expect(await none.scored).toMatchObject({ method: 'generation', records: [{ correct: 0 }, { correct: 0 }] });
  });

  it('sees that the choices share their first token', async () => {
    const choices = [' white wine', ' white bread'];
    const script = withTop('white', { white: 0.9 });
    const { scored } = await ask([example(0, 0, choices)], {}, script);
    expect(await scored).toMatchObject({ method: 'generation', notices: [expect.stringMatching(/several choices/)] });
    const forced = await ask([example(0, 0, choices)], { method: 'first-token' }, script);
    await expect(forced.scored).rejects.toMatchObject({ code: 'server-invalid' });
  });

  it('finds an endpoint that refuses log-probabilities, and one that leaves them out', async () => {
    const refusing = await ask([example(0, 0)], {}, reply.refusing('logprobs', ['wet']));
    expect(await refusing.scored).toMatchObject({ method: 'generation', records: [{ correct: 1 }] });
    const forced = await ask([example(0, 0)], { method: 'first-token' }, silent('wet'));
    await expect(forced.scored).rejects.toMatchObject({ code: 'server-invalid' });
    const without = await ask([open(0, ' a')], { method: 'first-token' }, reply.answer(['a']));
    await expect(without.scored).rejects.toMatchObject({ code: 'server-invalid' });
  });
});

describe('firstTokenScores', () => {
  const detail = (token: string, top: Record<string, number>): TokenDetail => ({
    token,
    bytes: [],
    logprob: 0,
    top: Object.entries(top).map(([t, p]) => ({ token: t, bytes: [], logprob: Math.log(p) })),
  });
  it('adds the forms of a token, and skips a line break before the answer', () => {
    const [a, b] = firstTokenScores(
      ['A', 'B'],
      [detail('\n', { '\n': 1 }), detail('A', { A: 0.3, ' A': 0.2, 'B.': 0.4 })],
    );
    expect(a).toBeCloseTo(Math.log(0.5), 12);
    expect(b).toBeCloseTo(Math.log(0.4), 12);
  });
  it('gives nothing to a token that only looks alike', () => {
    expect(firstTokenScores(['A'], [detail('An', { An: 0.9, ' ': 0.1 })])).toEqual([Number.NEGATIVE_INFINITY]);
  });
});
