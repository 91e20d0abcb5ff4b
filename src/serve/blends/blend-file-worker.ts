/** The thread that makes blends for serve-pool: coefficients to one file, as `crayon blend` and `crayon export` make it. */

import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { baseNameOf, recordedPrompt } from '../../blend/adapter-record.js';
import { blendPool } from '../../blend/blend-pool.js';
import { CrayonError } from '../../core/errors.js';
import { failedReply } from '../../engine/thread.js';
import { sha256File } from '../../files/digest.js';
import { fileSize } from '../../files/io.js';
import { ScratchDirectory } from '../../files/scratch-directory.js';
import { packDirectory } from '../../files/tar.js';
import { exportAdapterGguf } from '../../gguf/adapter.js';
import { openBase } from '../../gguf/base.js';
import { openPool, poolDigest } from '../../pool/pool.js';
import type { MadeFile, MakeJob, MakePlace } from './store.js';

const port = parentPort!;
const { pool, digest, model } = workerData as MakePlace;

port.on('message', async (job: MakeJob) => {
  try {
    port.postMessage(await make(job));
  } catch (error) {
    port.postMessage(failedReply(error));
  }
});

async function make({ order, out }: MakeJob): Promise<MadeFile> {
  const started = performance.now();
  const { coefficients, combine, rank, form, dtype } = order;
  if (poolDigest(openPool(pool)) !== digest) {
    throw new CrayonError('pool-invalid', `${pool}: was replaced while it is served`, {
      hint: 'Start the server again.',
    });
  }
  const scratch = new ScratchDirectory();
  try {
    const adapter = join(scratch.path, 'adapter');
    await blendPool({
      ...{ pool, coefficients, combine, dtype, out: adapter },
      rank: rank ?? undefined,
      estimator: 'given',
      long: 'error',
      threads: 1, // others are at work beside this one
    });
    if (form === 'safetensors') packDirectory(adapter, out);
    else exportGguf(adapter, out, dtype === 'F32' ? 'F32' : 'F16');
  } finally {
    scratch.remove();
  }
  return { bytes: fileSize(out), sha256: sha256File(out), ms: performance.now() - started };
}

function exportGguf(adapter: string, out: string, type: 'F32' | 'F16'): void {
  const base = openBase(model!, { someWeights: true });
  try {
    const prompt = recordedPrompt(adapter, base);
    exportAdapterGguf({ adapter, base: model!, out, type, force: true, prompt, madeOn: baseNameOf(adapter) });
  } finally {
    base.close();
  }
}
