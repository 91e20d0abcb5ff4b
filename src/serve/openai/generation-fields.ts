/** The fields that chat and completion requests share. */

import { MODES, type Mode } from '../../routing/types.js';
import { badField } from '../http/error.js';
import { checkText, type RequestFields } from './fields.js';

/** What both kinds of request ask of the generation. */
export interface GenerationFields {
  model: string;
  stream: boolean;
  includeUsage: boolean;
  temperature: number;
  topP: number;
  seed: number | null;
  stop: string[];
  /** null: the server's default */
  mode: Mode | null;
}

const MAX_STOPS = 4;
const MAX_STOP_LENGTH = 1024;

/** Sent by many clients, without meaning here. */
const HARMLESS = ['user', 'metadata', 'safety_identifier', 'prompt_cache_key', 'service_tier'];

export function generationFields(fields: RequestFields): GenerationFields {
  const model = requiredModel(fields);
  const stream = fields.flag('stream') ?? false;
  const includeUsage = streamOptions(fields, stream);
  const generation = {
    model,
    stream,
    includeUsage,
    temperature: fields.number('temperature', 0, 2) ?? 1,
    topP: topP(fields),
    seed: fields.whole('seed', Number.MIN_SAFE_INTEGER) ?? null,
    stop: stops(fields),
    mode: modeOf(fields),
  };
  fields.harmless(...HARMLESS);
  fields.only('n', (n) => n === 1, '1');
  fields.only('presence_penalty', (x) => x === 0, '0');
  fields.only('frequency_penalty', (x) => x === 0, '0');
  fields.only('logit_bias', isEmpty, 'an empty object');
  fields.only('store', (x) => x === false, 'false');
  return generation;
}

export function requiredModel(fields: RequestFields): string {
  const model = fields.text('model');
  if (model === undefined || model === '') throw fields.wrong('model', model, 'the name of a model (GET /v1/models)');
  return model;
}

/** A mode by name, as the header x-crayon-mode has it too. */
export function checkMode(value: string, param: string): Mode {
  const mode = MODES.find((known) => known === value);
  if (mode === undefined)
    throw badField(param, `${param} is ${JSON.stringify(value.slice(0, 32))}, expected ${MODES.join(', ')}.`);
  return mode;
}

export const isEmpty = (value: unknown) =>
  typeof value === 'object' && value !== null && Object.keys(value).length === 0;

function topP(fields: RequestFields): number {
  const value = fields.number('top_p', 0, 1) ?? 1;
  // OpenAI takes 0; the likeliest token is what is left then
  return value === 0 ? Number.MIN_VALUE : value;
}

function streamOptions(fields: RequestFields, stream: boolean): boolean {
  const options = fields.object('stream_options');
  if (options === undefined) return false;
  if (!stream) throw badField('stream_options', 'stream_options is allowed only with stream: true.');
  const includeUsage = options.flag('include_usage') ?? false;
  options.only('include_obfuscation', (x) => x === false, 'false');
  options.end();
  return includeUsage;
}

function stops(fields: RequestFields): string[] {
  const value = fields.take('stop');
  if (value === undefined) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  const expected = `one text, or a list of up to ${MAX_STOPS}`;
  if (list.length > MAX_STOPS) throw fields.wrong('stop', value, expected);
  return list.map((stop) => {
    if (typeof stop !== 'string' || stop === '' || stop.length > MAX_STOP_LENGTH) {
      throw fields.wrong('stop', stop, `${expected}, each of 1 to ${MAX_STOP_LENGTH} characters`);
    }
    return checkText(stop, 'stop');
  });
}

function modeOf(fields: RequestFields): Mode | null {
  const crayon = fields.object('crayon');
  if (crayon === undefined) return null;
  const mode = crayon.text('mode');
  crayon.end();
  return mode === undefined ? null : checkMode(mode, 'crayon.mode');
}
