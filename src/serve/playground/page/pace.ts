/** An answer's pace as the reader of the page sees it. */

export interface Pace {
  /** From the question's sending to the first text. */
  firstMs: number;
  /** Null where all came at once. */
  tokensPerSecond: number | null;
  tokens: number;
}

export class PaceClock {
  readonly #sent: number;
  readonly #now: () => number;
  /** When each piece of text came. */
  readonly #pieces: number[] = [];

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#sent = now();
  }

  /** A piece of text has come. */
  piece(): void {
    this.#pieces.push(this.#now());
  }

  /**
   * At the answer's end. Tokens that were held back were made before anything was seen, and are left out of the rate; the first one is too.
   *
   * @param tokens as the usage counts them; null where nobody has counted: then the pieces stand for them
   * @param held so many of the first ones came together; null for all
   */
  measure(tokens: number | null, held: number | null): Pace | null {
    const [first] = this.#pieces;
    if (first === undefined) return null;
    const count = tokens ?? this.#pieces.length;
    const before = held ?? count;
    const from = this.#pieces[before - 1];
    const seconds = from === undefined ? 0 : (this.#now() - from) / 1000;
    const tokensPerSecond = seconds > 0 && count > before ? (count - before) / seconds : null;
    return { firstMs: first - this.#sent, tokensPerSecond, tokens: count };
  }
}
