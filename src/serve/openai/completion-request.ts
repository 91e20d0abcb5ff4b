/** POST /v1/completions: what may be asked (OpenAI API reference, "Create completion", legacy). */

import type { JsonObject } from '../../files/json.js';
import { badField } from '../http/error.js';
import { checkText, RequestFields } from './fields.js';
import { type GenerationFields, generationFields } from './generation-fields.js';

export interface CompletionRequest extends GenerationFields {
  prompt: string;
  maxTokens: number;
  /** null: none wanted; else how many alternatives for each token */
  topLogprobs: number | null;
}

/** OpenAI's own default. */
const DEFAULT_MAX_TOKENS = 16;

/** @throws HttpError naming the field that is wrong or not supported */
export function parseCompletionRequest(body: JsonObject): CompletionRequest {
  const fields = new RequestFields(body);
  const generation = generationFields(fields);
  const prompt = singlePrompt(fields);
  const maxTokens = fields.whole('max_tokens', 1) ?? DEFAULT_MAX_TOKENS;
  const topLogprobs = fields.whole('logprobs', 0, 20) ?? null;
  fields.only('echo', (x) => x === false, 'false');
  fields.only('best_of', (x) => x === 1, '1');
  fields.only('suffix', (x) => x === '', 'an empty text');
  fields.end();
  return { ...generation, prompt, maxTokens, topLogprobs };
}

function singlePrompt(fields: RequestFields): string {
  const value = fields.take('prompt');
  const prompt = Array.isArray(value) && value.length === 1 ? value[0] : value;
  if (typeof prompt === 'string') return checkText(prompt, 'prompt');
  if (Array.isArray(value)) {
    throw badField(
      'prompt',
      'prompt is a list: this server takes one text at a time, and no token ids.',
      'unsupported_value',
    );
  }
  throw fields.wrong('prompt', value, 'a text');
}
