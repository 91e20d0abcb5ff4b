/**
 * POST, GET, DELETE and rollback of /v1/customizations: adapters blended for a user while the server runs; and the scales of those it was
 * started with, GET and POST of /lora-adapters in llama-server's shape.
 */

import * as z from 'zod';
import { EXAMPLE_LIMITS } from '../../blend/coefficients.js';
import { CANDIDATES } from '../../choose/candidates.js';
import { messageOf } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { kindOf, type RawExample, whyInvalid } from '../../data/example.js';
import { recordExamples, recordPrompt } from '../../data/record.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { whole } from '../../files/schema.js';
import { checkedFields, each, fields, flag, number, oneOf, plainText } from '../http/body.js';
import type { Call } from '../http/call.js';
import { badField, HttpError } from '../http/error.js';
import type { AppSettings, ServeParts } from '../parts.js';
import type { AdapterSet } from './adapter-set.js';
import type { Customization, Customizations } from './customizations.js';
import type { BlendOrder } from './maker.js';
import { type ChoiceMade, FORMS } from './record.js';

const NAME = `1 to ${LIMITS.customizationName} characters, none of them a control character`;
const isName = (name: string) => name.trim() !== '' && name.length <= LIMITS.customizationName && !/\p{Cc}/u.test(name);

const { min: MIN_EXAMPLES, max: MAX_EXAMPLES } = EXAMPLE_LIMITS;
const EXAMPLES = `${MIN_EXAMPLES} to ${MAX_EXAMPLES} examples, each {"prompt": ..., "completion": ...}`;
/** A line of a data set, as it stands: data/record.ts says what it may be. Prompts are embedded; answers, which may be missing, can choose. */
const EXAMPLE = z.unknown().transform((record, context) => {
  try {
    if (!isJsonObject(record)) throw new Error(`is ${kindOf(record)}, expected an object with a prompt or messages`);
    const asked = recordPrompt(record);
    const problem = whyInvalid({ ...asked, completion: 'none' });
    if (problem !== undefined) throw new Error(problem);
    return { asked, answered: answeredIn(record), record };
  } catch (error) {
    const message = messageOf(error).replace(/^(?!is |has )/, 'is no example: ');
    context.addIssue({ code: 'custom', message, params: { code: 'invalid_value' } });
    return z.NEVER;
  }
});

/** The example with its answer, or why there is none. */
function answeredIn(record: JsonObject): RawExample | string {
  try {
    const example = recordExamples(record)[0]!;
    return whyInvalid(example) ?? example;
  } catch (error) {
    return messageOf(error);
  }
}

const COEFFICIENTS = 'a list of numbers, one for each adapter of the pool';
const areCoefficients = (value: unknown) =>
  Array.isArray(value) && value.length > 0 && value.length <= LIMITS.coefficients && value.every(Number.isFinite);

const CUSTOMIZATION_REQUEST = fields({
  examples: z.array(EXAMPLE, EXAMPLES).min(MIN_EXAMPLES, EXAMPLES).max(MAX_EXAMPLES, EXAMPLES).nullable().default(null),
  coefficients: z.custom<number[]>(areCoefficients, COEFFICIENTS).nullable().default(null),
  name: plainText().refine(isName, NAME).nullable().default(null),
  top_k: whole(1, LIMITS.coefficients).nullable().default(null),
  temperature: number(1e-6, 1e6).nullable().default(null),
  estimator: oneOf(['similarity', 'mean-gate']).nullable().default(null),
  standardise: flag.nullable().default(null),
  choose: flag.nullable().default(null),
  choose_seconds: number(0.1, 86_400).nullable().default(null),
  combine: oneOf(FORMS).nullable().default(null),
});

/**
 * The examples with their answers, where they are to choose: as the request says, else as the configuration does for what can.
 *
 * @throws HttpError naming the field that stands against it
 */
function choosing(request: z.output<typeof CUSTOMIZATION_REQUEST>, settings: AppSettings): BlendOrder['choose'] {
  const { examples, choose, choose_seconds: asked } = request;
  const { chooseSeconds } = settings.limits;
  const decided = (['coefficients', 'top_k', 'temperature', 'estimator', 'standardise'] as const).find(
    (name) => request[name] !== null,
  );
  const answers = (examples ?? []).map(({ answered }) => answered);
  const missing = answers.findIndex((answered) => typeof answered === 'string');
  const canChoose = examples !== null && decided === undefined && missing === -1;
  if (choose ?? (settings.choose && canChoose)) {
    if (decided !== undefined) {
      throw badField('choose', `choose and ${decided} are both given: let the examples choose, or decide by it.`);
    }
    if (missing !== -1) {
      const field = `examples[${missing}]`;
      throw badField(field, `${field} has no answer to choose by: ${answers[missing]}.`);
    }
    return { shown: answers as RawExample[], seconds: Math.min(asked ?? chooseSeconds, chooseSeconds) };
  }
  if (asked === null) return null;
  throw badField('choose_seconds', 'choose_seconds is given, but nothing is chosen: send choose too, or leave it out.');
}

/** One customisation as JSON. */
function customizationCard(one: Customization, base: string): object {
  const { id, name, created, version, previous, form, similarities, coverage, examples, notices, choice, problem } =
    one;
  const isPerQuery = CANDIDATES.some(({ name, kind }) => name === choice?.chosen && kind === 'per-query');
  return {
    id,
    object: 'customization',
    model: `${base}:${id}`,
    name,
    created,
    version,
    previous_version: previous,
    combine: form,
    // A mixture for each prompt has none that holds for all.
    coefficients: isPerQuery ? null : one.coefficients,
    similarities,
    coverage,
    examples,
    notices,
    blend_ms: Math.round(one.ms),
    choice: choice && choiceCard(choice),
    ...(problem === null ? {} : { problem: { code: problem.code, message: problem.message } }),
  };
}

function choiceCard({ chosen, chosenFixed, evidence, candidates, seconds }: ChoiceMade): object {
  const rounded = (s: number) => Number(s.toFixed(3));
  return {
    chosen,
    /** the best that one mixture for all prompts can be */
    chosen_fixed: chosenFixed,
    evidence,
    seconds: rounded(seconds),
    candidates: candidates.map(({ name, loss, difference, standardError, right, seconds }) => {
      const { title } = CANDIDATES.find((one) => one.name === name) ?? { title: name };
      return { name, title, loss, difference, standard_error: standardError, right, seconds: rounded(seconds) };
    }),
  };
}

export async function createCustomization(
  body: JsonObject,
  call: Call,
  parts: ServeParts,
  settings: AppSettings,
): Promise<Response> {
  const kept = needPool(parts);
  const request = checkedFields(CUSTOMIZATION_REQUEST, body);
  const { name, top_k: topK, coefficients, temperature, combine } = request;
  const shown = settings.keepExamples ? request.examples?.map(({ record }) => record) : undefined;
  if ((request.examples === null) === (coefficients === null)) {
    throw badField('examples', 'Give either examples or coefficients.', 'missing_required_parameter');
  }
  const examples = request.examples?.map(({ asked }) => asked) ?? null;
  const how = { estimator: request.estimator ?? 'similarity', standardise: request.standardise ?? false } as const;
  const form = combine ?? undefined;
  const order = { examples, coefficients, topK, temperature, ...how, form, choose: choosing(request, settings), shown };
  const made = await kept.create(order, name, call.signal);
  call.note({ customization: made.id, examples: made.examples, blendMs: Math.round(made.ms) });
  const { choice } = made;
  if (choice !== null) call.note({ chosen: choice.chosen, chooseMs: Math.round(1000 * choice.seconds) });
  return Response.json(customizationCard(made, parts.base), { status: 201 });
}

export function listCustomizations(parts: ServeParts): Response {
  const all = parts.customizations?.list() ?? [];
  return Response.json({ object: 'list', data: all.map((one) => customizationCard(one, parts.base)) });
}

export function showCustomization(id: string, parts: ServeParts): Response {
  return Response.json(customizationCard(needPool(parts).get(id), parts.base));
}

/** Back to the version before, and from there back again. */
export async function rollBackCustomization(call: Call, parts: ServeParts): Promise<Response> {
  const one = await needPool(parts).rollback(call.param, call.signal);
  call.note({ customization: one.id });
  return Response.json(customizationCard(one, parts.base));
}

export function deleteCustomization(id: string, parts: ServeParts): Response {
  needPool(parts).delete(id);
  return Response.json({ id, object: 'customization.deleted', deleted: true });
}

function needPool({ customizations }: ServeParts): Customizations {
  if (customizations !== null) return customizations;
  throw new HttpError(400, 'This server was started without a pool, so there is nothing to blend from.', {
    code: 'no_pool',
  });
}

const SCALES = z.array(
  fields(
    { id: whole(0), scale: number(-LIMITS.adapterScale, LIMITS.adapterScale), ...each(['path']) },
    'an object with id and scale',
  ),
);

/** Sets the scales for all requests from now on; those that are not listed become 0, as in llama-server. */
export function setAdapterScales(list: readonly unknown[], adapters: AdapterSet): void {
  const known = adapters.list().length;
  const scales = new Map<number, number>();
  for (const [i, { id, scale }] of checkedFields(SCALES, list).entries()) {
    const where = `[${i}].id`;
    if (id >= known) throw badField(where, `${where} is ${id}, expected the id of an adapter, below ${known}.`);
    if (scales.has(id)) throw badField(where, `${where} is ${id}, which the list has already.`);
    scales.set(id, scale);
  }
  adapters.setScales(scales);
}
