/**
 * Answers as /v1/responses sends them: a response with its output items, and the events of a stream, which are the same response
 * while it grows (OpenAI API reference, "Streaming events").
 */

import type { FinishReason, TokenEvent, ToolCallPiece } from '../../engine/types.js';
import type { HttpError } from '../http/error.js';
import { type Framing, SSE } from '../http/stream.js';
import { tokenLogprobs } from '../openai/answer.js';
import type { Ending } from '../openai/calls.js';
import type { Echoed } from './request.js';

export interface ResponseHead {
  /** of the request, without its prefix */
  id: string;
  /** seconds since 1970 */
  created: number;
  /** who answers */
  model: string;
  crayon: object;
  echoed: Echoed;
  hasLogprobs: boolean;
}

interface Message {
  id: string;
  type: 'message';
  status: string;
  role: 'assistant';
  content: Array<{ type: 'output_text'; text: string; annotations: []; logprobs: object[] }>;
}

interface FunctionCall {
  id: string;
  type: 'function_call';
  status: string;
  call_id: string;
  name: string;
  arguments: string;
}

/** Why a response is not complete, by the reason for which the answer ended. */
const INCOMPLETE: Partial<Record<FinishReason, string>> = {
  length: 'max_output_tokens',
  content_filter: 'content_filter',
};

/** One response while it grows; each step returns its events, as they are sent. */
export class GrowingResponse {
  readonly #head: ResponseHead;
  readonly #output: Array<Message | FunctionCall> = [];
  #sequence = 0;
  #ended: object = {};

  constructor(head: ResponseHead) {
    this.#head = head;
  }

  get framing(): Framing {
    return { ...SSE, failure: (error) => this.#failure(error) };
  }

  /** As it stands. */
  document(): object {
    const { id, created, model, crayon, echoed } = this.#head;
    return {
      ...{ id: `resp_${id}`, object: 'response', created_at: created, status: 'in_progress', model },
      ...{ error: null, incomplete_details: null, output: this.#output, usage: null },
      ...echoed,
      ...this.#ended,
      crayon,
    };
  }

  opening(): string {
    return this.#whole('response.created') + this.#whole('response.in_progress');
  }

  token(event: TokenEvent): string {
    const logprobs = this.#head.hasLogprobs ? tokenLogprobs([event]) : [];
    const text = event.text === '' && logprobs.length === 0 ? '' : this.#text(event.text, logprobs);
    return text + (event.calls ?? []).map((piece) => this.#call(piece)).join('');
  }

  closing({ text: held, finishReason, usage, calls = [] }: Ending): string {
    const text = held === '' && this.#output.length + calls.length > 0 ? '' : this.#text(held, []);
    const called = calls.map((piece) => this.#call(piece)).join('');
    const incomplete = INCOMPLETE[finishReason];
    const last = this.#close(incomplete === undefined ? 'completed' : 'incomplete');
    const { promptTokens, completionTokens, cachedTokens } = usage;
    this.#ended = {
      status: incomplete === undefined ? 'completed' : 'incomplete',
      incomplete_details: incomplete === undefined ? null : { reason: incomplete },
      usage: {
        input_tokens: promptTokens,
        input_tokens_details: { cached_tokens: cachedTokens ?? 0 },
        output_tokens: completionTokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: promptTokens + completionTokens,
      },
    };
    return text + called + last + this.#whole(incomplete === undefined ? 'response.completed' : 'response.incomplete');
  }

  #text(text: string, logprobs: object[]): string {
    let events = '';
    let item = this.#output.at(-1);
    if (item?.type !== 'message') {
      events = this.#close('completed');
      const index = this.#output.length;
      item = {
        id: `msg_${this.#head.id}_${index}`,
        type: 'message',
        status: 'in_progress',
        role: 'assistant',
        content: [],
      };
      this.#output.push(item);
      events += this.#event('response.output_item.added', { output_index: index, item });
      item.content.push({ type: 'output_text', text: '', annotations: [], logprobs: [] });
      events += this.#event('response.content_part.added', { ...this.#at(0), part: item.content[0] });
    }
    const part = item.content[0]!;
    part.text += text;
    part.logprobs.push(...logprobs);
    return text === '' && logprobs.length === 0
      ? events
      : events + this.#event('response.output_text.delta', { ...this.#at(0), delta: text, logprobs });
  }

  #call({ index, id, name, arguments: more }: ToolCallPiece): string {
    let events = '';
    const calls = this.#output.filter(({ type }) => type === 'function_call');
    if (index >= calls.length) {
      events = this.#close('completed');
      const at = this.#output.length;
      const item: FunctionCall = {
        ...{ id: `fc_${this.#head.id}_${at}`, type: 'function_call', status: 'in_progress' },
        ...{ call_id: id ?? '', name: name ?? '', arguments: '' },
      };
      this.#output.push(item);
      events += this.#event('response.output_item.added', { output_index: at, item });
    }
    const item = this.#output.at(-1) as FunctionCall;
    item.arguments += more;
    if (more === '') return events;
    return events + this.#event('response.function_call_arguments.delta', { ...this.#at(), delta: more });
  }

  /** The item that was growing has all that it gets. */
  #close(status: string): string {
    const item = this.#output.at(-1);
    if (item === undefined) return '';
    item.status = status;
    const done = () => this.#event('response.output_item.done', { output_index: this.#output.length - 1, item });
    if (item.type === 'function_call') {
      const { name, arguments: all } = item;
      return this.#event('response.function_call_arguments.done', { ...this.#at(), name, arguments: all }) + done();
    }
    const [part] = item.content;
    const { text, logprobs } = part!;
    return (
      this.#event('response.output_text.done', { ...this.#at(0), text, logprobs }) +
      this.#event('response.content_part.done', { ...this.#at(0), part }) +
      done()
    );
  }

  /** Where the growing item stands. */
  #at(content?: number): object {
    const index = this.#output.length - 1;
    return {
      ...{ item_id: this.#output[index]!.id, output_index: index },
      ...(content !== undefined && { content_index: content }),
    };
  }

  /** Official clients look for `error`; the reference has its fields at the top. */
  #failure({ body: { error } }: HttpError): string {
    const { code, message, param } = error;
    return this.#event('error', { code, message, param, error });
  }

  #whole(type: string): string {
    return this.#event(type, { response: this.document() });
  }

  #event(type: string, fields: object): string {
    const data = JSON.stringify({ type, sequence_number: this.#sequence++, ...fields });
    return `event: ${type}\ndata: ${data}\n\n`;
  }
}
