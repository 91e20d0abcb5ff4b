/**
 * The library behind the command line: read and write the formats, run the model, build a pool, blend, score.
 * Documented with examples in docs/api.md.
 */

export { type BlendOptions, type BlendResult, blendAdapters } from './blend/blend.js';
export { type BlendPoolOptions, type BlendPoolResult, blendPool, EXAMPLE_LIMITS } from './blend/blend-pool.js';
export {
  ESTIMATORS,
  type Estimate,
  type Estimator,
  estimateCoefficients,
  gate,
  keepLargest,
} from './blend/coefficients.js';
export { type Coverage, checkCoverage } from './blend/coverage.js';
export { type PathKind, recognisePath } from './cli/inspect/recognise.js';
export { CrayonError, type ErrorCode, EXIT, isCrayonError } from './core/errors.js';
export { createRandom, type Random } from './core/random.js';
export { CRAYON_VERSION } from './core/version.js';
export { type Dataset, type DatasetOptions, type Example, loadDataset } from './data/dataset.js';
export { type LlamaCppOptions, openLlamaCppEngine } from './engine/llama/engine.js';
export { type OpenAiOptions, openOpenAiEngine } from './engine/server/engine.js';
export type { EdgeEngine, Engine, GenerateEvent, GenerateRequest, Prompt } from './engine/types.js';
export { type ExportAdapterOptions, type ExportedAdapter, exportAdapterGguf } from './gguf/adapter.js';
export { cachedAdapterGguf, cachedModelGguf, defaultCacheDir } from './gguf/cache.js';
export {
  type ExportedGguf,
  type ExportModelOptions,
  exportModelGguf,
  exportModelGgufSteps,
} from './gguf/model.js';
export { GgufFile, type GgufTensorInfo, type GgufValue } from './gguf/read.js';
export { ggufTokenizer } from './gguf/vocabulary/tokenizer.js';
export { HfModel, type ModelConfig } from './hf/model.js';
export { loadTokenizer, type Tokenizer } from './hf/tokenizer.js';
export { combineCat, combineLinear, combineSvd } from './lora/combine.js';
export type { CombinedFactors, CombineKind, LoraFactors, ModuleShape } from './lora/factors.js';
export { type BackendChoice, chooseBackend, releaseBackend } from './model/backend.js';
export { BACKENDS, type BackendName } from './model/backend-names.js';
export { type ForwardOptions, LlamaModel } from './model/llama.js';
export { PROJECTIONS, type Projection } from './model/projections.js';
export { openPeftAdapter, type PeftAdapter } from './peft/read.js';
export { type PeftAdapterToWrite, writePeftAdapter } from './peft/write.js';
export { type BuildResult, buildPool } from './pool/build.js';
export { firstAttentionEmbedder } from './pool/embed/first-attention.js';
export type { EmbeddingBase, FirstAttentionSource } from './pool/embed/first-attention-source.js';
export { type EmbeddingKind, parseEmbeddingKind } from './pool/embed/kinds.js';
export { type EmbeddingSpace, embedInSpace, poolSpace } from './pool/embed/space.js';
export { hiddenEmbedder, poolGates } from './pool/gate.js';
export { BUILD_DEFAULTS, type BuildHooks, type BuildPoolOptions, type BuildProgress } from './pool/options.js';
export { type BuildPlan, planBuild } from './pool/plan.js';
export { openPool, type Pool, type PoolManifest } from './pool/pool.js';
export { type LongPolicy, prepareExamples } from './pool/prepare.js';
export { type RoutedEvent, Router } from './routing/router.js';
export type { CorrectnessWeights, Decision, Mode, RoutingConfig, Thresholds } from './routing/types.js';
export { type Dtype, SafetensorsFile, type TensorInfo } from './safetensors/read.js';
export { SafetensorsWriter, type TensorToWrite, writeSafetensors } from './safetensors/write.js';
export { assembleEdge, type EdgeAssembly } from './serve/assemble.js';
export { type EdgeConfig, loadEdgeConfig } from './serve/config.js';
export { loadAdapterLora, stackAdapters } from './train/adapter-lora.js';
export { type ExampleScore, type ScoreOptions, type ScoreReport, scoreExamples } from './train/score.js';
export { TRAIN_DEFAULTS, type TrainSettings } from './train/settings.js';
