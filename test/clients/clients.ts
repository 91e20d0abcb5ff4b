/** Which real clients are tried, what each needs, and how each is run. */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

export interface Client {
  name: string;
  /** its script in node/ or python/ */
  script: string;
  /** npm's names with versions; or those of PyPI, with the module that each is imported as. Pinned: a new release breaks no CI of ours. */
  packages: string[] | Record<string, string>;
}

export const CLIENTS: readonly Client[] = [
  { name: 'openai', script: 'node/openai.mjs', packages: ['openai@6'] },
  {
    name: 'ai-sdk',
    script: 'node/ai-sdk.mjs',
    packages: ['ai@6', '@ai-sdk/openai-compatible@2', '@ai-sdk/openai@3', 'zod@4'],
  },
  {
    name: 'langchain',
    script: 'node/langchain.mjs',
    packages: ['@langchain/core@1', '@langchain/openai@1', '@langchain/ollama@1', 'zod@4'],
  },
  { name: 'ollama', script: 'node/ollama.mjs', packages: ['ollama@0.6'] },
  { name: 'shapes', script: 'node/shapes.mjs', packages: [] },
  { name: 'openai-python', script: 'python/openai_client.py', packages: { 'openai~=2.54': 'openai' } },
  { name: 'ollama-python', script: 'python/ollama_client.py', packages: { 'ollama~=0.6': 'ollama' } },
  {
    name: 'llama-index',
    script: 'python/llama_index_client.py',
    packages: {
      'llama-index-llms-openai-like~=0.8': 'llama_index.llms.openai_like',
      'llama-index-llms-ollama~=0.11': 'llama_index.llms.ollama',
    },
  },
  {
    name: 'lm-eval',
    script: 'python/lm_eval_client.py',
    packages: { 'lm_eval[api]~=0.4.13': 'lm_eval', tenacity: 'tenacity', aiohttp: 'aiohttp' },
  },
];

/** A package's name without its version. */
const bare = (spec: string): string => spec.replace(/(?<=.)(@[^@/]*|[[~].*)$/, '');

export interface Found {
  /** what runs the script */
  command: string[];
  /** of the first package */
  version: string;
}

/** @param folder with node_modules and a Python in venv; the repository's own node_modules are looked at too */
export function findClient(
  { name, script, packages }: Client,
  folder: string | undefined,
): Found | { missing: string } {
  const path = join(import.meta.dirname, script);
  if (Array.isArray(packages)) {
    const places = [...(folder === undefined ? [] : [folder]), ROOT];
    const manifests = packages
      .map(bare)
      .map((one) =>
        places
          .map((place) => join(place, 'node_modules', one, 'package.json'))
          .find((manifest) => existsSync(manifest)),
      );
    const missing = packages.filter((_, i) => manifests[i] === undefined);
    if (missing.length > 0) return { missing: `npm: ${missing.join(' ')}` };
    const version = manifests[0] && (JSON.parse(readFileSync(manifests[0], 'utf8')) as { version: string }).version;
    return { command: [process.execPath, path], version: version ?? '' };
  }
  const python =
    (name === 'lm-eval' ? process.env.CRAYON_LM_EVAL_PYTHON : undefined) ??
    (folder === undefined ? undefined : join(folder, 'venv', 'bin', 'python'));
  const names = Object.keys(packages).join(' ');
  if (python === undefined || !existsSync(python)) return { missing: `PyPI: ${names}` };
  // Whether they are there: that they load, which may take seconds, is the script's to show.
  const code = `import importlib.metadata as m
from importlib.util import find_spec
for name in ${JSON.stringify(Object.values(packages))}:
    if find_spec(name) is None: raise ModuleNotFoundError(name)
print(m.version(${JSON.stringify(bare(Object.keys(packages)[0]!))}))`;
  const tried = spawnSync(python, ['-c', code], { encoding: 'utf8' });
  return tried.status === 0
    ? { command: [python, path], version: tried.stdout.trim() }
    : { missing: `PyPI: ${names} (${tried.stderr.trim().split('\n').at(-1)})` };
}
