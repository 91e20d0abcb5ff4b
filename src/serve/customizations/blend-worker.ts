/** The thread behind blend-thread.ts: coefficients to a GGUF LoRA. It is given numbers and paths, never a user's text. */

import { join } from 'node:path';
import { parentPort, threadId } from 'node:worker_threads';
import { blendAdapters } from '../../blend/blend.js';
import { isCrayonError } from '../../core/errors.js';
import { discard } from '../../files/atomic.js';
import { cachedAdapterGguf } from '../../gguf/cache.js';
import { openPool } from '../../pool/pool.js';
import type { BlendJob, BlendReply } from './blend-thread.js';

const port = parentPort!;

port.on('message', (job: BlendJob) => {
  let reply: BlendReply;
  try {
    reply = blend(job);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    reply = { code: isCrayonError(error) ? error.code : null, message };
  }
  port.postMessage(reply);
});

function blend({ pool: dir, coefficients, combine, base, dir: out }: BlendJob): BlendReply {
  const started = performance.now();
  const pool = openPool(dir);
  const peft = join(out, `blend-${threadId}`);
  const adapters = pool.manifest.adapters.map((_, n) => pool.openAdapter(n));
  try {
    blendAdapters({ adapters, coefficients, combine, out: peft, force: true, baseModel: pool.manifest.base.name });
    const { id, path } = cachedAdapterGguf(peft, base, { cacheDir: out });
    return { id, path, ms: performance.now() - started };
  } finally {
    for (const adapter of adapters) adapter.close();
    discard(peft);
  }
}
