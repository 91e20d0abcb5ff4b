/** Server-sent events (WHATWG HTML, section 9.2), as OpenAI uses them: data lines only, and `[DONE]`. */

import { orLate } from '../../core/long-work.js';

export const SSE_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
  // reverse proxies such as nginx would otherwise collect the events
  'x-accel-buffering': 'no',
};

export const SSE_DONE = 'data: [DONE]\n\n';
/** A comment: clients drop it, and proxies see that the connection lives. */
export const SSE_KEEP_ALIVE = ': keep-alive\n\n';

/** JSON has no line breaks of its own, so one line is enough. */
export function sseData(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

/**
 * A response body of events, with a comment after each `keepAliveMs` of silence.
 *
 * @param events must not throw: a failure is one of its events
 * @param onCancel called when the reader goes away before the end; it must make a waiting `events` end
 */
export function sseBody(
  events: AsyncGenerator<string, void, void>,
  keepAliveMs: number,
  onCancel: () => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let waiting: Promise<IteratorResult<string, void>> | null = null;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        waiting ??= events.next();
        const result = await orLate(waiting, keepAliveMs);
        if (result === 'late') {
          controller.enqueue(encoder.encode(SSE_KEEP_ALIVE));
          return;
        }
        waiting = null;
        if (result.done) controller.close();
        else controller.enqueue(encoder.encode(result.value));
      },
      async cancel() {
        onCancel();
        await events.return();
      },
    },
    { highWaterMark: 0 }, // the reader sets the pace; nothing is generated for nobody
  );
}
