/** Texts to unit vectors: the space in which scope, gate and customisation compare. */

export interface Embedded {
  /** (d), of length 1 */
  vector: Float32Array;
  /** tokens that were embedded */
  tokens: number;
}

export interface TextEmbedder {
  /** embedding size */
  readonly d: number;
  /** e.g. `first-attention` */
  readonly kind: string;
  /**
   * Embeds a text as build-pool embeds a prompt: white space at its end dropped, no BOS.
   *
   * A text without any known token has no direction: its vector is zero.
   */
  embed(text: string): Embedded;
}

/** How many different texts the embedder below remembers, and up to which length. */
const REMEMBERED = 32;
const LONGEST_REMEMBERED = 65_536;

/** Scope and gate ask for the same text within one request; the second time is free. */
export function remembering(embedder: TextEmbedder): TextEmbedder {
  const known = new Map<string, Embedded>();
  return {
    d: embedder.d,
    kind: embedder.kind,
    embed(text) {
      const before = known.get(text);
      if (before !== undefined) return before;
      const embedded = embedder.embed(text);
      if (text.length > LONGEST_REMEMBERED) return embedded;
      if (known.size >= REMEMBERED) known.delete(known.keys().next().value!);
      known.set(text, embedded);
      return embedded;
    },
  };
}
