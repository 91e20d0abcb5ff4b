/** Bytes of an event stream to the data of its events, within bounds. */

import { createParser, type EventSourceParser } from 'eventsource-parser';
import { serverError } from './error.js';

/** Fed with the body as it comes; characters and lines may be cut anywhere. */
export class EventStream {
  readonly #server: string;
  readonly #maxEventBytes: number;
  readonly #decoder = new TextDecoder();
  readonly #parser: EventSourceParser;
  #events: string[] = [];
  #overflow = false;

  /**
   * @param server how messages name the server
   * @param maxEventBytes the longest event or unfinished line that is kept
   */
  constructor(server: string, maxEventBytes: number) {
    this.#server = server;
    this.#maxEventBytes = maxEventBytes;
    this.#parser = createParser({
      maxBufferSize: maxEventBytes,
      onEvent: ({ data }) => this.#events.push(data),
      // Fields and comments that are not known are no reason to give up an answer; a line without end is.
      onError: ({ type }) => {
        if (type === 'max-buffer-size-exceeded') this.#overflow = true;
      },
    });
  }

  /**
   * @returns the data of the events that are complete now
   * @throws CrayonError `server-invalid` for an event beyond the bound
   */
  feed(bytes: Uint8Array): string[] {
    return this.#parse(this.#decoder.decode(bytes, { stream: true }));
  }

  /** At the end of the body: the event that only lacks its empty line, as some servers leave it. */
  end(): string[] {
    return this.#parse(`${this.#decoder.decode()}\n\n`);
  }

  #parse(text: string): string[] {
    if (text !== '') this.#parser.feed(text);
    const events = this.#events;
    this.#events = [];
    if (this.#overflow || events.some((data) => data.length > this.#maxEventBytes)) {
      throw serverError('server-invalid', `${this.#server}: sent an event of more than ${this.#maxEventBytes} bytes`);
    }
    return events;
  }
}
