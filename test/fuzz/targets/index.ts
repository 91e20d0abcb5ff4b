/** Every target: a format more is a row here. */

import type { Target } from '../target.js';
import { blend, ggufAdapter, peftAdapter, pool } from './adapters.js';
import { benchConfig, edgeConfig } from './configs.js';
import { dataset, task, taskText } from './data.js';
import { httpServer, serverLlm } from './http.js';
import { poolFactors, poolVocabulary } from './kept.js';
import { llamaCpp } from './llama-cpp.js';
import { chatTemplate, forward, ggufExport, ggufModel, hfModel, tokenizer, weights } from './models.js';
import { benchRun, resumable } from './runs.js';
import { gguf, safetensors } from './tensors.js';

export const TARGETS: readonly Target[] = [
  safetensors,
  gguf,
  hfModel,
  weights,
  tokenizer,
  chatTemplate,
  ggufModel,
  ggufExport,
  llamaCpp,
  forward,
  peftAdapter,
  blend,
  ggufAdapter,
  pool,
  poolFactors,
  poolVocabulary,
  dataset,
  task,
  taskText,
  edgeConfig,
  benchConfig,
  benchRun,
  resumable,
  httpServer,
  serverLlm,
];
