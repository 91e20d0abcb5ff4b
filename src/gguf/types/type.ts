/** What a row of the table of ggml types says (`../types.ts`). */

/** `bytes` holds `target.length` elements, a whole number of blocks. */
export type Dequantise = (bytes: Uint8Array, target: Float32Array) => void;

/**
 * `data` holds whole blocks, `out` has room for them, `where` names the tensor in errors.
 *
 * @throws CrayonError `tensor-not-finite` when a value, or a block's scale, does not fit into float16
 */
export type Quantise = (data: Float32Array, out: Uint8Array, where: string) => void;

export interface GgmlTypeRow {
  /** its number in the file (`enum ggml_type` in ggml.h) */
  id: number;
  /** elements of a block */
  block: number;
  /** of a block */
  bytes: number;
  /** absent: a file may hold such tensors beside those that are needed, and llama.cpp reads them itself */
  dequantise?: Dequantise;
  /** absent: crayon does not write it */
  quantise?: Quantise;
}
