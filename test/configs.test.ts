/** The shipped YAML files and their JSON Schemas: each file is valid, each schema is what its zod schema makes. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { JSON_SCHEMAS, jsonSchemaText } from '../scripts/json-schemas.js';
import { loadBenchConfig } from '../src/bench/config.js';
import { readTrafficConfig } from '../src/bench/load/config.js';
import { loadDataset } from '../src/data/dataset.js';
import { loadEdgeConfig } from '../src/serve/config.js';
import { errorOf, temporaryDir } from './helpers/files.js';
import { ROOT } from './helpers/fixtures.js';

const YAMLS = ['configs', 'suite'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`),
);
const ROWS = Object.entries(JSON_SCHEMAS).map(([name, row]) => ({ name, ...row }));
const SHIPPED = ROWS.flatMap(({ name, files }) => YAMLS.filter((yaml) => files.test(yaml)).map((yaml) => [yaml, name]));

const TEXTS = new Map(ROWS.map(({ name }) => [name, jsonSchemaText(name)]));
const VALIDATORS = new Map([...TEXTS].map(([name, text]) => [name, new Ajv2020().compile(JSON.parse(text))]));

const textOf = (path: string) => readFileSync(join(ROOT, path), 'utf8');

describe('the shipped YAML files', () => {
  it('each have one schema', () => {
    expect(SHIPPED.map(([yaml]) => yaml).sort()).toEqual([...YAMLS].sort());
  });

  it.each(SHIPPED)('%s is valid against %s.json, and says so to editors', (yaml, name) => {
    const validate = VALIDATORS.get(name!)!;
    validate(parse(textOf(yaml!)));
    expect(validate.errors ?? []).toEqual([]);
    // The bytes of suite/ are recorded, by their digests, in the shipped pool and in the measured runs.
    if (yaml!.startsWith('suite/')) return;
    const schema = relative(dirname(yaml!), `configs/schema/${name}.json`).replaceAll('\\', '/');
    expect(textOf(yaml!).split('\n')[0]).toBe(`# yaml-language-server: $schema=${schema}`);
  });
});

describe('the JSON Schemas', () => {
  it('are those that `npx tsx scripts/json-schemas.ts` writes', () => {
    expect(readdirSync(join(ROOT, 'configs/schema')).sort()).toEqual(ROWS.map(({ name }) => `${name}.json`).sort());
    for (const [name, text] of TEXTS) expect(textOf(`configs/schema/${name}.json`)).toBe(text);
  });

  it('describe every key', () => {
    const undescribed: string[] = [];
    const visit = (node: unknown, where: string): void => {
      if (typeof node !== 'object' || node === null) return;
      const { properties = {} } = node as { properties?: Record<string, { description?: string }> };
      for (const [key, { description }] of Object.entries(properties)) {
        if (description === undefined) undescribed.push(`${where}.${key}`);
      }
      for (const [key, child] of Object.entries(node)) if (key !== 'default') visit(child, `${where}.${key}`);
    };
    for (const [name, text] of TEXTS) visit(JSON.parse(text), name);
    expect(undescribed).toEqual([]);
  });

  it.each<[string, string, string]>([
    ['edge', 'limits: {}', 'limts: {}'],
    ['edge', 'engine: { threads: 2 }', 'engine: { treads: 2 }'],
    ['edge', 'port: 80', 'port: eighty'],
    ['task', 'limit: 3', 'limt: 3'],
    ['task', 'limit: 3', 'limit: 0'],
    ['group', 'metadata: {}', 'metdata: {}'],
    ['load', 'load: { rates: [2.5] }', 'load: { rates: [0] }'],
    ['load', 'target: { limit: 3 }', 'target: { limits: 3 }'],
    ['bench', 'strategies: [base]', 'strategies: [bass]'],
  ])('refuse what crayon refuses: %s with %s as %s', (name, right, wrong) => {
    const least: Record<string, string> = {
      edge: 'model: m\n',
      task: 'task: t\ndata_files: { train: a.jsonl }\ndoc_to_text: a\ndoc_to_target: b\n',
      group: 'group: g\ntask: []\n',
      load: '',
      bench: 'name: b\nmodel: m\npool: { data: [a] }\nusers: [{ name: u, kind: seen, tasks: [a] }]\n',
    };
    const validate = VALIDATORS.get(name)!;
    expect([validate(parse(least[name] + right)), validate(parse(least[name] + wrong))]).toEqual([true, false]);
  });
});

describe('a misspelt key', () => {
  it.each<[string, string, (path: string) => unknown, string]>([
    [
      'edge',
      'model: m\nrouting:\n  modes: x\n',
      loadEdgeConfig,
      'routing.modes is not a known key, did you mean mode? (line 3)',
    ],
    [
      'task',
      'task: t\ndata_files: {train: a.jsonl}\ndoc_to_txt: a\ndoc_to_target: b\n',
      loadDataset,
      'doc_to_text is missing, expected text; doc_to_txt is not a known key, did you mean doc_to_text? (line 3)',
    ],
    [
      'task',
      'task: t\ndata_files:\n  train:\n    path: a.jsonl\n    rang: [0, 1]\ndoc_to_text: a\ndoc_to_target: b\n',
      loadDataset,
      'data_files.train.rang is not a known key, did you mean range? (line 5)',
    ],
    [
      'group',
      'group: g\ntask:\n  - a.yaml\n  - { task: b.yaml, spilt: test }\n',
      loadDataset,
      'task[1].spilt is not a known key, did you mean split? (line 4)',
    ],
    [
      'load',
      'load:\n  clients: [1]\n  rate: [2]\n',
      (path) => readTrafficConfig(path, { target: {}, load: {} }),
      'load.rate is not a known key, did you mean rates? (line 3)',
    ],
    [
      'bench',
      'name: b\nmodel: m\npool:\n  data: [a]\n  cluster: 3\nusers: [{ name: u, kind: seen, tasks: [a] }]\nstrategies: [base]\n',
      loadBenchConfig,
      'pool.cluster is not a known key, did you mean clusters? (line 5)',
    ],
  ])('in %s is answered with its line and the key that was meant: %j', (_, yaml, load, expected) => {
    const path = join(temporaryDir(), 'mine.yaml');
    writeFileSync(path, yaml);
    expect(errorOf(() => load(path)).message).toBe(`${path}: ${expected}`);
  });
});
