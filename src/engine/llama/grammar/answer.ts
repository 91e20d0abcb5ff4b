/** The grammar that a request holds its answer to. */

import { CrayonError } from '../../../core/errors.js';
import type { Prompt, ResponseFormat } from '../../types.js';
import { type CallForm, HERMES } from './call-forms.js';
import { GrammarRules } from './rules.js';
import { schemaRule } from './schema.js';
import { callsRule, offered } from './tool-calls.js';

/**
 * In GBNF; null where the answer is free.
 *
 * @throws CrayonError `format-unsupported` or `tools-unsupported` naming what of a schema no grammar is made of
 */
export function answerGrammar(format: ResponseFormat | null, prompt: Prompt, form: CallForm = HERMES): string | null {
  const tools = offered(prompt);
  if (format === null && tools === null) return null;
  const [what, code] =
    tools === null ? (['response_format', 'format-unsupported'] as const) : (['tools', 'tools-unsupported'] as const);
  const rules = new GrammarRules((problem) => {
    throw new CrayonError(code, `${what} ${problem}`, {
      hint: 'Make the schema smaller, or let the server LLM answer.',
    });
  });
  const text = format === null ? null : formatRule(format, rules);
  return rules.text(tools === null ? text! : callsRule(tools, text, rules, form));
}

function formatRule(format: ResponseFormat, rules: GrammarRules): string {
  if (format.type === 'json_object') return 'object';
  const what = 'response_format.json_schema.schema';
  return schemaRule(format.json_schema.schema ?? true, rules, { what, code: 'format-unsupported' });
}
