/**
 * POST, GET and DELETE of /v1/customizations: adapters blended for a user while the server runs; and the scales of those it was
 * started with, GET and POST of /lora-adapters in llama-server's shape.
 */

import { EXAMPLE_LIMITS } from '../../blend/coefficients.js';
import type { JsonObject } from '../../files/json.js';
import type { Call } from '../http/call.js';
import { badField, HttpError } from '../http/error.js';
import { RequestFields } from '../openai/fields.js';
import type { ServeParts } from '../parts.js';
import type { AdapterSet } from './adapter-set.js';
import type { BlendOrder, Customization, Customizations } from './customizations.js';

const MAX_NAME = 64;
/** More base LoRAs than any pool has. */
const MAX_COEFFICIENTS = 4096;

/** @throws HttpError naming the field that is wrong */
export function parseCustomizationRequest(body: JsonObject): { order: BlendOrder; name: string | null } {
  const fields = new RequestFields(body);
  const examples = exampleList(fields);
  const coefficients = coefficientList(fields);
  const name = fields.text('name') ?? null;
  if (name !== null && (name.trim() === '' || name.length > MAX_NAME || /\p{Cc}/u.test(name))) {
    throw fields.wrong('name', name, `1 to ${MAX_NAME} characters, none of them a control character`);
  }
  const topK = fields.whole('top_k', 1, MAX_COEFFICIENTS) ?? null;
  const temperature = fields.number('temperature', 1e-6, 1e6) ?? null;
  const combine = fields.text('combine') ?? 'cat';
  if (combine !== 'cat' && combine !== 'svd' && combine !== 'linear') {
    throw fields.wrong('combine', combine, '"cat", "svd" or "linear"');
  }
  fields.end();
  if ((examples === null) === (coefficients === null)) {
    throw badField('examples', 'Give either examples or coefficients.', 'missing_required_parameter');
  }
  return { order: { examples, coefficients, topK, temperature, combine }, name };
}

function exampleList(fields: RequestFields): BlendOrder['examples'] {
  const value = fields.take('examples');
  if (value === undefined) return null;
  const { min, max } = EXAMPLE_LIMITS;
  if (!Array.isArray(value) || value.length < min || value.length > max) {
    throw fields.wrong('examples', value, `${min} to ${max} examples, each {"prompt": ..., "completion": ...}`);
  }
  return value.map((item, i) => {
    const example = RequestFields.of(item, `examples[${i}]`, 'an object with a prompt');
    const prompt = example.text('prompt');
    if (prompt === undefined || prompt.trim() === '') throw example.wrong('prompt', prompt, 'a text');
    const completion = example.text('completion');
    // A line of a data set may be sent as it stands; only prompts are embedded.
    for (const unused of ['id', 'choices', 'answer']) example.take(unused);
    example.end();
    return { prompt, completion };
  });
}

function coefficientList(fields: RequestFields): number[] | null {
  const value = fields.take('coefficients');
  if (value === undefined) return null;
  const isList = Array.isArray(value) && value.length > 0 && value.length <= MAX_COEFFICIENTS;
  if (!isList || !value.every(Number.isFinite))
    throw fields.wrong('coefficients', value, 'a list of numbers, one for each adapter of the pool');
  return value;
}

/** One customisation as JSON. */
export function customizationCard(one: Customization, base: string): object {
  const { id, name, created, coefficients, similarities, examples, ms } = one;
  const { verdict, sentence, percentile } = one.coverage ?? {};
  return {
    id,
    object: 'customization',
    model: `${base}:${id}`,
    name,
    created,
    coefficients,
    similarities,
    coverage: one.coverage === null ? null : { verdict, sentence, percentile },
    examples,
    blend_ms: Math.round(ms),
  };
}

export async function createCustomization(body: JsonObject, call: Call, parts: ServeParts): Promise<Response> {
  const kept = needPool(parts);
  const { order, name } = parseCustomizationRequest(body);
  const made = await kept.create(order, name, call.signal);
  call.note({ customization: made.id, examples: made.examples, blendMs: Math.round(made.ms) });
  return Response.json(customizationCard(made, parts.base), { status: 201 });
}

export function listCustomizations(parts: ServeParts): Response {
  const all = parts.customizations?.list() ?? [];
  return Response.json({ object: 'list', data: all.map((one) => customizationCard(one, parts.base)) });
}

export function showCustomization(id: string, parts: ServeParts): Response {
  const one = parts.customizations?.get(id);
  if (one === undefined) throw noSuch(id);
  return Response.json(customizationCard(one, parts.base));
}

export function deleteCustomization(id: string, parts: ServeParts): Response {
  if (parts.customizations?.delete(id) !== true) throw noSuch(id);
  return Response.json({ id, object: 'customization.deleted', deleted: true });
}

function needPool({ customizations }: ServeParts): Customizations {
  if (customizations !== null) return customizations;
  throw new HttpError(400, 'This server was started without a pool, so there is nothing to blend from.', {
    code: 'no_pool',
  });
}

function noSuch(id: string): HttpError {
  return new HttpError(404, `There is no customisation ${JSON.stringify(id.slice(0, 64))}.`, {
    code: 'customization_not_found',
  });
}

/** Beyond this a scale is a typing error. */
const MAX_SCALE = 1000;

/** Sets the scales for all requests from now on; those that are not listed become 0, as in llama-server. */
export function setAdapterScales(list: readonly unknown[], adapters: AdapterSet): void {
  const known = adapters.list().length;
  const scales = new Map<number, number>();
  for (const [i, item] of list.entries()) {
    const where = `[${i}]`;
    const fields = RequestFields.of(item, where, 'an object with id and scale');
    const id = fields.whole('id', 0);
    if (id === undefined || id >= known) throw fields.wrong('id', id, `the id of an adapter, below ${known}`);
    const scale = fields.number('scale', -MAX_SCALE, MAX_SCALE);
    if (scale === undefined) throw fields.wrong('scale', scale, 'a number');
    fields.harmless('path');
    fields.end();
    if (scales.has(id)) throw badField(`${where}.id`, `${where}.id is ${id}, which the list has already.`);
    scales.set(id, scale);
  }
  adapters.setScales(scales);
}
