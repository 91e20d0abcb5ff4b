/** The rules of docs/architecture.md, read off the imports. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const SRC = join(ROOT, 'src');

/** Which folder of src/ may import which. Rooms are being moved: until they all stand, new and old names are allowed. */
const MOVING = ['formats', 'tokenizer', 'files', 'safetensors', 'gguf', 'hf', 'peft', 'data'];
const MAY_IMPORT: Record<string, string[]> = {
  core: [],
  lora: ['core'],
  formats: ['core', 'lora', 'cli'],
  tokenizer: ['core'],
  files: ['core'],
  safetensors: ['core'],
  hf: ['core'],
  peft: ['core'],
  data: ['core'],
  gguf: ['core', 'cli'],
  model: ['core', 'lora'],
  train: ['core', 'lora', 'model'],
  pool: ['core', 'lora', 'model', 'train'],
  blend: ['core', 'lora', 'pool'],
  engine: ['core'],
  routing: ['core', 'engine'],
  serve: ['core', 'engine', 'routing', 'pool', 'blend'],
  bench: ['core', 'lora', 'model', 'train', 'pool', 'blend', 'engine', 'routing', 'serve'],
  cli: ['core', 'lora', 'model', 'train', 'pool', 'blend', 'engine', 'routing', 'serve', 'bench'],
};

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts'));
const text = new Map(files.map((f) => [f, readFileSync(join(SRC, f), 'utf8')]));

/** Static imports that remain at run time (not `import type`). */
function importsOf(file: string): string[] {
  const pattern = /^(?:import|export)\s+(?!type\b)[^;]*?from\s+'([^']+)';|^import\s+'([^']+)';/gms;
  return [...text.get(file)!.matchAll(pattern)].map((m) => m[1] ?? m[2]!);
}

/** Every module of src/ that loading this one loads, and every package. */
function reachable(file: string, seen = new Set<string>()): Set<string> {
  for (const specifier of importsOf(file)) {
    if (!specifier.startsWith('.')) {
      seen.add(specifier);
      continue;
    }
    const target = relative(SRC, join(SRC, dirname(file), specifier.replace(/\.js$/, '.ts')));
    if (seen.has(target) || !text.has(target)) continue;
    seen.add(target);
    reachable(target, seen);
  }
  return seen;
}

describe('architecture', () => {
  it('reads the imports it claims to read', () => {
    expect(importsOf('model/ops.ts')).toContain('@tensorflow/tfjs-core');
    expect(reachable('pool/build.ts')).toContain('core/errors.ts');
  });

  it.each(files.filter((f) => f.includes('/')))('%s imports only from the folders it may', (file) => {
    const folder = file.split('/')[0]!;
    const allowed = [
      folder,
      ...MOVING,
      ...MAY_IMPORT[folder]!,
      ...(folder === 'formats' || folder === 'gguf' ? ['pool'] : []),
    ];
    const all = [...text.get(file)!.matchAll(/from '(\.[^']+)'/g)].map((m) => m[1]!);
    const foreign = all
      .map((s) => relative(SRC, join(SRC, dirname(file), s)).split('/')[0]!)
      .filter((target) => !allowed.includes(target));
    expect(foreign).toEqual([]);
  });

  it('keeps tfjs to model, train and pool', () => {
    const users = (packageName: RegExp) =>
      files.filter((f) => importsOf(f).some((s) => packageName.test(s))).map((f) => f.split('/')[0]!);
    expect([...new Set(users(/tfjs/))].sort()).toEqual(['model', 'pool', 'train']);
  });

  it('opens sockets in two places only: the server, and the emulated network that bench puts before one', () => {
    const users = files.filter((f) => importsOf(f).some((s) => /^node:(net|http|https|http2|tls|dgram)$/.test(s)));
    // guard reads addresses and opens none
    expect(users.map((f) => f.split('/').at(-1)!.replace('shaping-', '')).sort()).toEqual([
      'guard.ts',
      'listen.ts',
      'proxy.ts',
    ]);
  });

  it('blends without loading a tensor library', () => {
    const loaded = [...reachable('cli/blend.ts'), ...reachable('cli/main.ts')];
    expect(loaded).toContain('blend/blend-pool.ts');
    expect(loaded.filter((name) => /tfjs|^model\/(backend|llama|ops)\.ts/.test(name))).toEqual([]);
  });
});
