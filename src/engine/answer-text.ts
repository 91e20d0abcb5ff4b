/** The text of an answer as it may be shown, whichever source it comes from: up to a stop text and without the beginning of one. */

/**
 * An answer's bytes as text that can be shown: whole characters, nothing of a stop text, not even its beginning.
 *
 * @example
 * const answer = new AnswerText(['END'], false);
 * answer.push(bytesOf('a EN')); // 'a ': EN may be the beginning of END
 * answer.push(bytesOf('VY')); // 'ENVY'
 * answer.end(); // ''
 */
export class AnswerText {
  /** a stop text has appeared: the answer is complete */
  stopped = false;
  readonly #stop: readonly string[];
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #dropSpace: boolean;
  #held = '';

  /** @param dropLeadingSpace the answer's very first character is left out if it is a space */
  constructor(stop: readonly string[], dropLeadingSpace: boolean) {
    this.#stop = stop.filter((text) => text !== '');
    this.#dropSpace = dropLeadingSpace;
  }

  /** @returns what can be shown now */
  push(bytes: Uint8Array): string {
    return this.take(this.#decoder.decode(bytes, { stream: true }));
  }

  /** @returns what was still held back: half a character as U+FFFD, the beginning of a stop text that did not come */
  end(): string {
    if (this.stopped) return '';
    const rest = this.take(this.#decoder.decode()) + this.#held;
    this.#held = '';
    return rest;
  }

  /** As `push`, of a piece that is text already. */
  take(text: string): string {
    if (this.stopped || text === '') return '';
    const kept = this.#dropSpace && text.startsWith(' ') ? text.slice(1) : text;
    this.#dropSpace = false;
    const all = this.#held + kept;
    const at = this.#stop.map((stop) => all.indexOf(stop)).filter((index) => index >= 0);
    if (at.length > 0) {
      this.stopped = true;
      this.#held = '';
      return all.slice(0, Math.min(...at));
    }
    const holding = Math.max(0, ...this.#stop.map((stop) => beginning(all, stop)));
    this.#held = all.slice(all.length - holding);
    return all.slice(0, all.length - holding);
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function beginning(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
