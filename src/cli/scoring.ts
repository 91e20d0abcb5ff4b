/** What `crayon score` is asked, and what its two scorers are given. */

import type { Example } from '../data/dataset.js';
import type { GgufFileType } from '../gguf/file-types.js';
import type { BaseModel } from '../hf/base-model.js';
import type { PromptForm, WantedForm } from '../hf/prompt-form.js';
import type { Tokenizer } from '../hf/tokenizer.js';
import type { ScoredThrough } from '../train/completion-score.js';
import type { ScoredSequences } from '../train/score.js';
import type { BackendFlag, DataFlags, PoolFlags } from './options.js';
import type { Terminal } from './terminal.js';

export interface ScoreFlags extends DataFlags, BackendFlag, WantedForm, PoolFlags {
  model: string;
  adapter?: string;
  pool?: string;
  topK?: number;
  maxLength?: number;
  anyBase: boolean;
  /** whose log-probabilities: one of the two, or both side by side */
  through: ScoredThrough | 'both';
  type: GgufFileType;
}

export interface Scoring {
  flags: ScoreFlags;
  source: BaseModel;
  tokenizer: Tokenizer;
  form: PromptForm;
  examples: Example[];
  made: ScoredSequences;
  terminal: Terminal;
}
