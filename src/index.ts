/**
 * The library behind the command line: run a model, build a pool, blend, score, serve. docs/api.md has every name, with
 * examples; what is not named there is not exported. Files and their formats are in formats.ts.
 */
export { blendAdapters } from './blend/blend.js';
export { type BlendPoolOptions, type BlendPoolResult, blendPool } from './blend/blend-pool.js';
export { estimateCoefficients } from './blend/coefficients.js';
export { checkCoverage } from './blend/coverage.js';
export { adapterForm } from './blend/prompt-record.js';
export type { ChatMessage } from './core/chat.js';
export { CrayonError, type ErrorCode, EXIT, isCrayonError } from './core/errors.js';
export { type Example, loadDataset } from './data/dataset.js';
export { openLlamaCppEngine } from './engine/llama/engine.js';
export { openOpenAiEngine } from './engine/server/engine.js';
export { type Engine, type GenerateEvent, type GenerateRequest, Query } from './engine/types.js';
export { CRAYON_VERSION } from './files/package.js';
export { choosePromptForm, type PromptForm } from './hf/prompt-form.js';
export { combineCat, combineLinear, combineSvd } from './lora/combine.js';
export { chooseBackend, releaseBackend } from './model/backend.js';
export { LlamaModel } from './model/llama.js';
export type { Network } from './model/network.js';
export { openNetwork } from './model/open-network.js';
export { type BuildResult, buildPool } from './pool/build.js';
export { firstAttentionEmbedder } from './pool/embed/kinds/first-attention.js';
export { embedInSpace, poolSpace } from './pool/embed/space.js';
export { poolGates } from './pool/gate.js';
export { BUILD_DEFAULTS, type BuildPoolOptions, type BuildProgress } from './pool/inputs.js';
export { planBuild } from './pool/plan.js';
export { openPool, type Pool, poolForm } from './pool/pool.js';
export { prepareExamples } from './pool/prepare.js';
export { Router } from './routing/router.js';
export type { Decision } from './routing/types.js';
export { assembleEdge } from './serve/assemble.js';
export { type EdgeConfig, loadEdgeConfig } from './serve/config.js';
export { stackAdapters } from './train/adapter-lora.js';
export type { ScoreReport } from './train/score.js';
export { scoreExamples } from './train/score-forward.js';
export { TRAIN_DEFAULTS } from './train/settings.js';
