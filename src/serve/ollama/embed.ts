/** POST /api/embed, and the older /api/embeddings with one prompt: what /v1/embeddings answers, in Ollama's documents. */

import { breather } from '../../core/long-work.js';
import type { JsonObject } from '../../files/json.js';
import { checkedFields } from '../http/body.js';
import type { Call } from '../http/call.js';
import { embedTexts } from '../openai/embedding.js';
import { resolveModel } from '../openai/models.js';
import type { ServeParts } from '../parts.js';
import { EMBED, EMBEDDING, servedName } from './request.js';

export async function ollamaEmbed(body: JsonObject, call: Call, parts: ServeParts): Promise<Response> {
  const { model, input = [], dimensions } = checkedFields(EMBED, body);
  const asked = { model: servedName(model, parts), input, ...(dimensions !== undefined && { dimensions }) };
  if (input === '' || (Array.isArray(input) && input.length === 0)) {
    resolveModel(asked.model, parts).release();
    return Response.json({ model, embeddings: [] });
  }
  const { vectors, promptTokens, askedMs } = await embedTexts(asked, call, parts);
  const rest = {
    total_duration: Math.round(1e6 * call.ms),
    load_duration: Math.round(1e6 * askedMs),
    prompt_eval_count: promptTokens,
  };
  const breathe = breather();
  const rows: string[] = [];
  for (const vector of vectors) {
    rows.push(JSON.stringify(Array.from(vector)));
    await breathe();
  }
  const json = `{"model":${JSON.stringify(model)},"embeddings":[${rows.join(',')}],${JSON.stringify(rest).slice(1)}`;
  return new Response(json, { headers: { 'content-type': 'application/json' } });
}

export async function ollamaEmbeddings(body: JsonObject, call: Call, parts: ServeParts): Promise<Response> {
  const { model, prompt } = checkedFields(EMBEDDING, body);
  const name = servedName(model, parts);
  if (prompt === '') {
    resolveModel(name, parts).release();
    return Response.json({ embedding: [] });
  }
  const { vectors } = await embedTexts({ model: name, input: prompt }, call, parts);
  return Response.json({ embedding: Array.from(vectors[0]!) });
}
