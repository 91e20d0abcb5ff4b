/**
 * The page's sources (page/) as one script and one style sheet, by esbuild. From the sources of crayon that happens at the first request,
 * so that what is served is never older than what was edited; esbuild is there, as tsx, which runs the sources, stands on it. In
 * dist/ this module's place is taken by one that holds the result (scripts/build.ts): an installed crayon needs neither.
 */

import { dirname } from 'node:path';
import { shippedPath } from '../../files/package.js';
import type { PageFiles } from './routes.js';

/** @returns also the files that went in, from the repository's root */
export async function bundledPage(): Promise<PageFiles & { inputs: string[] }> {
  const { build, stop } = await import('esbuild');
  const { outputFiles, metafile } = await build({
    absWorkingDir: dirname(shippedPath('package.json')),
    entryPoints: ['main.tsx', 'page.css'].map((file) => `src/serve/playground/page/${file}`),
    outdir: 'page',
    write: false,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    preserveSymlinks: true,
    legalComments: 'none', // dist/LICENSES.txt has them whole
    metafile: true,
    logLevel: 'silent', // what is wrong is thrown
  });
  await stop();
  const textOf = (ending: string) => outputFiles.find(({ path }) => path.endsWith(ending))!.text;
  return { script: textOf('.js'), style: textOf('.css'), inputs: Object.keys(metafile.inputs) };
}
