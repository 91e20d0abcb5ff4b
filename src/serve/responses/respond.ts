/** POST /v1/responses: request to the same router as chat completions, answer in items, whole or in events. */

import type { JsonObject } from '../../files/json.js';
import type { Call } from '../http/call.js';
import { type FieldNames, inNamesOf } from '../http/error.js';
import { streamedAnswer } from '../http/stream.js';
import { crayonField, crayonHeaders } from '../openai/answer.js';
import { askedOf } from '../openai/asked.js';
import { endOf, routed } from '../openai/routed.js';
import type { AppSettings, ServeParts } from '../parts.js';
import { GrowingResponse } from './answer.js';
import { parseResponseRequest } from './request.js';

const NAMES: FieldNames = [
  [/\bresponse_format(\.json_schema)?/g, 'text.format'],
  [/\b(tools\[\d+\])\.function\b/g, '$1'],
  [/\bmax_(completion_)?tokens\b/g, 'max_output_tokens'],
];

export const respond = (...asked: Parameters<typeof answered>) => inNamesOf(NAMES, () => answered(...asked));

async function answered(body: JsonObject, call: Call, parts: ServeParts, settings: AppSettings): Promise<Response> {
  const { job, echoed } = parseResponseRequest(body, settings.limits);
  const { asked, queries } = await askedOf(job, call, parts, settings);
  const { decision, name, events } = await routed(queries[0]!, asked);
  const headers = crayonHeaders(decision);
  const growing = new GrowingResponse({
    ...{ id: call.id.replace(/^req_/, ''), created: Math.floor(settings.now() / 1000), model: name },
    ...{ crayon: crayonField(decision), echoed, hasLogprobs: job.topLogprobs !== null },
  });
  if (!job.stream) {
    growing.closing(await endOf(events, (token) => growing.token(token)));
    return Response.json(growing.document(), { headers });
  }
  async function* pieces(): AsyncGenerator<string, void, void> {
    yield growing.opening();
    for await (const event of events) {
      if (event.type === 'token') {
        const piece = growing.token(event);
        if (piece !== '') yield piece;
      } else if (event.type === 'end') yield growing.closing(event);
    }
  }
  return streamedAnswer(pieces(), growing.framing, headers, call, settings);
}
