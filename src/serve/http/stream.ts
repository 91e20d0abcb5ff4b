/**
 * Answers in pieces: server-sent events (WHATWG HTML, section 9.2) as OpenAI uses them, data lines and `[DONE]`, or JSON lines as
 * Ollama does. `Framing` holds what differs.
 */

import { orLate } from '../../core/long-work.js';
import type { Logger } from '../log.js';
import type { Call } from './call.js';
import type { HttpError } from './error.js';

/** How a stream is written. */
export interface Framing {
  headers: Record<string, string>;
  /** What is sent in silence, so that proxies see that the connection lives; clients drop it. */
  keepAlive: string;
  /** The last piece of an answer that breaks off. */
  failure(error: HttpError): string;
}

const UNBUFFERED = {
  'cache-control': 'no-cache',
  // reverse proxies such as nginx would otherwise collect the pieces
  'x-accel-buffering': 'no',
};

export const SSE: Framing = {
  headers: { 'content-type': 'text/event-stream; charset=utf-8', ...UNBUFFERED },
  keepAlive: ': keep-alive\n\n', // a comment
  failure: ({ body }) => sseData(body),
};

/** One JSON document a line. */
export const JSON_LINES: Pick<Framing, 'headers'> = {
  headers: { 'content-type': 'application/x-ndjson', ...UNBUFFERED },
};

export const SSE_DONE = 'data: [DONE]\n\n';

/** JSON has no line breaks of its own, so one line is enough. */
export function sseData(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/** @param pieces the answer; where they throw, the framing's failure comes last and nothing after it */
export function streamedAnswer(
  pieces: AsyncGenerator<string, void, void>,
  framing: Framing,
  headers: Record<string, string>,
  call: Call,
  { keepAliveMs, log }: { keepAliveMs: number; log: Logger },
): Response {
  async function* guarded(): AsyncGenerator<string, void, void> {
    let status = 200;
    try {
      yield* pieces;
    } catch (error) {
      const failure = call.explain(error);
      status = failure.status;
      if (status === 500) log.error({ id: call.id, err: error }, 'failed while streaming');
      // The status has long been sent: what is left is an event, and an end without the usual last one.
      yield framing.failure(failure);
    } finally {
      call.end(status);
    }
  }
  call.isStreaming = true;
  const body = streamBody(guarded(), framing.keepAlive, keepAliveMs, () => {
    call.cancel();
    call.end(499); // a body that was never read does not reach its own `finally`
  });
  return new Response(body, { headers: { ...framing.headers, ...headers } });
}

/**
 * @param pieces must not throw: a failure is one of them
 * @param onCancel called when the reader goes away before the end; it must make waiting `pieces` end
 */
function streamBody(
  pieces: AsyncGenerator<string, void, void>,
  keepAlive: string,
  keepAliveMs: number,
  onCancel: () => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let waiting: Promise<IteratorResult<string, void>> | null = null;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        waiting ??= pieces.next();
        const result = await orLate(waiting, keepAliveMs);
        if (result === 'late') {
          controller.enqueue(encoder.encode(keepAlive));
          return;
        }
        waiting = null;
        if (result.done) controller.close();
        else controller.enqueue(encoder.encode(result.value));
      },
      async cancel() {
        onCancel();
        await pieces.return();
      },
    },
    { highWaterMark: 0 }, // the reader sets the pace; nothing is generated for nobody
  );
}
