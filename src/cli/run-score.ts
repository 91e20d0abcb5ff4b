/** The work and the words of `crayon score`. */

import { checkAdapterBase } from '../blend/adapter-record.js';
import { adapterForm } from '../blend/prompt-record.js';
import { CrayonError } from '../core/errors.js';
import { formatCount, formatRate } from '../core/format.js';
import { loadDataset, noExamples } from '../data/dataset.js';
import { openBase } from '../gguf/base.js';
import type { GgufFileType } from '../gguf/file-types.js';
import { choosePromptForm, formText, type PromptForm, promptRecord, refuseOtherForm } from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import { openPool, poolForm } from '../pool/pool.js';
import { SCORED_THROUGH, type ScoredThrough } from '../train/completion-score.js';
import { compareScores, type ScoreDifference, type ScoreReport, scoredSequences } from '../train/score.js';
import { placeOf } from './pool-place.js';
import type { ScoreFlags } from './scoring.js';
import type { Terminal } from './terminal.js';

export async function runScore(given: ScoreFlags, terminal: Terminal): Promise<void> {
  if (given.adapter !== undefined && given.pool !== undefined) {
    throw new CrayonError('bad-option', '--adapter and --pool are both given', { hint: 'Score one at a time.' });
  }
  if (given.topK !== undefined && given.pool === undefined) {
    throw new CrayonError('bad-option', `--top-k ${given.topK} without --pool, of which it is`);
  }
  const place = given.pool === undefined ? null : await placeOf(given.pool, given, terminal.streams.env);
  await place?.members();
  const flags = place === null ? given : { ...given, pool: place.dir };
  const { through } = flags;
  const source = openBase(flags.model);
  try {
    if (flags.adapter !== undefined) checkAdapterBase(flags.adapter, source, flags.anyBase);
    const { form, tokenizer } = scoredForm(flags, source.tokenizer());
    const examples = flags.data.flatMap((path) => loadDataset(path, flags).examples);
    if (examples.length === 0) throw noExamples(flags.data);
    const { maxPositionEmbeddings: context, vocabSize } = source.config;
    const maxLength = Math.min(flags.maxLength ?? context, context);
    // A plain sequence has one token more than are read, for which the engine has no room.
    const fitting = through !== 'forward' && form.kind === 'plain' ? maxLength - 1 : maxLength;
    const made = scoredSequences({ tokenizer, form, examples, maxLength: fitting, vocabSize });
    const scoring = { flags, source, tokenizer, form, examples, made, terminal };
    const forward = through === 'engine' ? null : await (await import('./run-score-forward.js')).scoreForward(scoring);
    const engine = through === 'forward' ? null : await (await import('./score-engine.js')).scoreEngine(scoring);
    const difference = forward && engine && compareScores(made, engine.scores, forward.scores);
    const reports = {
      ...(forward && { forward: forward.report }),
      ...(engine && { engine: engine.report }),
    };
    const type = source.format === 'hf' ? flags.type : null;
    show({ reports, difference, form, type, backend: forward?.backend ?? null }, given, terminal);
  } finally {
    source.close();
  }
}

/** As the adapter or the pool was trained; the base model as asked for, by default chat where it has a template. */
function scoredForm(flags: ScoreFlags, tokenizer: Tokenizer): { form: PromptForm; tokenizer: Tokenizer } {
  const { model, adapter, pool } = flags;
  if (adapter !== undefined) {
    const { form, chatTemplate } = adapterForm(adapter, model, tokenizer.chatTemplate, flags);
    return { form, tokenizer: chatTemplate === null ? tokenizer : tokenizer.withTemplate(chatTemplate) };
  }
  if (pool === undefined) return { form: choosePromptForm(tokenizer, flags, model), tokenizer };
  const form = poolForm(openPool(pool), tokenizer, model);
  refuseOtherForm(form, flags, pool, 'pool-mismatch');
  return { form, tokenizer };
}

interface Shown {
  form: PromptForm;
  /** what the engine's GGUF was exported as; null where it is taken as it is */
  type: GgufFileType | null;
  reports: Partial<Record<ScoredThrough, ScoreReport>>;
  difference: ScoreDifference | null;
  backend: string | null;
}

function show({ reports, difference, form, type, backend }: Shown, flags: ScoreFlags, terminal: Terminal): void {
  const { model, adapter, pool, through } = flags;
  const scored = Object.entries(reports) as Array<[ScoredThrough, ScoreReport]>;
  const prompt = promptRecord(form) ?? { form: 'plain' };
  const head = { model, adapter: adapter ?? null, pool: pool ?? null, prompt, through, backend };
  const served = through === 'forward' ? {} : { type };
  const one = scored[0]![1];
  terminal.document({ ...head, ...served, ...(difference === null ? one : { ...reports, difference }) });
  const row = (name: string, value: (report: ScoreReport) => string) => [
    name,
    ...scored.map(([, report]) => value(report)),
  ];
  const rows: string[][] = [
    row('prompt form', () => formText(form)),
    row('examples', ({ examples }) => formatCount(examples)),
    row('completion tokens', ({ tokens }) => formatCount(tokens)),
    row('loss (nats/token)', ({ loss }) => loss.toFixed(4)),
    row('perplexity', ({ perplexity }) => perplexity.toFixed(3)),
    row('exact match, greedy', ({ exact }) => percent(exact)),
  ];
  if (one.acc !== null) {
    rows.push(row('acc', ({ acc, accStderr }) => `${percent(acc!)} ± ${percent(accStderr ?? 0)}`));
    rows.push(row('acc_norm', ({ accNorm }) => percent(accNorm!)));
  }
  rows.push(row('tokens/s', ({ tokensPerSecond }) => formatRate(tokensPerSecond)));
  const columns = scored.map(([name]) => SCORED_THROUGH[name]);
  if (one.cutPrompts > 0) {
    rows.splice(
      2,
      0,
      row('prompts cut', ({ cutPrompts }) => formatCount(cutPrompts)),
    );
    terminal.note(
      `${one.cutPrompts} of ${one.examples} prompts exceed the context and lost their front: what they are scored on is not the whole prompt.`,
    );
  }
  terminal.table([adapter ?? pool ?? model, ...columns], rows, ['left', ...columns.map(() => 'right' as const)]);
  if (difference === null) return;
  const { largest, mean, sameChoice, sameLikeliest } = difference;
  const gaps = [
    ['log-probability of a completion, largest difference (nats)', largest.toExponential(2)],
    ['mean difference', mean.toExponential(2)],
    ['same likeliest token', percent(sameLikeliest)],
  ];
  if (sameChoice !== null) gaps.push(['same choice', percent(sameChoice)]);
  terminal.table(['served beside computed in float32', ''], gaps, ['left', 'right']);
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
