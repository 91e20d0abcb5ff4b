/** What llama.cpp would end the process for ends a child, once; what has passed is not tried again. */

import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { openLlamaCppEngine } from '../../../src/engine/llama/engine.js';
import { inChild } from '../../../src/engine/llama/trial.js';
import { edgeGguf, request, wholeAnswer } from '../../helpers/edge-gguf.js';
import { temporaryDir } from '../../helpers/files.js';

const gguf = edgeGguf();
const open = (model: string, over: object = {}) =>
  openLlamaCppEngine({ model, name: 'edge', threads: 1, gpu: false, contextTokens: 64, ...over });

describe('a trial run', () => {
  it.each([
    [
      'an assertion',
      "console.error('src/model.cpp:12: GGML_ASSERT(n > 0) failed\\nno debugger'); process.abort()",
      /model\.gguf: llama\.cpp ended with SIGABRT in a trial run and said: src\/model\.cpp:12: GGML_ASSERT\(n > 0\) failed$/,
    ],
    ['a silent end', 'process.exit(3)', /ended with exit code 3 in a trial run and said nothing$/],
    ['a kill', "process.kill(process.pid, 'SIGKILL')", /was killed, for time or memory/],
    [
      'half an answer',
      "process.stdout.write('{\"ok\": tr'); process.kill(process.pid, 'SIGSEGV')",
      /ended with SIGSEGV/,
    ],
  ])('reports %s', async (_, script, message) => {
    await expect(inChild({ model: 'model.gguf' }, ['-e', script])).rejects.toMatchObject({
      code: 'gguf-unsupported',
      message: expect.stringMatching(message),
    });
  });

  it('is made once for a file, and for the adapters that come with it', { tags: 'slow' }, async () => {
    const cacheDir = temporaryDir();
    const adapters = [gguf.adapter(0).path];
    for (const [over, passed] of [
      [{ cacheDir: null }, 0],
      [{ cacheDir }, 1],
      [{ cacheDir }, 1],
      [{ cacheDir, adapters }, 2],
      [{ cacheDir, adapters, sequences: 2 }, 2],
    ] as const) {
      const engine = await open(gguf.model, over);
      await wholeAnswer(engine, request('Once upon', { maxTokens: 1 }));
      await engine.close();
      expect(readdirSync(cacheDir).length).toBe(passed);
    }
  });

  it('passes on what is no end of the process', async () => {
    await expect(open(gguf.model, { cacheDir: null, contextTokens: 1 })).rejects.toMatchObject({ code: 'bad-option' });
    const other = gguf.adapter(1).path;
    await expect(open(gguf.model, { cacheDir: null, adapters: [gguf.model] })).rejects.toMatchObject({
      code: 'adapter-mismatch',
    });
    await expect(open(gguf.model, { cacheDir: null, adapters: [`${other}.gone`] })).rejects.toMatchObject({
      code: 'file-not-found',
    });
  });
});
