/**
 * The files that crayon reads and writes, for whoever needs nothing else of it: safetensors, GGUF, PEFT adapters, Hugging
 * Face models and their tokenizers. Loads no tensor library. docs/api.md has every name.
 */

export { type PathKind, recognisePath } from './cli/recognise.js';
export { exportAdapterGguf } from './gguf/adapter.js';
export { openBase } from './gguf/base.js';
export { exportModelGguf } from './gguf/model.js';
export { GgufFile, type GgufTensorInfo } from './gguf/read.js';
export { ggufTokenizer } from './gguf/vocabulary/tokenizer.js';
export type { BaseModel } from './hf/base-model.js';
export { HfModel, type ModelConfig } from './hf/model.js';
export { loadTokenizer, type Tokenizer } from './hf/tokenizer.js';
export { openPeftAdapter, type PeftAdapter } from './peft/read.js';
export { type PeftAdapterToWrite, writePeftAdapter } from './peft/write.js';
export { type Dtype, SafetensorsFile, type TensorInfo } from './safetensors/read.js';
export { SafetensorsWriter, type TensorToWrite, writeSafetensors } from './safetensors/write.js';
