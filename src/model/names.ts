/** Names that are known without loading a tensor library: the back ends. */

/** In order of preference. `onnx` is ONNX Runtime on the CPU; `node-gpu` also runs on the CPU when no CUDA device is found. */
export const BACKENDS = ['onnx', 'node-gpu', 'node', 'webgpu', 'wasm', 'cpu'] as const;
export type BackendName = (typeof BACKENDS)[number];
