/**
 * Builds the native binding of tfjs-node against a libtensorflow that is already on the machine: the shared libraries
 * and C headers inside Python's tensorflow (or tensorflow-cpu) package.
 *
 *     npx tsx scripts/link-libtensorflow.ts [--python PYTHON] [--package tfjs-node|tfjs-node-gpu] [--force]
 *
 * For whom: tfjs-node's own install script downloads libtensorflow 2.9.1 from a storage bucket. Where that download is
 * blocked, or where the GPU needs a newer CUDA than that version knows, this script gives the same back end a
 * libtensorflow that pip can install. Needs g++ and make, Node's headers (found or fetched by node-gyp), Linux.
 *
 * Running it twice is harmless: a binding that already multiplies matrices is left alone unless --force is given.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const PACKAGES = ['tfjs-node', 'tfjs-node-gpu'] as const;
type PackageName = (typeof PACKAGES)[number];

/** What the libraries inside the pip package are called, and what the binding's linker line expects. */
const LIBRARIES = [
  { found: 'libtensorflow_cc.so.2', wanted: 'libtensorflow.so' },
  { found: 'libtensorflow_framework.so.2', wanted: 'libtensorflow_framework.so' },
] as const;

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

class LinkError extends Error {
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

function main(): void {
  const { values } = parseArgs({
    options: {
      python: { type: 'string', default: 'python3' },
      package: { type: 'string', default: 'tfjs-node' },
      force: { type: 'boolean', default: false },
    },
  });
  const name = PACKAGES.find((known) => known === values.package);
  if (name === undefined) {
    throw new LinkError(`unknown package "${values.package}"`, `Use one of: ${PACKAGES.join(', ')}.`);
  }
  if (process.platform !== 'linux') {
    throw new LinkError(
      `this script knows the file names of Linux only, found ${process.platform}`,
      'On macOS and Windows `npm install` downloads a libtensorflow itself.',
    );
  }

  const packageDir = installPackage(name);
  if (!values.force) {
    const working = verify(name);
    if (working.ok) {
      say(`already linked: ${working.detail}`);
      return;
    }
  }
  const tensorflow = findTensorFlow(values.python);
  say(`linking ${name} with TensorFlow ${tensorflow.version} in ${tensorflow.dir}`);
  placeDependencies(packageDir, tensorflow.dir);
  build(packageDir, tensorflow.dir);

  const built = verify(name);
  if (!built.ok) {
    throw new LinkError(
      `the binding was built but does not run: ${built.detail}`,
      'Try another TensorFlow (2.21 is tested), or use `--backend wasm`.',
    );
  }
  say(`done: ${built.detail}`);
}

/** Makes sure the npm package lies in node_modules, without its install script; returns its folder. */
function installPackage(name: PackageName): string {
  const packageDir = join(ROOT, 'node_modules', '@tensorflow', name);
  if (existsSync(join(packageDir, 'binding.gyp'))) return packageDir;
  // npm drops an optional package whose install script fails, so it is asked for again without that script.
  const { optionalDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    optionalDependencies: Record<string, string>;
  };
  const spec = `@tensorflow/${name}@${optionalDependencies[`@tensorflow/${name}`]}`;
  say(`installing ${spec} without its install script`);
  const npm = spawnSync('npm', ['install', '--no-save', '--ignore-scripts', spec], { cwd: ROOT, stdio: 'inherit' });
  if (npm.status !== 0 || !existsSync(packageDir)) {
    throw new LinkError(`npm could not install ${spec}`, "Read npm's message above.");
  }
  return packageDir;
}

/** Asks Python where tensorflow lies, without importing it (an import takes seconds and may need a GPU driver). */
function findTensorFlow(python: string): { dir: string; version: string } {
  const program = [
    'import importlib.util, json',
    'from importlib import metadata',
    'spec = importlib.util.find_spec("tensorflow")',
    'names = ["tensorflow", "tensorflow-cpu", "tensorflow-intel"]',
    'def version(name):',
    '    try: return metadata.version(name)',
    '    except metadata.PackageNotFoundError: return None',
    'found = [v for v in map(version, names) if v]',
    'dirs = list(spec.submodule_search_locations) if spec else []',
    'print(json.dumps({"dir": dirs[0] if dirs else None, "version": found[0] if found else "unknown"}))',
  ].join('\n');
  const run = spawnSync(python, ['-c', program], { encoding: 'utf8' });
  if (run.error !== undefined || run.status !== 0) {
    throw new LinkError(
      `"${python}" did not run: ${run.error?.message ?? run.stderr.trim().split('\n').at(-1)}`,
      'Name a Python with --python.',
    );
  }
  const { dir, version } = JSON.parse(run.stdout) as { dir: string | null; version: string };
  if (dir === null) {
    throw new LinkError(
      `"${python}" has no tensorflow package`,
      `Install one (\`${python} -m pip install tensorflow-cpu\`, or \`"tensorflow[and-cuda]"\` for a GPU) ` +
        'or name another Python with --python.',
    );
  }
  const missing = [...LIBRARIES.map(({ found }) => found), 'include/tensorflow/c/c_api.h'].filter(
    (file) => !existsSync(join(dir, file)),
  );
  if (missing.length > 0) {
    throw new LinkError(
      `TensorFlow ${version} in ${dir} lacks ${missing.join(', ')}`,
      'Use a recent tensorflow or tensorflow-cpu wheel for Linux (2.21 is tested).',
    );
  }
  return { dir, version };
}

/** Puts links where binding.gyp looks for headers and libraries. */
function placeDependencies(packageDir: string, tensorflowDir: string): void {
  const deps = join(packageDir, 'deps');
  rmSync(deps, { recursive: true, force: true });
  mkdirSync(join(deps, 'lib'), { recursive: true });
  symlinkSync(join(tensorflowDir, 'include'), join(deps, 'include'));
  for (const { found, wanted } of LIBRARIES) symlinkSync(join(tensorflowDir, found), join(deps, 'lib', wanted));
}

function build(packageDir: string, tensorflowDir: string): void {
  say('compiling the binding (about 20 seconds)');
  const run = spawnSync('npm', ['exec', '--call', 'node-pre-gyp install --build-from-source'], {
    cwd: packageDir,
    encoding: 'utf8',
    env: {
      ...process.env,
      CXXFLAGS: `${process.env.CXXFLAGS ?? ''} -std=c++17`.trim(), // TensorFlow's headers need it
      // The real folder, not the links in deps/lib: libtensorflow looks for CUDA beside its own path ($ORIGIN).
      LDFLAGS: `${process.env.LDFLAGS ?? ''} -Wl,-rpath,${tensorflowDir}`.trim(),
    },
    maxBuffer: 64 * 2 ** 20,
  });
  if (run.status !== 0) {
    process.stderr.write(`${run.stdout ?? ''}${run.stderr ?? ''}`.split('\n').slice(-40).join('\n'));
    throw new LinkError(
      'the binding did not compile',
      "Needs g++, make, python3 and Node's headers (without a network: `npm config set nodedir <prefix of node>`).",
    );
  }
}

/** Loads the package in a child process and multiplies two matrices: a broken binding may abort the process. */
function verify(name: PackageName): { ok: boolean; detail: string } {
  const program = `
    const util = require('node:util');
    util.isNullOrUndefined ??= (x) => x === null || x === undefined; // removed in Node 23, called by tfjs-node 4.22
    const tf = require('@tensorflow/${name}');
    const product = tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2])).dataSync();
    if (product.join() !== '19,22,43,50') throw new Error('wrong product ' + product.join());
    const { binding, isUsingGpuDevice } = tf.backend();
    console.log('TensorFlow ' + binding.TF_Version + ', back end ' + tf.getBackend() + ', ' +
      (isUsingGpuDevice ? 'GPU' : 'CPU') + ', matMul right');`;
  const run = spawnSync(process.execPath, ['-e', program], {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: 180_000,
    env: { TF_CPP_MIN_LOG_LEVEL: '2', ...process.env },
  });
  if (run.status === 0) return { ok: true, detail: run.stdout.trim() };
  const why = run.stderr.split('\n').find((line) => /Error/.test(line)) ?? `ended by ${run.signal ?? run.status}`;
  return { ok: false, detail: why.trim() };
}

function say(line: string): void {
  console.log(`link-libtensorflow: ${line}`);
}

try {
  main();
} catch (error) {
  if (!(error instanceof LinkError)) throw error;
  console.error(`link-libtensorflow: ${error.message}\n  ${error.hint}`);
  process.exitCode = 1;
}
