/** Names that are known without loading a tensor library: the back ends, and what LoRA can target. */

/** In order of preference. `node-gpu` also runs on the CPU when no CUDA device is found. */
export const BACKENDS = ['node-gpu', 'node', 'webgpu', 'wasm', 'cpu'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** The seven projections of a block that LoRA can target, in checkpoint order. */
export const PROJECTIONS = [
  'self_attn.q_proj',
  'self_attn.k_proj',
  'self_attn.v_proj',
  'self_attn.o_proj',
  'mlp.gate_proj',
  'mlp.up_proj',
  'mlp.down_proj',
] as const;
export type Projection = (typeof PROJECTIONS)[number];
