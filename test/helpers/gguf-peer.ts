/** GGUF files as an independent reader sees them: @huggingface/gguf. */

import { gguf } from '@huggingface/gguf';

export interface PeerFile {
  metadata: Record<string, unknown>;
  /** shapes outermost first, as in PyTorch; types by their number */
  tensors: Array<{ name: string; shape: number[]; type: number }>;
}

export async function readWithPeer(path: string): Promise<PeerFile> {
  const { metadata, tensorInfos } = await gguf(path, { allowLocalFile: true });
  const tensors = tensorInfos.map(({ name, shape, dtype }) => ({
    name,
    shape: shape.map(Number).reverse(),
    type: dtype as number,
  }));
  return { metadata: metadata as Record<string, unknown>, tensors };
}
