/**
 * Keeps names of control tokens that a user wrote, such as `<|im_end|>`, from becoming those tokens, while a chat template's
 * own do.
 *
 * The template must see the whole conversation, so its output is one text in which the two can no longer be told apart.
 * Therefore each such name in a message is broken before rendering, by a character of the private use area that occurs
 * nowhere else. Names that are whole afterwards are the template's. The character is taken out again before tokenising, and
 * everything between the whole names is tokenised as plain text.
 */

export type TextPart = { special: true; text: string } | { special: false; text: string };

export interface SpecialText {
  /** Breaks names of control tokens in a user's text, and beginnings of names at its end. */
  guard(text: string, breaker: string): string;
  /** Cuts a rendered conversation at whole names; the breaker is taken out of the rest. */
  split(rendered: string, breaker: string): TextPart[];
}

const FIRST_PRIVATE = 0xe000;
const LAST_PRIVATE = 0xf8ff;

/** A character that occurs in none of the texts. */
export function unusedCharacter(texts: readonly string[]): string {
  for (let code = FIRST_PRIVATE; code < LAST_PRIVATE; code++) {
    const character = String.fromCharCode(code);
    if (!texts.some((text) => text.includes(character))) return character;
  }
  return String.fromCharCode(LAST_PRIVATE);
}

/** @param names texts of all control tokens */
export function specialText(names: readonly string[]): SpecialText {
  const all = [...new Set(names)].filter((name) => name !== '').sort((a, b) => b.length - a.length);
  // A name of one character cannot be broken; it is never taken for the template's.
  const whole = all.filter((name) => [...name].length > 1);
  const begins = new RegExp(`(?=${alternatives(all)})[\\s\\S]`, 'gu');
  const cuts = new RegExp(`(${alternatives(whole)})`, 'u');
  const beginnings = new Set(whole.flatMap((name) => Array.from(name, (_, i) => name.slice(0, i)).slice(1)));
  const longest = Math.max(0, ...all.map((name) => name.length));

  const endsInBeginning = (text: string): boolean => {
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      if (beginnings.has(text.slice(-length))) return true;
    }
    return false;
  };

  return {
    guard(text, breaker) {
      if (all.length === 0) return text;
      const broken = text.replace(begins, (character) => character + breaker);
      return endsInBeginning(broken) ? broken + breaker : broken;
    },
    split(rendered, breaker) {
      const pieces = whole.length === 0 ? [rendered] : rendered.split(cuts);
      return pieces
        .map((text, i) =>
          i % 2 === 1 ? { special: true, text } : { special: false, text: text.replaceAll(breaker, '') },
        )
        .filter((part): part is TextPart => part.text !== '');
    },
  };
}

function alternatives(names: readonly string[]): string {
  return names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|');
}
