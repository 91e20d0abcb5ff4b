/**
 * The served model's tokenizer, as vLLM offers it (`/tokenizer_info`, `/tokenize`, `/detokenize`): lm-evaluation-harness cuts its
 * prompts with it where no Hugging Face directory of the model is at hand (`tokenizer_backend=remote`), as with a GGUF alone.
 */

import * as z from 'zod';
import type { JsonObject } from '../../files/json.js';
import { whole } from '../../files/schema.js';
import { checkedFields, fields, flag, plainText } from '../http/body.js';
import type { Call } from '../http/call.js';
import type { ServeParts } from '../parts.js';
import { resolveModel } from './models.js';
import { requiredModel } from './request.js';

export function tokenizerInfo({ device }: ServeParts): Response {
  const { bos, eos, chatTemplate } = device.vocabulary;
  return Response.json({
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: bos,
    eos_token: eos,
    pad_token: null,
    chat_template: chatTemplate,
    model_max_length: device.contextTokens,
  });
}

const TOKENIZE_REQUEST = fields({
  model: requiredModel.optional(),
  prompt: plainText('a text'),
  add_special_tokens: flag.default(true),
});

/** Names of control tokens in the text become these tokens, as in Hugging Face's tokenizers: nothing is generated from them. */
export async function tokenize(body: JsonObject, call: Call, parts: ServeParts): Promise<Response> {
  const { model, prompt, add_special_tokens: addsBos } = checkedFields(TOKENIZE_REQUEST, body);
  refuseUnknownModel(model, parts);
  const { vocabulary, contextTokens } = parts.device;
  const ids = Array.from((await vocabulary.encodeAside?.(prompt, call.signal)) ?? vocabulary.encode(prompt));
  const { start } = vocabulary;
  const tokens = addsBos && ids[0] !== start[0] ? [...start, ...ids] : ids;
  return Response.json({ count: tokens.length, max_model_len: contextTokens, tokens });
}

const IDS = 'a list of token ids';
const DETOKENIZE_REQUEST = fields({
  model: requiredModel.optional(),
  tokens: z.array(whole(0), IDS),
});

export async function detokenize(body: JsonObject, call: Call, parts: ServeParts): Promise<Response> {
  const { model, tokens } = checkedFields(DETOKENIZE_REQUEST, body);
  refuseUnknownModel(model, parts);
  const { vocabulary } = parts.device;
  const prompt = (await vocabulary.decodeAside?.(tokens, call.signal)) ?? vocabulary.decode(tokens);
  return Response.json({ prompt });
}

function refuseUnknownModel(model: string | undefined, parts: ServeParts): void {
  if (model !== undefined) resolveModel(model, parts).release();
}
