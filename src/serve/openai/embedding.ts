/** POST /v1/embeddings: what may be asked, and the answer (OpenAI API reference, "Create embeddings"). */

import type { JsonObject } from '../../files/json.js';
import type { Call } from '../http/call.js';
import { badField, HttpError } from '../http/error.js';
import type { ServeParts } from '../parts.js';
import { checkText, RequestFields } from './fields.js';
import { resolveModel } from './models.js';
import { requiredModel } from './request.js';

interface EmbeddingRequest {
  model: string;
  inputs: string[];
  format: 'float' | 'base64';
}

/** OpenAI's own limit. */
const MAX_INPUTS = 2048;

/** @param d embedding size, the only one that may be asked for */
function parseEmbeddingRequest(body: JsonObject, d: number): EmbeddingRequest {
  const fields = new RequestFields(body);
  const model = requiredModel(fields);
  const inputs = inputTexts(fields);
  const format = fields.text('encoding_format') ?? 'float';
  if (format !== 'float' && format !== 'base64') throw fields.wrong('encoding_format', format, '"float" or "base64"');
  fields.only('dimensions', (x) => x === d, `${d}`);
  fields.harmless('user');
  fields.end();
  return { model, inputs, format };
}

function inputTexts(fields: RequestFields): string[] {
  const value = fields.take('input');
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.length === 0 || list.length > MAX_INPUTS) throw fields.wrong('input', value, `1 to ${MAX_INPUTS} texts`);
  return list.map((input, i) => {
    const path = Array.isArray(value) ? `input[${i}]` : 'input';
    if (typeof input === 'number' || Array.isArray(input)) {
      throw badField(path, `${path} holds token ids: this server takes texts.`, 'unsupported_value');
    }
    if (typeof input !== 'string') throw fields.wrong('input', input, 'a text, or a list of texts');
    if (input.trim() === '') throw badField(path, `${path} is empty.`);
    return checkText(input, path);
  });
}

export function embed(body: JsonObject, call: Call, parts: ServeParts): Response {
  const { embedder } = parts;
  if (embedder === null) {
    throw new HttpError(400, 'This model’s embedding cannot be read.', { code: 'no_embedding' });
  }
  const request = parseEmbeddingRequest(body, embedder.d);
  resolveModel(request.model, parts).release();
  const embedded = request.inputs.map((text) => embedder.embed(text));
  const promptTokens = embedded.reduce((sum, { tokens }) => sum + tokens, 0);
  call.note({ promptTokens });
  return Response.json(
    embeddingResponse(
      request,
      embedded.map(({ vector }) => vector),
      promptTokens,
    ),
  );
}

/** The answer's body. */
function embeddingResponse(
  { model, format }: EmbeddingRequest,
  vectors: readonly Float32Array[],
  promptTokens: number,
) {
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: format === 'float' ? Array.from(vector) : base64(vector),
    })),
    model,
    usage: { prompt_tokens: promptTokens, total_tokens: promptTokens },
  };
}

/** Little-endian float32, as OpenAI's clients decode it. */
function base64(vector: Float32Array): string {
  const bytes = new DataView(new ArrayBuffer(4 * vector.length));
  for (const [i, x] of vector.entries()) bytes.setFloat32(4 * i, x, true);
  return Buffer.from(bytes.buffer).toString('base64');
}
