/**
 * Completions of several choices: `n` to a prompt, one for each of several prompts, and prompts that are sent back with the log-probabilities
 * of their tokens (`echo`), as OpenAI's legacy API has it and vLLM answers: what lm-evaluation-harness's `local-completions` asks.
 *
 * What is sent back is of the device: its tokens and its probabilities. Such a request never reaches the server LLM.
 */

import { CrayonError } from '../../core/errors.js';
import { breather } from '../../core/long-work.js';
import type { FinishReason, Query, TokenDetail, TokenScore, Usage } from '../../engine/types.js';
import type { Decision, Mode } from '../../routing/types.js';
import { badField } from '../http/error.js';
import {
  type AnswerWire,
  byName,
  crayonField,
  crayonHeaders,
  type TextLogprobs,
  textLogprobs,
  usageField,
  wholeChoice,
} from './answer.js';
import { type Asked, maxTokensOf, noteDecision, prepared, routed, wholeAnswer } from './routed.js';

/** Whether only the device can answer: its probabilities are asked for, or the prompt is in its tokens. */
export function needsDevice({ job }: Pick<Asked, 'job'>): boolean {
  return job.echo || job.prompts.some(({ kind }) => kind === 'tokens');
}

/** @throws HttpError naming the field, where the mode or the model's name wants the server LLM to answer */
export function deviceMode(asked: Omit<Asked, 'model'>): Mode {
  const { job, mode, parts } = asked;
  // Token ids of one model are another one's words: those of a mode that leaves a choice are the device's.
  if (job.logitBias !== undefined && mode !== 'only_in_cloud') return 'only_on_device';
  if (!needsDevice(asked)) return mode;
  const [param, what] = job.echo ? ['echo', 'a prompt that is sent back'] : ['prompt', 'a prompt of token ids'];
  const server = parts.server?.name;
  if (mode === 'only_in_cloud' || (job.model === server && server !== parts.base)) {
    throw badField(param, `${param} cannot go to the server: ${what} is of the device’s model, ${parts.base}.`);
  }
  return 'only_on_device';
}

interface Choice {
  decision: Decision;
  /** as it stands in the list, less its index */
  choice: object;
  usage: Usage;
}

/** The request of each answer to a prompt: the same but for its seed. */
export function askedFor(asked: Asked): Asked[] {
  const { n = 1, seed } = asked.job;
  return Array.from({ length: n }, (_, i) => {
    return i === 0 || seed === null ? asked : { ...asked, job: { ...asked.job, seed: seed + i } };
  });
}

/** @param head `id` and `created` of the document */
export async function choices(
  queries: readonly Query[],
  asked: Asked,
  wire: AnswerWire,
  head: { id: string; created: number },
): Promise<Response> {
  const { job, call, parts, model } = asked;
  if (job.echo) {
    const breathe = breather();
    for (const query of queries) {
      await prepared(query, asked);
      await breathe();
    }
    refuseTooMuch(queries, asked);
  }
  // Prompts that begin alike are scored one after the other, so that the beginning is read once; answers share batches.
  const each = askedFor(asked);
  const wanted = queries.flatMap((query) => each.map((one) => ({ query, one })));
  const atATime = job.echo ? 1 : Math.min(wanted.length, parts.device.load().capacity);
  const made = await inTurn(wanted, atATime, ({ query, one }) =>
    job.echo ? echoed(query, one) : answered(query, one, wire),
  );

  // A prompt is counted once, however many answers there are to it.
  const usage = made
    .map((one, i) => (i % each.length === 0 ? one.usage : { ...one.usage, promptTokens: 0, cachedTokens: 0 }))
    .reduce(added);
  const { promptTokens, completionTokens, cachedTokens } = usage;
  call.note({ promptTokens, completionTokens, cachedTokens });
  const sources = new Set(made.map(({ decision }) => decision.source));
  const isOne = made.length === 1;
  const { decision } = made[0]!;
  const source = sources.size > 1 ? 'mixed' : decision.source;
  const document = {
    ...{ id: head.id, object: wire.whole, created: head.created },
    model: source === 'in_cloud' ? parts.server!.name : model.name,
    choices: made.map(({ choice, decision }, index) => {
      return { ...choice, index, ...(isOne ? {} : { crayon: crayonField(decision) }) };
    }),
    usage: usageField(usage),
    crayon: isOne ? crayonField(decision) : { source },
  };
  return Response.json(document, { headers: isOne ? crayonHeaders(decision) : { 'x-crayon-source': source } });
}

/** Before anything is computed. */
function refuseTooMuch(queries: readonly Query[], asked: Asked): void {
  const { device } = asked.parts;
  const { echoTokens } = asked.settings.limits;
  const lengths = queries.map((query) => query.tokens(device).length);
  const all = lengths.reduce((sum, length) => sum + length, 0);
  if (all > echoTokens) {
    throw badField('prompt', `prompt has ${all} tokens, this server sends ${echoTokens} at most back with echo.`);
  }
  for (const [i, query] of queries.entries()) {
    const maxTokens = maxTokensOf(query, asked);
    if (lengths[i]! + maxTokens <= device.contextTokens) continue;
    const found = `prompt ${i} has ${lengths[i]} tokens, and ${maxTokens} more are asked for`;
    throw new CrayonError('context-exceeded', `${found}: expected at most ${device.contextTokens} together`);
  }
}

async function answered(query: Query, asked: Asked, wire: AnswerWire): Promise<Choice> {
  const { decision, events } = await routed(query, asked);
  const answer = await wholeAnswer(events);
  return { decision, choice: wholeChoice(wire, answer, asked.job.topLogprobs !== null), usage: answer.usage };
}

const echoChoice = (text: string, logprobs: TextLogprobs | null, finishReason: FinishReason): object => {
  return { index: 0, text, logprobs, finish_reason: finishReason };
};

async function echoed(query: Query, asked: Asked): Promise<Choice> {
  const { job, model, call, settings } = asked;
  const { device } = asked.parts;
  const ids = [...query.tokens(device)];
  const adapters = model.adapters(query);
  const { topLogprobs } = job;
  const isScored = topLogprobs !== null && ids.length > 0;
  const scored = isScored
    ? await device.scoreTokens({ ids, from: 1, topLogprobs, adapters, signal: call.signal })
    : null;
  const lists = scored === null ? null : promptLogprobs(ids, scored.tokens, asked);
  const cachedTokens = scored?.cachedTokens ?? 0;
  if (maxTokensOf(query, asked) === 0) {
    const decision = byMode(ids.length);
    noteDecision(decision, asked);
    settings.metrics.tokens('on_device', ids.length, 0);
    const usage = { promptTokens: ids.length, completionTokens: 0, cachedTokens };
    return { decision, choice: echoChoice(query.text, lists, 'length'), usage };
  }
  const { decision, events } = await routed(query, asked);
  const answer = await wholeAnswer(events);
  const logprobs = lists === null ? null : joined(lists, textLogprobs(answer.tokens, query.text.length, answer.ending));
  // The answer finds the prompt read by the scoring: what was there before is told.
  const usage = scored === null ? answer.usage : { ...answer.usage, cachedTokens };
  return { decision, choice: echoChoice(query.text + answer.text, logprobs, answer.finishReason), usage };
}

/** The first token has nothing before it, and so no probability. */
function promptLogprobs(
  ids: readonly number[],
  scores: readonly TokenScore[],
  { parts: { device } }: Asked,
): TextLogprobs {
  const named = (id: number, logprob: number) => {
    const bytes = device.vocabulary.nameOf(id);
    return { token: new TextDecoder().decode(bytes), bytes: [...bytes], logprob };
  };
  let offset = 0;
  const offsets = device.vocabulary.spell(ids).map((text) => {
    const at = offset;
    offset += text.length;
    return at;
  });
  const details = scores.map(({ id, logprob, top }): TokenDetail => {
    return { ...named(id, logprob), top: top.map((one) => named(one.id, one.logprob)) };
  });
  const first = named(ids[0]!, 0).token;
  return {
    tokens: [first, ...details.map(({ token }) => token)],
    token_logprobs: [null, ...details.map(({ logprob }) => logprob)],
    // The token itself stands in its list, likely or not, as vLLM has it.
    top_logprobs: [null, ...details.map((detail) => byName([...detail.top, detail]))],
    text_offset: offsets,
  };
}

function joined(prompt: TextLogprobs, answer: TextLogprobs | null): TextLogprobs {
  if (answer === null) return prompt;
  return {
    tokens: [...prompt.tokens, ...answer.tokens],
    token_logprobs: [...prompt.token_logprobs, ...answer.token_logprobs],
    top_logprobs: [...prompt.top_logprobs, ...answer.top_logprobs],
    text_offset: [...prompt.text_offset, ...answer.text_offset],
  };
}

/** The mode of such a request is the device alone, and nothing was generated. */
function byMode(promptTokens: number): Decision {
  const signals = { promptTokens, maxTokens: 0 };
  return { source: 'on_device', reason: 'mode', score: null, threshold: null, signals, fallbackFrom: null };
}

export function added(a: Usage, b: Usage): Usage {
  const cached = a.cachedTokens === null || b.cachedTokens === null ? null : a.cachedTokens + b.cachedTokens;
  return {
    promptTokens: a.promptTokens + b.promptTokens,
    completionTokens: a.completionTokens + b.completionTokens,
    cachedTokens: cached,
  };
}

/** The results in order; at most `atATime` under way, and none begun after one has failed. */
async function inTurn<A, B>(list: readonly A[], atATime: number, make: (one: A) => Promise<B>): Promise<B[]> {
  const results = new Array<B>(list.length);
  const left = list.entries();
  let hasFailed = false;
  const work = async (): Promise<void> => {
    for (const [i, one] of left) {
      if (hasFailed) return;
      try {
        results[i] = await make(one);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: atATime }, work));
  return results;
}
