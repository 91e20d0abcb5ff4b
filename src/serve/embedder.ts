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
