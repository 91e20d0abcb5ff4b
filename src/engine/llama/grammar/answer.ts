/** The grammar that a request holds its answer to. */

import { CrayonError } from '../../../core/errors.js';
import type { GenerateRequest } from '../../types.js';
import { GrammarRules } from './rules.js';
import { schemaRule } from './schema.js';

/** In GBNF; null where the answer is free. @throws CrayonError `format-unsupported` naming what of the schema no grammar is made of */
export function answerGrammar({ format = null }: Pick<GenerateRequest, 'format'>): string | null {
  if (format === null) return null;
  const what = 'response_format.json_schema.schema';
  const rules = new GrammarRules((problem) => {
    throw new CrayonError('format-unsupported', `${what} ${problem}`, {
      hint: 'Make the schema smaller, or let the server LLM answer.',
    });
  });
  if (format.type === 'json_object') return rules.text('object');
  return rules.text(schemaRule(format.json_schema.schema ?? true, rules, { what, code: 'format-unsupported' }));
}
