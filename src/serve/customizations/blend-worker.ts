/** The thread behind blend-thread.ts: coefficients to a GGUF LoRA, and the examples that choose to tokens. It keeps nothing of a user's. */

import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { planBlend } from '../../blend/plan.js';
import { openBlend } from '../../blend/sources.js';
import { failedReply } from '../../engine/thread.js';
import { sha256 } from '../../files/digest.js';
import { exists } from '../../files/io.js';
import { readAdapterBase, writeAdapterGguf } from '../../gguf/adapter.js';
import { openBase } from '../../gguf/base.js';
import { openPoolFactors } from '../../pool/factors.js';
import { memberCoefficients, openPool, poolDigest, poolForm } from '../../pool/pool.js';
import { prepareExamples } from '../../pool/prepare.js';
import { poolTokenizer } from '../../pool/vocabulary.js';
import { scoredSequences } from '../../train/score.js';
import type { Blended, BlendJob, BlendPlace, Encoded, EncodeJob, Reply } from './blend-thread.js';

const port = parentPort!;
const { pool: poolDir, base: basePath, dir } = workerData as BlendPlace;
let opened: ReturnType<typeof open> | undefined;
let read: ReturnType<typeof readText> | undefined;

port.on('message', (job: BlendJob | EncodeJob) => {
  let reply: Reply;
  try {
    reply = 'examples' in job ? encode(job) : blend(job);
  } catch (error) {
    reply = failedReply(error);
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
    digest: poolDigest(pool),
  };
}

/** Equal blends have one file: what it is made of names it. */
function blend({ coefficients: alpha, combine }: BlendJob): Blended {
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

/** Opened with the first examples that choose. */
function readText() {
  const pool = openPool(poolDir);
  const source = openBase(basePath, { someWeights: true });
  const tokenizer = poolTokenizer(pool, source);
  return { source, tokenizer, form: poolForm(pool, tokenizer, basePath), hasLosses: pool.manifest.standards?.loss };
}

function encode({ examples, contextTokens }: EncodeJob): Encoded {
  read ??= readText();
  const { source, tokenizer, form, hasLosses } = read;
  const { maxPositionEmbeddings, vocabSize } = source.config;
  const maxLength = Math.min(maxPositionEmbeddings, contextTokens);
  const { examples: _, ...made } = scoredSequences({ tokenizer, form, examples, maxLength, vocabSize });
  if (hasLosses === undefined) return { made, prepared: [] };
  const how = { maxLength, long: 'truncate', form, addEnd: true, vocabSize } as const;
  const { examples: prepared } = prepareExamples(examples, tokenizer, how);
  return { made, prepared: prepared.map(({ ids, promptLength }) => ({ ids, promptLength })) };
}
