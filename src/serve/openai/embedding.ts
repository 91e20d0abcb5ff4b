/** POST /v1/embeddings: what may be asked, and the answer (OpenAI API reference, "Create embeddings"). */

import * as z from 'zod';
import { LIMITS } from '../../core/limits.js';
import { breather } from '../../core/long-work.js';
import type { JsonObject } from '../../files/json.js';
import { checkedFields, each, fields, oneOf, plainText, says, textOrList } from '../http/body.js';
import type { Call } from '../http/call.js';
import { badField, HttpError } from '../http/error.js';
import type { ServeParts } from '../parts.js';
import { resolveModel } from './models.js';
import { requiredModel } from './request.js';

const INPUTS = `1 to ${LIMITS.embeddingInputs} texts`;

const input = z
  .unknown()
  .refine(
    (found) => typeof found !== 'number' && !Array.isArray(found),
    says('holds token ids: this server takes texts', 'unsupported_value'),
  )
  .pipe(plainText('a text, or a list of texts').refine((text) => text.trim() !== '', says('is empty')));

const EMBEDDING_REQUEST = fields({
  model: requiredModel,
  input: textOrList(
    input.transform((text) => [text]),
    z.array(input).min(1, INPUTS).max(LIMITS.embeddingInputs, INPUTS),
  ),
  encoding_format: oneOf(['float', 'base64']).default('float'),
  dimensions: z.unknown().optional(),
  ...each(['user']),
});

export async function embed(body: JsonObject, call: Call, parts: ServeParts): Promise<Response> {
  const { vectors, promptTokens, model, format } = await embedTexts(body, call, parts);
  // Written one by one: all at once, millions of numbers would stop the event loop.
  const breathe = breather();
  const data: string[] = [];
  for (const [index, vector] of vectors.entries()) {
    const embedding = format === 'float' ? Array.from(vector) : base64(vector);
    data.push(JSON.stringify({ object: 'embedding', index, embedding }));
    await breathe();
  }
  const rest = JSON.stringify({ model, usage: { prompt_tokens: promptTokens, total_tokens: promptTokens } });
  const json = `{"object":"list","data":[${data.join(',')}],${rest.slice(1)}`;
  return new Response(json, { headers: { 'content-type': 'application/json' } });
}

/**
 * @param body as this API has it; another door translates its own
 * @returns a unit vector for each text, and when the request had been checked
 */
export async function embedTexts(body: JsonObject, call: Call, parts: ServeParts) {
  const { embedder } = parts;
  if (embedder === null) {
    throw new HttpError(400, 'This model’s embedding cannot be read.', { code: 'no_embedding' });
  }
  const { model, input, encoding_format: format, dimensions = embedder.d } = checkedFields(EMBEDDING_REQUEST, body);
  if (dimensions !== embedder.d) {
    const problem = `dimensions is not supported by this server: leave it out, or send ${embedder.d}.`;
    throw badField('dimensions', problem, 'unsupported_parameter');
  }
  resolveModel(model, parts).release();
  const askedMs = call.ms;
  const prompts = input.map((text) => ({ text }));
  const embedded = await embedder.embedAside(prompts, call.signal);
  const promptTokens = embedded.reduce((sum, { tokens }) => sum + tokens, 0);
  call.note({ promptTokens });
  return { vectors: embedded.map(({ vector }) => vector), promptTokens, model, format, askedMs };
}

/** Little-endian float32, as OpenAI's clients decode it. */
function base64(vector: Float32Array): string {
  const bytes = new DataView(new ArrayBuffer(4 * vector.length));
  for (const [i, x] of vector.entries()) bytes.setFloat32(4 * i, x, true);
  return Buffer.from(bytes.buffer).toString('base64');
}
