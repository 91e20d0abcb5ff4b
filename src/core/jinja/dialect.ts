/** The two environments of jinja2 whose templates we read. */

import type { ParserSettings } from './parser.js';

/** What bears on the values of a template. */
export interface Access {
  /** What is undefined may not be written, compared or gone through (jinja2's StrictUndefined). */
  isStrict: boolean;
  /** transformers' environment: methods that change their value are refused, and `tojson` is its own. */
  isSandboxed: boolean;
}

/** Whose templates they are: their settings of jinja2. */
export const DIALECTS = {
  /** lm-evaluation-harness's, of data sets: `Environment(undefined=StrictUndefined, keep_trailing_newline=True)` */
  dataSet: { keepTrailingNewline: true, isStrict: true },
  /** transformers', of conversations: an ImmutableSandboxedEnvironment with loop controls */
  chat: { trimBlocks: true, lstripBlocks: true, loopControls: true, generation: true, isSandboxed: true },
} satisfies Record<string, ParserSettings & Partial<Access>>;
export type Dialect = keyof typeof DIALECTS;
