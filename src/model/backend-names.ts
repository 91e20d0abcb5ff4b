/** The tensor back ends, named without loading any of them. */

/** In order of preference. `node-gpu` also runs on the CPU when no CUDA device is found. */
export const BACKENDS = ['node-gpu', 'node', 'webgpu', 'wasm', 'cpu'] as const;
export type BackendName = (typeof BACKENDS)[number];
