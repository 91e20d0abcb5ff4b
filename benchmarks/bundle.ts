/** A benchmark and what it starts, bundled as crayon is installed: a thread from source would first load what translates it. */

import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** @param url `import.meta.url` of the benchmark @returns the script's path */
export async function bundle(url: string, outdir: string): Promise<string> {
  const { build } = await import('esbuild');
  const script = fileURLToPath(url);
  const name = basename(script, '.ts');
  await build({
    entryPoints: { [name]: script, 'crew-worker': 'src/core/linalg/crew-worker.ts' },
    ...{ outdir, bundle: true, splitting: true, format: 'esm', platform: 'node', target: 'node20.19' },
    ...{ external: ['cli-table3', 'esbuild'], outExtension: { '.js': '.js' }, logLevel: 'error' },
  });
  writeFileSync(join(outdir, 'package.json'), '{"type": "module"}');
  return join(outdir, `${name}.js`);
}
