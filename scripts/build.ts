/**
 * `npm run build`: makes dist/, which is what npm installs.
 *
 *     npx tsx scripts/build.ts [--out dist]
 *
 * One bundle with a chunk for each command, so that a command reads a few files and not two hundred: that is most of what a start
 * takes. Packages of plain JavaScript are in it, with their licences beside it; what has native parts or keeps state that others
 * share (TensorFlow.js, llama.cpp) is loaded from node_modules when it is needed. Nothing is minified, and source maps
 * lie beside the chunks: the command line reads them when it reports a defect. The types are the TypeScript compiler's.
 */

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, type Metafile, type Plugin } from 'esbuild';
import { bundledPage } from '../src/serve/playground/bundle.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const CLI = join('bin', 'crayon.js');

/** What starts a script that lies beside it, by that script's name: all of them end up in one folder, dist/src/. */
const STARTS = /(?:thread|child)Script\(import\.meta\.url, '([\w-]+)'|beside: import\.meta\.url,\s+jobs: '([\w-]+)'/g;
/** Other uses of a module's place, which hold wherever it ends up: the nearest package.json and node_modules above it. */
const ANYWHERE = /createRequire\(import\.meta\.url\)|fileURLToPath\(import\.meta\.url\)|`import\.meta\.url`/g;

/** The files that something starts as a thread or a process, without their ending. */
export function startedScripts(src: string): string[] {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return files.flatMap((file) => {
    const text = readFileSync(join(src, file), 'utf8');
    const names = [...text.matchAll(STARTS)].map((match) => (match[1] ?? match[2])!);
    if (text.replace(STARTS, '').replace(ANYWHERE, '').includes('import.meta.url')) {
      throw new Error(`src/${file} uses import.meta.url in a way that scripts/build.ts does not know`);
    }
    return names.map((name) => join(dirname(file), name));
  });
}

/** What is loaded from node_modules: all that may be missing, and TensorFlow.js, whose back ends register with one instance. */
function externals(): string[] {
  const { optionalDependencies = {} } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return [...Object.keys(optionalDependencies), '@tensorflow/*'];
}

/** CommonJS packages get Node's own modules without a `require`, which a bundle of ES modules has not. */
const builtins: Plugin = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    const names = new Set(builtinModules);
    onResolve({ filter: /^(node:)?[a-z_/0-9]+$/ }, ({ kind, path }) => {
      const name = path.replace(/^node:/, '');
      return kind === 'require-call' && names.has(name) ? { path: name, namespace: 'builtin' } : undefined;
    });
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
    }));
  },
};

/** The playground is compiled here; from the sources that happens at its first request. */
function page(files: object): Plugin {
  const contents = `const files = ${JSON.stringify(files)};\nexport const bundledPage = async () => files;\n`;
  const setup: Plugin['setup'] = ({ onLoad }) =>
    onLoad({ filter: /[\\/]playground[\\/]bundle\.ts$/ }, () => ({ contents }));
  return { name: 'page', setup };
}

/** The JavaScript of dist/. @returns the files that went in, those of the page too, and what came out */
export async function bundle(out: string): Promise<Pick<Metafile, 'outputs'> & { inputs: string[] }> {
  const { inputs, ...files } = await bundledPage();
  const scripts = startedScripts(join(ROOT, 'src'));
  const entries = ['index', 'formats', ...scripts].map((file) => [
    join('src', file.split('/').at(-1)!),
    `src/${file}.ts`,
  ]);
  if (new Set(entries.map(([name]) => name)).size < entries.length)
    throw new Error(`two scripts of one name: ${scripts}`);
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: { 'bin/crayon': 'bin/crayon.ts', ...Object.fromEntries(entries) },
    outdir: out,
    chunkNames: 'src/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    external: externals(),
    plugins: [builtins, page(files)],
    preserveSymlinks: true,
    sourcemap: true,
    sourcesContent: false,
    legalComments: 'none', // LICENSES.txt has them whole
    metafile: true,
    logLevel: 'warning',
  });
  return { outputs: metafile.outputs, inputs: [...Object.keys(metafile.inputs), ...inputs] };
}

/** The licences of what is in the bundle, as their own files say them. */
function licences(inputs: readonly string[]): string {
  const packages = new Set<string>();
  for (const input of inputs) {
    const [, folder] = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input) ?? [];
    if (folder !== undefined) packages.add(folder);
  }
  const texts = [...packages].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8'));
    const file = readdirSync(join(ROOT, folder)).find((file) => /^licen[cs]e/i.test(file));
    const text = file === undefined ? '' : readFileSync(join(ROOT, folder, file), 'utf8').trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  });
  return texts.join(`\n${'-'.repeat(80)}\n\n`);
}

/** Fails where a module that starts a script is not in the folder where the scripts are. */
function checkPlaces(outputs: Metafile['outputs'], out: string): void {
  for (const [file, { inputs }] of Object.entries(outputs)) {
    const starter = Object.keys(inputs).find((input) => {
      return input.startsWith('src/') && readFileSync(join(ROOT, input), 'utf8').search(STARTS) !== -1;
    });
    if (starter !== undefined && dirname(join(ROOT, file)) !== join(out, 'src'))
      throw new Error(`${starter} is in ${file}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { out: { type: 'string', default: join(ROOT, 'dist') } } });
  rmSync(values.out, { recursive: true, force: true });
  const { inputs, outputs } = await bundle(values.out);
  checkPlaces(outputs, values.out);
  writeFileSync(join(values.out, 'LICENSES.txt'), licences(inputs));
  chmodSync(join(values.out, CLI), 0o755);
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const types = [compiler, '-p', join(ROOT, 'tsconfig.build.json'), '--noCheck', '--outDir', values.out];
  const { status } = spawnSync(process.execPath, types, { stdio: 'inherit' });
  if (status !== 0 || !existsSync(join(values.out, 'src', 'index.d.ts'))) process.exitCode = 1;
}
