/**
 * Where the data sets of configs/tasks come from, under which licence, and which of their files a data directory has.
 *
 *     npx tsx scripts/data-sources.ts [--data-dir <dir>]
 *
 * Nothing is downloaded: licences are for a person to accept. Each repository is cloned at its commit into the folder named. Exits
 * with 1 where a data directory was given and lacks a file.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { parse } from 'yaml';
import { shippedPath } from '../src/files/package.js';

interface Source {
  repository: string;
  commit: string;
  licence: string;
}

/** By the first folder of the paths in the task files, in the data directory. */
const SOURCES: Record<string, Source> = {
  'o-lora': {
    repository: 'github.com/cmnfriend/O-LoRA',
    commit: '07117e1fc4a5f5ad9308a815a42cee8f46502dc8',
    licence: 'MIT (repository); each set keeps its own terms: check Yelp, Amazon, IMDB and QQP before redistribution',
  },
  'llm-adapters': {
    repository: 'github.com/AGI-Edgerunners/LLM-Adapters',
    commit: '816657208af4db747803f87ba40a4c71383fed7a',
    licence: 'Apache-2.0 (repository), ODC-By 1.0 (the collection); contents keep their own terms',
  },
  gsm8k: {
    repository: 'github.com/openai/grade-school-math',
    commit: '3101c7d5072418e28b9008a6636bde82a006892c',
    licence: 'MIT',
  },
  mmlu: {
    repository: 'github.com/HaeChan0305/MLILAB-FedLLM (data/mmlu)',
    commit: 'd92730e8bacd7b3a61e551e015e40588e10234b4',
    licence: 'Apache-2.0 (repository); MMLU itself, github.com/hendrycks/test, is published under MIT',
  },
};

type DataFile = string | { path: string };

const { values } = parseArgs({ options: { 'data-dir': { type: 'string' } } });
const folder = shippedPath('configs', 'tasks');
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .flatMap((name) => {
    const { data_files: splits } = parse(readFileSync(join(folder, name), 'utf8')) as {
      data_files: Record<string, DataFile>;
    };
    return Object.values(splits).map((split) => ({ name, path: typeof split === 'string' ? split : split.path }));
  });

const table = new Table({
  head: ['folder', 'task files', 'repository, commit', 'licence'],
  wordWrap: true,
  colWidths: [16, 12, 46, 46],
});
for (const [name, { repository, commit, licence }] of Object.entries(SOURCES)) {
  const tasks = new Set(files.filter(({ path }) => path.startsWith(`${name}/`)).map((file) => file.name));
  table.push([name, tasks.size, `${repository}\n${commit}`, licence]);
}
console.log(table.toString());
const unknown = files.filter(({ path }) => SOURCES[path.split('/')[0]!] === undefined);
if (unknown.length > 0) throw new Error(`no source is known for ${unknown.map(({ name }) => name).join(', ')}`);

const dataDir = values['data-dir'];
if (dataDir !== undefined) {
  // A `*` stands for many files: their folder is enough.
  const isThere = (path: string) => existsSync(join(dataDir, path.includes('*') ? dirname(path.split('*')[0]!) : path));
  const missing = files.filter(({ path }) => !isThere(path));
  console.log(`${dataDir}: ${files.length - missing.length} of ${files.length} files are there`);
  for (const { name, path } of missing) console.log(`  missing: ${path} (${name})`);
  process.exitCode = missing.length > 0 ? 1 : 0;
}
