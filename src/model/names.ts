/** Names that are known without loading a tensor library: the back ends. */

/** In order of preference. `node-gpu` also runs on the CPU when no CUDA device is found. */
export const BACKENDS = ['node-gpu', 'node', 'webgpu', 'wasm', 'cpu'] as const;
export type BackendName = (typeof BACKENDS)[number];
