/** `re.sub` of Python's regular expressions, as lm-evaluation-harness's filter `regex_replace` calls it. */

import { PYTHON_SPACE } from './lexer.js';
import { refuse } from './values.js';

/** What Python's classes hold of Unicode, inside of square brackets. */
const CLASSES: Readonly<Record<string, string>> = { d: '\\p{Nd}', s: PYTHON_SPACE, w: '\\p{L}\\p{N}_' };
const WORD = `[${CLASSES.w}]`;
/** Escapes that JavaScript writes otherwise. */
const ANCHORS: Readonly<Record<string, string>> = {
  A: '(?<![^])',
  Z: '(?![^])',
  b: `(?:(?<=${WORD})(?!${WORD})|(?<!${WORD})(?=${WORD}))`,
  B: `(?:(?<=${WORD})(?=${WORD})|(?<!${WORD})(?!${WORD}))`,
};
const CONTROLS: Readonly<Record<string, string>> = { n: '\\n', t: '\\t', r: '\\r', f: '\\f', v: '\\v', a: '\\x07' };
const FLAGS: Readonly<Record<string, string>> = { i: 'i', m: 'm', s: 's', u: '' };

/** The same expression in JavaScript, for its flag `u`. Refuses what has no counterpart or another meaning there. */
function translated(pattern: string): RegExp {
  let flags = '';
  const source = pattern.replace(/^\(\?([a-z]+)\)/, (whole, letters: string) => {
    for (const letter of letters) flags += FLAGS[letter] ?? refuse(`the flag ${whole} of a regular expression`);
    return '';
  });
  let made = '';
  let inClass = false;
  let starts = false;
  for (let i = 0; i < source.length; i++) {
    const character = source[i]!;
    const wasStart = starts;
    starts = false;
    if (character === '\\') {
      const next = source[++i] ?? refuse('a regular expression that ends in \\');
      const lower = CLASSES[next.toLowerCase()];
      if (lower !== undefined) {
        if (inClass && next !== next.toLowerCase()) refuse(`\\${next} in a class of a regular expression`);
        made += inClass ? lower : `[${next === next.toLowerCase() ? '' : '^'}${lower}]`;
      } else if (inClass && next === 'b') made += '\\x08';
      else if (!inClass && ANCHORS[next] !== undefined) made += ANCHORS[next];
      else if (CONTROLS[next] !== undefined) made += CONTROLS[next];
      else if (/[xu]/.test(next)) {
        const digits = next === 'x' ? 2 : 4;
        const hex = source.slice(i + 1, i + 1 + digits);
        if (!new RegExp(`^[\\da-fA-F]{${digits}}$`).test(hex)) refuse(`\\${next}${hex} in a regular expression`);
        made += `\\${next}${hex}`;
        i += digits;
      } else if (/[1-9]/.test(next) && !inClass && !/\d/.test(source[i + 1] ?? '')) made += `\\${next}(?:)`;
      else if (/[A-Za-z0-9]/.test(next)) refuse(`\\${next} in a regular expression`);
      else made += escaped(next);
    } else if (inClass) {
      if (character === ']' && !wasStart) inClass = false;
      if (/^(?:\[:|--|&&|\|\||~~)/.test(source.slice(i, i + 2))) refuse(`a class with ${source.slice(i, i + 2)}`);
      made += character === '[' || (character === ']' && wasStart) ? `\\${character}` : character;
    } else if (character === '[') {
      inClass = true;
      starts = true;
      made += '[';
      if (source[i + 1] === '^') {
        made += '^';
        i++;
      }
    } else if (character === '(' && source[i + 1] === '?') {
      const [group] = /^\(\?(?:[:=!]|<[=!]|P<[A-Za-z_]\w*>|P=[A-Za-z_]\w*\))/.exec(source.slice(i)) ?? [];
      if (group === undefined) return refuse(`"${source.slice(i, i + 4)}" in a regular expression`);
      made += group.startsWith('(?P=') ? `\\k<${group.slice(4, -1)}>` : group.replace('(?P<', '(?<');
      i += group.length - 1;
    } else if (character === '$') made += flags.includes('m') ? '(?=\\n|(?![^]))' : '(?=\\n?(?![^]))';
    else if (character === '^') made += flags.includes('m') ? '(?<=\\n|(?<![^]))' : '(?<![^])';
    else if (character === '.') made += flags.includes('s') ? '[^]' : '[^\\n]';
    else if (character === '{') {
      const [count] = /^\{\d*(?:,\d*)?\}/.exec(source.slice(i)) ?? [];
      if (count === undefined || /^\{,?\}$/.test(count)) made += '\\{';
      else {
        made += count.replace('{,', '{0,');
        i += count.length - 1;
      }
    } else if (/[*+?]/.test(character) && source[i + 1] === '+') refuse('a possessive quantifier');
    else made += /[\]}/]/.test(character) ? `\\${character}` : character;
  }
  return new RegExp(made, `gu${flags.replaceAll(/[ms]/g, '')}`);
}

const escaped = (character: string) => (/[\^$\\.*+?()[\]{}|/-]/.test(character) ? `\\${character}` : character);

/**
 * `re.sub(pattern, replacement, text, count)`
 *
 * @param count at most so many; all where 0
 */
export function substituted(text: string, pattern: string, replacement: string, count: number): string {
  let expression: RegExp;
  try {
    expression = translated(pattern);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return refuse(`the regular expression ${JSON.stringify(pattern)}`);
  }
  let done = 0;
  return text.replace(expression, (...match: unknown[]) => {
    if (count > 0 && done >= count) return match[0] as string;
    done++;
    const groups = (typeof match.at(-1) === 'object' ? match.at(-1) : {}) as Record<string, string | undefined>;
    return replacement.replace(/\\(?:g<([^>]+)>|(\d{1,2})|([\s\S]?))/gu, (whole, name, digit, letter: string) => {
      const group = name ?? digit;
      if (group !== undefined && /^\d+$/.test(group)) {
        const index = match.findIndex((part, i) => i > 0 && typeof part === 'number');
        if (Number(group) >= index || (digit !== undefined && digit[0] === '0')) refuse(`the group ${whole}`);
        return (match[Number(group)] as string | undefined) ?? '';
      }
      if (name !== undefined) return Object.hasOwn(groups, name) ? (groups[name] ?? '') : refuse(`the group ${whole}`);
      if (letter === '\\') return '\\';
      if (Object.hasOwn(CONTROLS, letter))
        return JSON.parse(`"${CONTROLS[letter]!.replace('\\v', '\\u000b').replace('\\x07', '\\u0007')}"`);
      return /[A-Za-z]|^$/.test(letter) ? refuse(`${whole} in a replacement`) : whole;
    });
  });
}
