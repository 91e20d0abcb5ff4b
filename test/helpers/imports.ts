/** What a file of the repository imports, read off its text: for the architecture's test and for the choice of the quick tests. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const texts = new Map<string, string>();

/** A source file's text, read once. */
export function sourceText(file: string): string {
  if (!texts.has(file)) texts.set(file, readFileSync(file, 'utf8'));
  return texts.get(file)!;
}

/** Static imports that remain at run time (not `import type`), as they are written. */
export function staticImports(file: string): string[] {
  const pattern = /^(?:import|export)\s+(?!type\b)[^;]*?from\s+'([^']+)';|^import\s+'([^']+)';/gms;
  return [...sourceText(file).matchAll(pattern)].map((m) => m[1] ?? m[2]!);
}

/** What a file imports when it needs it, by `import('...')` or `require('...')`, as it is written. */
export function lazyImports(file: string): string[] {
  const pattern = /\b(?:import|require|createRequire\(import\.meta\.url\))\('([^']+)'\)/g;
  return [...sourceText(file).matchAll(pattern)].map((m) => m[1]!);
}

/** The packages, node's own among them, that a file itself imports, at once or when it needs them. */
export function packagesOf(file: string): string[] {
  return [...staticImports(file), ...lazyImports(file)].filter((specifier) => !specifier.startsWith('.'));
}

/** The source file that a relative specifier names. */
export function resolveImport(file: string, specifier: string): string {
  return join(dirname(file), specifier.replace(/\.js$/, '.ts'));
}

/** The files of the repository that loading this one loads, itself included. */
export function loadedBy(file: string): string[] {
  const seen = new Set([file]);
  for (const loaded of seen) {
    const targets = staticImports(loaded).filter((specifier) => specifier.startsWith('.'));
    for (const target of targets.map((specifier) => resolveImport(loaded, specifier))) {
      if (existsSync(target)) seen.add(target);
    }
  }
  return [...seen];
}
