import { describe, expect, it } from 'vitest';
import { type EndpointOptions, scoreEndpoint } from '../../../src/bench/live/endpoint.js';
import { promptHash } from '../../../src/bench/users.js';
import type { Example } from '../../../src/data/dataset.js';
import { openChatClient } from '../../../src/engine/server/chat-client.js';
import { type Reply, reply, useUpstream } from '../../helpers/scripted-upstream.js';

const open = (i: number, completion: string): Example => ({ id: `t:${i}`, dataset: 't', prompt: `q${i}`, completion });

async function ask(examples: Example[], over: Partial<EndpointOptions>, ...replies: Reply[]) {
  const upstream = await useUpstream(...replies);
  const client = openChatClient({ baseUrl: upstream.baseUrl, model: 'm' });
  const signal = AbortSignal.timeout(10_000);
  const scored = scoreEndpoint(examples, {
    client,
    maxTokens: 8,
    match: 'exact',
    form: 'chat',
    signal,
    ...over,
  });
  return { upstream, scored };
}

describe('scoreEndpoint', () => {
  it('takes the trimmed answer that equals the right one', async () => {
    const { upstream, scored } = await ask(
      [open(0, ' Paris'), open(1, ' Rome'), open(2, ' Oslo')],
      {},
      reply.answer([' Pa', 'ris \n']),
      reply.answer(['rome']),
      reply.answer(['Oslo', '\nIs it?']),
    );
    const { records, notices } = await scored;
    expect(records.map(({ correct }) => correct)).toEqual([1, 0, 1]);
    expect(records[0]).toMatchObject({ id: 't:0', promptHash: promptHash('q0'), answer: 'Paris', loss: null });
    expect(records[0]).toMatchObject({ source: 'in_cloud', reason: 'mode' });
    expect(records.every(({ latencyMs }) => latencyMs > 0)).toBe(true);
    expect(notices).toEqual([]);
    expect(upstream.requests[0]!.body.messages).toEqual([{ role: 'user', content: 'q0' }]);
    expect(upstream.requests[0]!.body.logprobs).toBeUndefined();
  });

  it('asks a text where that is the form', async () => {
    const { upstream, scored } = await ask([open(0, ' a')], { form: 'text' }, reply.answer([' a']));
    expect((await scored).records[0]!.correct).toBe(1);
    expect(upstream.requests[0]!.path).toBe('/v1/completions');
    expect(upstream.requests[0]!.body).toMatchObject({ prompt: 'q0', temperature: 0, max_tokens: 8 });
  });

  it('lets an answer that talks on count where it may', async () => {
    const { scored } = await ask([open(0, ' yes')], { match: 'start' }, reply.answer(['yes, it is']));
    expect((await scored).records[0]!.correct).toBe(1);
  });

  it('counts an answer that failed as wrong, with its code, and says so', async () => {
    const { scored } = await ask([open(0, ' a'), open(1, ' b')], {}, reply.status(503), reply.answer(['b']));
    const { records, answers, notices } = await scored;
    expect(records[0]).toMatchObject({ correct: 0, answer: '', reason: 'server-failed:503' });
    expect(records[1]!.correct).toBe(1);
    expect(answers[0]).toBeNull();
    expect(notices.length).toBe(1);
  });

  it('throws where every answer fails, and at the first refusal', async () => {
    const failing = await ask([open(0, ' a'), open(1, ' b')], {}, reply.status(500));
    await expect(failing.scored).rejects.toMatchObject({ code: 'server-failed' });
    const refusing = await ask([open(0, ' a'), open(1, ' b')], {}, reply.status(401));
    await expect(refusing.scored).rejects.toMatchObject({ code: 'server-refused' });
    expect(refusing.upstream.requests.length).toBe(1);
  });

  it('names the source where it is known, whatever the server says', async () => {
    const says: Reply = (exchange) => {
      exchange.response.setHeader('x-crayon-source', 'on_device');
      exchange.response.setHeader('x-crayon-reason', 'accepted');
      return reply.answer(['a'])(exchange);
    };
    const plain = await ask([open(0, ' a')], {}, says);
    expect((await plain.scored).records[0]).toMatchObject({ source: 'on_device', reason: 'accepted' });
    const known = await ask([open(0, ' a')], { source: 'in_cloud' }, says);
    expect((await known.scored).records[0]).toMatchObject({ source: 'in_cloud', reason: 'mode' });
  });
});
