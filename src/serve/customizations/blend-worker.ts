/** The thread behind customizations.ts: coefficients to a GGUF LoRA. It is given numbers and paths, never a user's text. */

import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { planBlend } from '../../blend/plan.js';
import { openBlend } from '../../blend/sources.js';
import { isCrayonError, messageOf } from '../../core/errors.js';
import { sha256 } from '../../files/digest.js';
import { exists } from '../../files/io.js';
import { readAdapterBase, writeAdapterGguf } from '../../gguf/adapter.js';
import { openPoolFactors } from '../../pool/factors.js';
import { memberCoefficients, openPool } from '../../pool/pool.js';
import type { BlendJob, BlendPlace, BlendReply } from './customizations.js';

const port = parentPort!;
const { pool: poolDir, base: basePath, dir } = workerData as BlendPlace;
let opened: ReturnType<typeof open> | undefined;

port.on('message', (job: BlendJob) => {
  let reply: BlendReply;
  try {
    reply = blend(job);
  } catch (error) {
    const message = messageOf(error);
    reply = { code: isCrayonError(error) ? error.code : null, message };
  }
  port.postMessage(reply);
});

/** Opened with the first job, for all jobs: the thread serves one pool, and its end closes everything. */
function open() {
  const pool = openPool(poolDir);
  const base = readAdapterBase(basePath);
  const adapters = pool.openMembers();
  return {
    base,
    adapters,
    manifest: pool.manifest,
    factors: openPoolFactors(pool),
    digest: sha256(JSON.stringify(pool.manifest)),
  };
}

/** Equal blends have one file: what it is made of names it. */
function blend({ coefficients: alpha, combine }: BlendJob): BlendReply {
  const started = performance.now();
  opened ??= open();
  const { base, adapters, manifest, factors, digest } = opened;
  const coefficients = memberCoefficients(manifest, alpha);
  const id = sha256(JSON.stringify([digest, combine, coefficients])).slice(0, 16);
  const path = join(dir, `${id}.lora.gguf`);
  const { notices } = planBlend(adapters, coefficients, combine, undefined);
  if (!exists(path)) {
    const source = openBlend(adapters, coefficients, combine, 'blend', factors);
    try {
      writeAdapterGguf(source, base, { out: path });
    } finally {
      source.close();
    }
  }
  return { id, path, notices, ms: performance.now() - started };
}
