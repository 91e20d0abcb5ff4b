/**
 * Python regular expressions as they occur in adapter_config.json, run by JavaScript's engine.
 *
 * They come from files of strangers, so a pattern that backtracks without end is stopped instead of hanging the program.
 */

import vm from 'node:vm';
import { CrayonError } from '../core/errors.js';

const TIMEOUT_MS = 1000;

/** Rewrites what Python spells differently; anything else unknown to JavaScript fails to compile under the u flag. */
function toJavaScript(pattern: string): string {
  return pattern.replaceAll('(?P<', '(?<').replace(/\\(.)/gsu, (whole, c: string) => {
    // Python allows a backslash before any punctuation, JavaScript only before its own syntax characters.
    const isOtherPunctuation = !/[\w^$\\.*+?()[\]{}|/]/u.test(c);
    return isOtherPunctuation ? `\\u{${c.codePointAt(0)!.toString(16)}}` : whole;
  });
}

/**
 * Which of `names` match `before + pattern + after` from start to end.
 *
 * @throws CrayonError `adapter-unsupported` when the pattern is not understood or does not end
 */
function matchAll(pattern: string, before: string, after: string, names: readonly string[], path: string): boolean[] {
  const source = before + toJavaScript(pattern) + after;
  try {
    const script = 'names.map((name) => regex.test(name))';
    // The timeout interrupts the regular expression engine too, which nothing else in the language does.
    return [...vm.runInNewContext(script, { names, regex: new RegExp(source, 'u') }, { timeout: TIMEOUT_MS })];
  } catch (error) {
    const hasTimedOut = error instanceof Error && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
    const reason = hasTimedOut ? 'takes too long to match' : 'is not understood';
    throw new CrayonError('adapter-unsupported', `${path}: regular expression ${JSON.stringify(pattern)} ${reason}`, {
      hint: 'Write the module names out in adapter_config.json.',
      cause: error,
    });
  }
}

/** Python's `re.fullmatch(pattern, name)` for each name. */
export function fullMatches(pattern: string, names: readonly string[], path: string): boolean[] {
  return matchAll(pattern, '^(?:', ')$', names, path);
}

/** PEFT's rule for rank_pattern and alpha_pattern keys, `re.match(rf"(.*\.)?({key})$", name)`, for each name. */
export function suffixMatches(key: string, names: readonly string[], path: string): boolean[] {
  return matchAll(key, '^(.*\\.)?(', ')$', names, path);
}
