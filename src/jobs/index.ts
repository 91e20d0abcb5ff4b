/** The engines: a new one is a file in engines/ and its line here. */

import type { EngineKind } from './engine.js';
import { kubernetesEngine } from './engines/kubernetes.js';
import { localEngine } from './engines/local.js';
import { rayEngine } from './engines/ray.js';
import { slurmEngine } from './engines/slurm.js';

export const ENGINES = {
  local: localEngine,
  slurm: slurmEngine,
  ray: rayEngine,
  kubernetes: kubernetesEngine,
} as const satisfies Record<string, EngineKind>;
