/**
 * One streaming request as a client of OpenAI's API makes it, and when its pieces came. By node:http, whose pieces cost the machine, which
 * is the server's too, less than those of `fetch` do.
 */

import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { createParser } from 'eventsource-parser';

export interface Question {
  /** the server, up to the path */
  base: string;
  model: string;
  content: string;
  maxTokens: number;
  /** further fields of the request */
  fields?: object;
  signal?: AbortSignal;
}

export interface Answer {
  /** those generated, as the server counts them */
  tokens: number;
  promptTokens: number;
  /** from the request to the first piece with text; NaN of an answer without any */
  ttftMs: number;
  /** between two pieces with text */
  itlMs: number[];
  endMs: number;
  text: string;
}

/** @throws Error with what the server said, where it does not answer 200, or in the stream */
export async function ask({ base, model, content, maxTokens, fields, signal }: Question): Promise<Answer> {
  const started = performance.now();
  const body = JSON.stringify({
    model,
    messages: [{ role: 'user', content }],
    max_tokens: maxTokens,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
    ...fields,
  });
  const asked = request(`${base}/v1/chat/completions`, {
    method: 'POST',
    agent: false, // a connection that is kept may be one that the server is closing
    headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    ...(signal !== undefined && { signal }),
  });
  const answered = once(asked, 'response'); // fails by the request's `error`
  asked.end(body);
  const [response] = (await answered) as [IncomingMessage];
  response.setEncoding('utf8');
  if (response.statusCode !== 200) {
    let said = '';
    for await (const chunk of response) said += chunk;
    throw new Error(`status ${response.statusCode}: ${said}`);
  }
  const pieces: number[] = [];
  const answer: Answer = { tokens: 0, promptTokens: 0, ttftMs: Number.NaN, itlMs: [], endMs: 0, text: '' };
  const parser = createParser({
    onEvent: ({ data }) => {
      if (data === '[DONE]') return;
      const { choices, usage, error } = JSON.parse(data);
      if (error) throw new Error(error.message);
      const text = choices?.[0]?.delta.content;
      if (text) {
        pieces.push(performance.now() - started);
        answer.text += text;
      }
      if (usage) [answer.tokens, answer.promptTokens] = [usage.completion_tokens, usage.prompt_tokens];
    },
  });
  response.on('data', (chunk: string) => {
    try {
      parser.feed(chunk);
    } catch (error) {
      response.destroy(error as Error);
    }
  });
  await once(response, 'end'); // fails by `error`: hung up, broken off, or what the server says in the stream
  answer.ttftMs = pieces[0] ?? Number.NaN;
  answer.itlMs = pieces.slice(1).map((at, i) => at - pieces[i]!);
  answer.endMs = performance.now() - started;
  return answer;
}
