/** GET /api/tags and /api/ps, POST /api/show: which models there are, as Ollama lists them. */

import { sha256 } from '../../files/digest.js';
import type { JsonObject } from '../../files/json.js';
import { checkedFields } from '../http/body.js';
import { badField } from '../http/error.js';
import { modelCards, resolveModel } from '../openai/models.js';
import type { ServeParts } from '../parts.js';
import { SHOW, servedName } from './request.js';

/** The version of Ollama whose API this is: clients ask for a least one. */
export const OLLAMA_VERSION = '0.33.0';

/** Any model is told of the functions that it may call, its template's way or ours. */
const CAPABILITIES = ['completion', 'tools'];

/** Of a model that is never unloaded; Ollama's own date for one lies as far off. */
const NEVER = '2318-01-01T00:00:00Z';

/** Ollama's names have a tag. */
const tagged = (name: string): string => (name.includes(':') ? name : `${name}:latest`);
const instant = (seconds: number): string => new Date(1000 * seconds).toISOString();

/** @param all as of `modelCards` */
export function tags(parts: ServeParts, created: number, all: boolean): { models: object[] } {
  return { models: modelCards(parts, created, all).map((card) => tag(card, parts)) };
}

/** All are loaded, and stay so. */
export function running(parts: ServeParts, created: number): { models: object[] } {
  const more = { expires_at: NEVER, size_vram: 0, context_length: parts.device.contextTokens };
  const own = modelCards(parts, created, true).filter(({ owned_by: owner }) => owner === 'crayon');
  return { models: own.map((card) => ({ ...tag(card, parts), ...more })) };
}

type Card = ReturnType<typeof modelCards>[number];

function tag({ id, created, parent, root }: Card, parts: ServeParts): object {
  const { file } = parts;
  const isRemote = root !== parts.base;
  return {
    name: tagged(id),
    model: tagged(id),
    ...(isRemote && { remote_model: id }),
    modified_at: instant(created),
    size: isRemote ? 0 : (file?.sizeBytes ?? 0),
    digest: parent === null && !isRemote && file !== undefined ? file.digest : sha256(`${file?.digest} ${id}`),
    details: isRemote ? NO_DETAILS : details(parts, parent),
    capabilities: CAPABILITIES,
  };
}

const NO_DETAILS = {
  ...{ parent_model: '', format: '', family: '', families: [] },
  ...{ parameter_size: '', quantization_level: '' },
};

function details({ file }: ServeParts, parent: string | null): object {
  const family = file?.family ?? '';
  return {
    parent_model: parent === null ? '' : tagged(parent),
    format: 'gguf',
    family,
    families: [family],
    parameter_size: humanCount(file?.parameters ?? 0),
    quantization_level: file?.quantization ?? 'unknown',
  };
}

/** `134.52M`, as Ollama writes it. */
function humanCount(n: number): string {
  if (n >= 1e9) return `${(n / 1e9).toFixed(1)}B`;
  return n >= 1e6 ? `${(n / 1e6).toFixed(2)}M` : `${Math.round(n / 1e3)}K`;
}

export function show(body: JsonObject, parts: ServeParts, created: number): Response {
  const { model, name } = checkedFields(SHOW, body);
  const asked = model || name;
  if (asked === '') throw badField('model', 'model is missing, expected the name of a model (GET /api/tags).');
  const { release, name: served } = resolveModel(servedName(asked, parts), parts);
  release();
  const { file, device } = parts;
  const family = file?.family ?? '';
  return Response.json({
    modelfile: `# Served by crayon: its configuration says what runs.\nFROM ${tagged(served)}\n`,
    parameters: `num_ctx ${device.contextTokens}`,
    template: device.vocabulary.chatTemplate ?? '',
    details: details(parts, served === parts.base ? null : parts.base),
    // Prompts must fit what is served, whatever the model was trained for.
    model_info: { ...file?.metadata, ...(family !== '' && { [`${family}.context_length`]: device.contextTokens }) },
    capabilities: CAPABILITIES,
    modified_at: instant(created),
  });
}
