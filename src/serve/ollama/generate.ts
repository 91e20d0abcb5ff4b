/** POST /api/chat and /api/generate: Ollama's request to the same router, its answer in Ollama's documents. */

import type { JsonObject } from '../../files/json.js';
import type { Call } from '../http/call.js';
import { type FieldNames, inNamesOf } from '../http/error.js';
import { streamedAnswer } from '../http/stream.js';
import { crayonField, crayonHeaders } from '../openai/answer.js';
import { askedOf } from '../openai/asked.js';
import { resolveModel } from '../openai/models.js';
import { endOf, type Routed, routed } from '../openai/routed.js';
import type { AppSettings, ServeParts } from '../parts.js';
import { ollamaAnswer } from './answer.js';
import { type parseChat, type parseGenerate, servedName } from './request.js';

const NAMES: FieldNames = [
  [/\bresponse_format(\.json_schema(\.schema)?)?/g, 'format'],
  [/\bmax_(completion_)?tokens\b/g, 'options.num_predict'],
];

export const ollamaGenerate = (...asked: Parameters<typeof answered>) => inNamesOf(NAMES, () => answered(...asked));

async function answered(
  parse: typeof parseChat | typeof parseGenerate,
  body: JsonObject,
  call: Call,
  parts: ServeParts,
  settings: AppSettings,
): Promise<Response> {
  const { model, isChat, job } = parse(body, settings.limits, parts);
  const head = { model, isChat, hasLogprobs: job !== null && job.topLogprobs !== null, now: settings.now };
  const answer = ollamaAnswer(head);
  if (job === null) {
    resolveModel(servedName(model, parts), parts).release();
    return Response.json(answer.loaded());
  }
  const { asked, queries } = await askedOf(job, call, parts, settings);
  const answering = await routed(queries[0]!, asked);
  const { decision, events, times } = answering;
  const headers = crayonHeaders(decision);
  const told = whoAnswered(answering);
  const measured = () => ({ times: times(), endMs: call.ms });
  if (!job.stream) {
    const end = await endOf(events, (token) => answer.add(token));
    return Response.json(answer.whole(end, told, measured()), { headers });
  }
  async function* lines(): AsyncGenerator<string, void, void> {
    for await (const event of events) {
      if (event.type === 'token') {
        const line = answer.token(event);
        if (line !== null) yield line;
      } else if (event.type === 'end') yield answer.closing(event, told, measured());
    }
  }
  return streamedAnswer(lines(), answer.framing, headers, call, settings);
}

/** Ollama names another host's model that answered apart from the one that was asked. */
function whoAnswered({ decision, name }: Pick<Routed, 'decision' | 'name'>): object {
  return { ...(decision.source === 'in_cloud' && { remote_model: name }), crayon: crayonField(decision) };
}
