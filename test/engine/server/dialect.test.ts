/** Refusals in servers' own words, and what is then sent. */

import { describe, expect, it } from 'vitest';
import { errorMessage } from '../../../src/engine/server/answer.js';
import {
  adapted,
  type Dialect,
  namedParameters,
  type Parameters,
  parametersOf,
  spoken,
} from '../../../src/engine/server/dialect.js';
import type { Prompt } from '../../../src/engine/types.js';
import { generateRequest } from '../../helpers/generate.js';
import { useEngine } from '../../helpers/openai-engine.js';
import { type Reply, reply, useUpstream } from '../../helpers/scripted-upstream.js';

const CHAT: Prompt = { kind: 'chat', messages: [{ role: 'user', content: 'hi' }] };
const ALL = { temperature: 0, topP: 0.9, seed: 7, stop: ['x'], topLogprobs: 2 };

function parameters(overrides = {}): Parameters {
  return parametersOf(generateRequest({ prompt: CHAT, ...ALL, ...overrides }), false);
}

/** What is left out or renamed after the refusal; null where nothing is. */
function changesAfter(
  document: unknown,
  given = parameters(),
  dialect: Dialect = new Map(),
  refused = new Set<string>(),
) {
  const message = `: answered 400: ${errorMessage(document) ?? JSON.stringify(document)}`;
  const next = adapted(dialect, given, refused, { message, named: namedParameters(document) });
  if (next === null || 'kept' in next) return next;
  return Object.fromEntries(
    [...next].map(([name, { to, beside }]) => [name, beside === null ? to : `beside ${beside}`]),
  );
}

const openAi = (message: string, param: string | null = null, code: string | null = null) => ({
  error: { message, type: 'invalid_request_error', param, code },
});
const pydantic = (...names: string[]) =>
  names.map((name) => ({
    type: 'extra_forbidden',
    loc: ['body', name],
    msg: 'Extra inputs are not permitted',
    input: 1,
  }));

describe('what a server refuses', () => {
  it.each<[string, unknown, object]>([
    [
      'OpenAI, renamed',
      openAi(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        'max_tokens',
        'unsupported_parameter',
      ),
      { max_tokens: 'max_completion_tokens' },
    ],
    [
      'without a name for it',
      openAi("Unsupported parameter: 'max_tokens' is not supported with this model."),
      { max_tokens: 'max_completion_tokens' },
    ],
    [
      'by the other name alone',
      openAi("Use 'max_completion_tokens' instead."),
      { max_tokens: 'max_completion_tokens' },
    ],
    [
      'by the name of a third',
      openAi('max_tokens is not supported, use max_output_tokens'),
      { max_tokens: 'max_output_tokens' },
    ],
    [
      'OpenAI, a value',
      openAi(
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
        'temperature',
        'unsupported_value',
      ),
      { temperature: null },
    ],
    ['OpenAI, older', openAi('Unrecognized request argument supplied: logprobs'), { logprobs: null }],
    [
      'OpenAI, unknown',
      openAi("Unknown parameter: 'stream_options.include_usage'.", 'stream_options.include_usage', 'unknown_parameter'),
      { stream_options: null },
    ],
    [
      'Anthropic, two together',
      openAi('`temperature` and `top_p` cannot both be specified for this model. Please use only one.'),
      { top_p: 'beside temperature' },
    ],
    [
      'Bedrock, two together',
      openAi("The model doesn't support specifying both temperature and top_p"),
      { top_p: 'beside temperature' },
    ],
    [
      'Mistral',
      { object: 'error', message: { detail: pydantic('stream_options', 'logprobs') }, type: 'invalid_request_error' },
      { stream_options: null, logprobs: null },
    ],
    ['FastAPI', { detail: pydantic('top_logprobs') }, { top_logprobs: null }],
    [
      'vLLM',
      {
        object: 'error',
        message:
          "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted'}]",
        code: 400,
      },
      { stream_options: null },
    ],
    [
      'a list of what is taken',
      openAi("Unexpected field 'top_p'. Allowed: model, messages, temperature, max_tokens, stop"),
      { top_p: null },
    ],
    ['Groq', openAi('`logprobs` is not supported with this model'), { logprobs: null }],
    ['a plain error', { error: 'unknown field: top_p' }, { top_p: null }],
    ['Mistral, seed', { message: { detail: pydantic('seed') } }, { seed: 'random_seed' }],
  ])('%s', (_, document, changes) => expect(changesAfter(document)).toEqual(changes));

  it.each<[string, unknown]>([
    ['another thing', openAi("The model 'temperature-9' does not exist", 'model', 'model_not_found')],
    ['a value that is out of bounds', openAi('temperature: must be less than or equal to 1', 'temperature')],
    ['a bound', openAi('Invalid top_logprobs value, the valid range of top_logprobs is [0, 5]')],
    [
      'a limit',
      openAi('max_tokens is too large: 100000. This model supports at most 4096 completion tokens', 'max_tokens'),
    ],
    ['a part of the prompt', openAi("'messages.0': property 'name' is unsupported", 'messages.0.name')],
    [
      'a value in a list',
      {
        detail: [
          { type: 'less_than_equal', loc: ['body', 'temperature'], msg: 'Input should be less than or equal to 1' },
        ],
      },
    ],
    ['the length', openAi("This model's maximum context length is 4096 tokens, max_tokens not allowed")],
  ])('is left as it is where it is %s', (_, document) => expect(changesAfter(document)).toBeNull());

  it('is left out only where nobody asked, or the answer stays the same without', () => {
    const refusal = (name: string) => openAi(`Unsupported parameter: '${name}'`, name, 'unsupported_parameter');
    const tried = new Set(['max_completion_tokens', 'random_seed', 'stop_sequences']);
    for (const name of ['max_tokens', 'seed', 'stop']) {
      expect(changesAfter(refusal(name), parameters(), new Map(), new Set(tried))).toEqual({ kept: name });
    }
    const free = parameters({ unasked: ['maxTokens'] });
    expect(free.values).not.toHaveProperty('max_tokens');
    const bounded = parametersOf(generateRequest({ prompt: CHAT, unasked: ['maxTokens'] }), true);
    expect(changesAfter(refusal('max_tokens'), bounded, new Map(), new Set(tried))).toEqual({ max_tokens: null });
  });

  it('goes with what needs it, and comes back where the other is not sent', () => {
    const { values } = parameters();
    expect(spoken(values, new Map([['logprobs', { to: null, beside: null }]]))).not.toHaveProperty('top_logprobs');
    const dialect: Dialect = new Map([['top_p', { to: null, beside: 'temperature' }]]);
    expect(spoken(values, dialect)).not.toHaveProperty('top_p');
    expect(spoken(parameters({ unasked: ['temperature'] }).values, dialect)).toHaveProperty('top_p', 0.9);
    const neither: Dialect = new Map([...dialect, ['temperature', { to: null, beside: null }]]);
    expect(spoken(values, neither)).toHaveProperty('top_p', 0.9);
  });

  it('is a 0 for top_p where a 0 was asked for', () => {
    expect(parameters({ topP: Number.MIN_VALUE }).values.top_p).toBe(0);
  });
});

/** Refuses what `refuses` says in these words, and answers all else. */
const picky =
  (refuses: (body: Record<string, unknown>) => string | null, status = 400): Reply =>
  (exchange) => {
    const message = refuses(exchange.request.body);
    if (message === null) return reply.answer(['fine'])(exchange);
    return reply.raw(status, { 'content-type': 'application/json' }, JSON.stringify(openAi(message)))(exchange);
  };

describe('a server that refuses', () => {
  it.each([400, 422])(
    'one thing after the other is understood, once and for all, and it is told once (%i)',
    async (status) => {
      const upstream = await useUpstream(
        picky((body) => {
          for (const name of ['stream_options', 'max_tokens', 'logprobs', 'top_p'])
            if (name in body) return `Unknown parameter: ${name}`;
          return body.temperature === 0
            ? "'temperature' does not support 0. Only the default (1) value is supported"
            : null;
        }, status),
      );
      const { ask, events, engine } = useEngine(upstream.baseUrl);
      const asked = { prompt: CHAT, temperature: 0, topP: 0.5, topLogprobs: 1 };
      for (let i = 0; i < 3; i++) expect((await ask(asked)).text).toBe('fine');
      expect(upstream.requests.length).toBe(5 + 3);
      expect(Object.keys(upstream.requests.at(-1)!.body).sort()).toEqual([
        ...['max_completion_tokens', 'messages', 'model', 'stream'],
      ]);
      expect(
        events
          .filter(({ type }) => type === 'adapted')
          .map((event) => 'parameter' in event && [event.parameter, event.to]),
      ).toEqual([
        ['stream_options', null],
        ['max_tokens', 'max_completion_tokens'],
        ['logprobs', null],
        ['top_p', null],
        ['temperature', null],
      ]);
      expect(engine.state().errors).toEqual({});
    },
  );

  it('two things together is given one of them, and each of them alone', async () => {
    const both = (body: Record<string, unknown>) =>
      'temperature' in body && 'top_p' in body ? '`temperature` and `top_p` cannot both be specified' : null;
    const upstream = await useUpstream(picky(both));
    const { ask } = useEngine(upstream.baseUrl);
    await ask({ prompt: CHAT, temperature: 0.5, topP: 0.5 });
    await ask({ prompt: CHAT, temperature: 0.5, topP: 0.5 });
    await ask({ prompt: CHAT, topP: 0.5, unasked: ['temperature'] });
    expect(upstream.requests.map(({ body }) => [body.temperature, body.top_p])).toEqual([
      [0.5, 0.5],
      [0.5, undefined],
      [0.5, undefined],
      [undefined, 0.5],
    ]);
  });

  it('what the answer depends on is not obeyed: the request is refused by name', async () => {
    const upstream = await useUpstream(
      picky((body) => ('stop' in body || 'stop_sequences' in body ? 'Unsupported: stop, stop_sequences' : null)),
    );
    const { ask, events } = useEngine(upstream.baseUrl);
    const { error } = await ask({ prompt: CHAT, stop: ['x'] });
    expect([error?.code, error?.hint]).toEqual(['server-refused', expect.stringContaining('stop')]);
    expect(error!.message).toContain('does not take stop');
    expect((await ask({ prompt: CHAT })).text).toBe('fine');
    expect(events.filter(({ type }) => type === 'adapted')).toEqual([]);
  });

  it('a prompt, which it quotes, teaches nothing', async () => {
    const upstream = await useUpstream(
      picky((body) => (JSON.stringify(body.messages).includes('evil') ? 'No: "temperature is not supported"' : null)),
    );
    const { ask, events } = useEngine(upstream.baseUrl);
    expect((await ask({ prompt: { kind: 'chat', messages: [{ role: 'user', content: 'evil' }] } })).error?.code).toBe(
      'server-refused',
    );
    await ask({ prompt: CHAT, temperature: 0.5 });
    expect(upstream.requests.at(-1)!.body.temperature).toBe(0.5);
    expect(events.filter(({ type }) => type === 'adapted')).toEqual([]);
  });

  it('everything is given up on, after a few attempts', async () => {
    let n = 0;
    const upstream = await useUpstream(
      picky((body) => `${n++}: unsupported ${Object.keys(body).at(-1)} ${Object.keys(body).at(-2)}`),
    );
    expect((await useEngine(upstream.baseUrl).ask({ prompt: CHAT, ...ALL })).error?.code).toBe('server-refused');
    expect(upstream.requests.length).toBeLessThanOrEqual(13);
  });

  it('learns of chat and of text apart', async () => {
    const upstream = await useUpstream(
      picky((body) => ('messages' in body && 'top_p' in body ? 'top_p is not supported' : null)),
    );
    const { ask } = useEngine(upstream.baseUrl);
    await ask({ prompt: CHAT, topP: 0.5 });
    await ask({ topP: 0.5 });
    expect(upstream.requests.map(({ body }) => body.top_p)).toEqual([0.5, undefined, 0.5]);
  });

  it('is asked for the format as it was asked for, and does not answer without it', () => {
    const format = {
      type: 'json_schema',
      json_schema: { name: 'a', strict: true, schema: { type: 'object' } },
    } as const;
    const given = parameters({ format });
    expect(given.values.response_format).toEqual(format);
    expect(parameters({ format: null }).values).not.toHaveProperty('response_format');
    const refusal = openAi('Unrecognized request argument supplied: response_format', 'response_format');
    expect(changesAfter(refusal, given)).toEqual({ kept: 'response_format' });
  });
});
