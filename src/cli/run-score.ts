/** The work and the words of `crayon score`; loaded only when it runs, because it loads tfjs. */

import { adapterForm } from '../blend/prompt-record.js';
import { CrayonError } from '../core/errors.js';
import { formatCount, formatRate } from '../core/format.js';
import { loadDataset, noExamples } from '../data/dataset.js';
import { openBase } from '../gguf/base.js';
import {
  choosePromptForm,
  formText,
  type PromptForm,
  promptRecord,
  refuseOtherForm,
  type WantedForm,
} from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import { chooseBackend, releaseBackend } from '../model/backend.js';
import { LlamaModel } from '../model/llama.js';
import { poolGates } from '../pool/gate.js';
import { openPool, poolForm } from '../pool/pool.js';
import { loadAdapterLora } from '../train/adapter-lora.js';
import { type ScoreReport, scoreExamples } from '../train/score.js';
import type { BackendFlag, DataFlags } from './options.js';
import type { Terminal } from './terminal.js';

export interface ScoreFlags extends DataFlags, BackendFlag, WantedForm {
  model: string;
  adapter?: string;
  pool?: string;
  maxLength?: number;
}

export async function runScore(flags: ScoreFlags, terminal: Terminal): Promise<void> {
  if (flags.adapter !== undefined && flags.pool !== undefined) {
    throw new CrayonError('bad-option', '--adapter and --pool are both given', { hint: 'Score one at a time.' });
  }
  const source = openBase(flags.model);
  try {
    const { form, tokenizer } = scoredForm(flags, source.tokenizer());
    const examples = flags.data.flatMap((path) => loadDataset(path, flags).examples);
    if (examples.length === 0) throw noExamples(flags.data);
    const backend = await chooseBackend(flags.backend);
    terminal.note(`Back end: ${backend.name} (${backend.detail})`);
    const model = new LlamaModel(source);
    const { adapter, pool } = flags;
    const single = adapter === undefined ? undefined : loadAdapterLora(adapter, source);
    const lora = pool === undefined ? single : await poolGates(pool, source, model, tokenizer, examples);
    const context = source.config.maxPositionEmbeddings;
    const maxLength = Math.min(flags.maxLength ?? context, context);
    const report = await terminal.during(({ update }) => {
      const onProgress = (done: number, total: number) => update('score', done, total);
      return scoreExamples({ model, tokenizer, form, examples, maxLength, lora, onProgress });
    });
    model.dispose();
    show(report, flags, form, backend.name, terminal);
  } finally {
    source.close();
    releaseBackend();
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

function show(
  report: ScoreReport,
  { model, adapter, pool }: ScoreFlags,
  form: PromptForm,
  backend: string,
  terminal: Terminal,
): void {
  const prompt = promptRecord(form) ?? { form: 'plain' };
  terminal.document({ model, adapter: adapter ?? null, pool: pool ?? null, prompt, backend, ...report });
  const rows: string[][] = [
    ['prompt form', formText(form)],
    ['examples', formatCount(report.examples)],
    ['completion tokens', formatCount(report.tokens)],
    ['loss (nats/token)', report.loss.toFixed(4)],
    ['perplexity', report.perplexity.toFixed(3)],
    ['exact match, greedy', percent(report.exact)],
  ];
  if (report.acc !== null) {
    rows.push(['acc', `${percent(report.acc)} ± ${percent(report.accStderr ?? 0)}`]);
    rows.push(['acc_norm', percent(report.accNorm!)]);
  }
  rows.push(['tokens/s', formatRate(report.tokensPerSecond)]);
  terminal.table([adapter ?? pool ?? model, ''], rows, ['left', 'right']);
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
