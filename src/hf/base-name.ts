/**
 * What a base model is called: in files that may leave this machine, and in those of others, who name it by a path, a repository or
 * a file.
 */

import { basename, isAbsolute, resolve } from 'node:path';
import { exists, realPath } from '../files/io.js';
import type { BaseModel } from './base-model.js';

/** A directory of Hugging Face's cache: `models--org--name/snapshots/<commit>`. */
const CACHED = /models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]/;

/** For a file that we write: a relative path as it was given, of an absolute one its last part alone, which names no user. */
export function nameForOthers(path: string): string {
  const [, owner, name] = CACHED.exec(`${path}/`) ?? [];
  if (name !== undefined) return `${owner}/${name}`;
  return isAbsolute(path) || /^[a-z]:[\\/]/i.test(path) ? lastPart(path) : path;
}

/** Whether a model is what somebody's file calls its base: the same place, or of the same name whatever it is stored as. */
export function isCalled({ path, names }: Pick<BaseModel, 'path' | 'names'>, name: string): boolean {
  if (exists(name) && exists(path) && realPath(name) === realPath(path)) return true;
  const wanted = plainName(name);
  if (wanted === '') return false;
  return [nameForOthers(resolve(path)), ...names].some((one) => plainName(one) === wanted);
}

const lastPart = (path: string) => basename(path.replaceAll('\\', '/').replace(/\/+$/, ''));

/** How a model is stored, where its name says so. */
const STORED = /^(gguf|i?q\d\w*|bf16|fp?16|fp?32|bnb|[48]bit|unsloth|mlx|awq|gptq|hf|ud)$/;

/** `org/SmolLM2-135M-Instruct.Q4_1.gguf` -> `smollm2135minstruct` */
function plainName(name: string): string {
  const parts = lastPart(nameForOthers(name)).toLowerCase().split(/[-. ]/);
  return parts
    .filter((part) => !STORED.test(part))
    .join('')
    .replace(/[^a-z0-9]/g, '');
}
