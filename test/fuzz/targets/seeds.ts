/** Sound inputs out of the repository: fixtures, the embedded models' files, configurations. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LIMITS } from '../../../src/core/limits.js';
import { exportAdapterGguf } from '../../../src/gguf/adapter.js';
import { exportModelGguf } from '../../../src/gguf/model.js';
import { fixture, ROOT } from '../../helpers/fixtures.js';
import type { Files } from '../target.js';

/** For readers that run code of strangers: a call is ended after `codeMs`, and a process for the next one begins. */
export const CODE_MS = LIMITS.codeMs + 5000;

/** All files of a folder and below, but for those that hold a golden answer. */
export function filesOf(dir: string, wanted: (name: string) => boolean = () => true): Files {
  const names = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = names.map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1)).sort();
  const kept = paths.filter((path) => !path.includes('golden') && wanted(path));
  return new Map(kept.map((path) => [path, readFileSync(join(dir, path))]));
}

export const files = (entries: Record<string, string | Buffer>): Files =>
  new Map(Object.entries(entries).map(([name, content]) => [name, Buffer.from(content as string)]));

export const model = (name: string, wanted?: (name: string) => boolean) => filesOf(fixture('models', name), wanted);
export const repository = (...parts: string[]) => join(ROOT, ...parts);

/** Families of models, one of each kind of tokenizer and of weights among them. */
export const FAMILIES = [
  'llama',
  'gemma3',
  'qwen2',
  'phi3',
  'granite',
  'smollm3',
  'mistral',
  'qwen3',
  'olmo2',
  'llama-rope3',
];

/** Models as GGUF, made by crayon's own export. */
export function ggufModels(
  scratch: string,
  names: readonly string[],
  types: ReadonlyArray<'F32' | 'F16' | 'Q8_0'> = ['F32'],
): Files[] {
  return names.flatMap((name) =>
    types.map((type) => {
      const out = join(scratch, `${name}-${type}.gguf`);
      exportModelGguf({ model: fixture('models', name), out, type, force: true });
      return files({ 'model.gguf': readFileSync(out) });
    }),
  );
}

export function ggufAdapters(scratch: string, names: readonly string[]): Files[] {
  return names.map((name) => {
    const out = join(scratch, `${name}-lora.gguf`);
    exportAdapterGguf({ adapter: fixture('lora', name), base: fixture('models', name), out, force: true });
    return files({ 'adapter.gguf': readFileSync(out) });
  });
}
