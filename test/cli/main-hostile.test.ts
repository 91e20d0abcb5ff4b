/**
 * Whatever is in a file, whoever reads it reads it, or refuses it with a CrayonError that is short, names it and steers no terminal:
 * every reader, with every file of it replaced by hostile ones, and every key of those by hostile values.
 */

import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadBenchConfig } from '../../src/bench/config.js';
import { readTrafficConfig } from '../../src/bench/load/config.js';
import { adapterForm } from '../../src/blend/prompt-record.js';
import { isCrayonError } from '../../src/core/errors.js';
import { loadDataset } from '../../src/data/dataset.js';
import { generationEndIds, tokenizerEosId } from '../../src/hf/end-tokens.js';
import { HfModel } from '../../src/hf/model.js';
import { loadTokenizer } from '../../src/hf/tokenizer.js';
import { openPeftAdapter } from '../../src/peft/read.js';
import { openPool } from '../../src/pool/pool.js';
import { SafetensorsFile } from '../../src/safetensors/read.js';
import { loadEdgeConfig } from '../../src/serve/config.js';
import { crayon, ROOT } from '../e2e/helpers.js';
import { safetensorsBytes, temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

const MODEL = fixture('models', 'llama');
const LORA = fixture('lora', 'llama');
const POOL = join(ROOT, 'models', 'crayon-edge-pool');
const CONFIG = join(ROOT, 'configs', 'edge.yaml');
const ESC = '\x1b]0;t\x07\x1b[2J\u202e\u009b';

const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const WHOLE: Array<string | Uint8Array> = [
  ...[
    '',
    ' ',
    'null',
    '[]',
    '{}',
    '"x"',
    '1e999',
    '-',
    '{"a":1,"a":2}',
    '{"__proto__":{"a":1}}',
    '\ufeff',
    '\0',
    '{"a":"\\ud800"}',
  ],
  ...[
    `{"a":${deep(5000)}}`,
    '['.repeat(5000),
    '{"a":'.repeat(5000),
    'a: &a [*a]',
    '- '.repeat(5000),
    '? '.repeat(5000),
  ],
  ...[
    `{"${ESC}": 1}`,
    `{"a": ${ESC}}`,
    `x: ${JSON.stringify(ESC)}`,
    ESC,
    `${'x'.repeat(50_000)}`,
    `{"${'x'.repeat(50_000)}":1}`,
  ],
  Uint8Array.of(0xff, 0xfe, 0x7b, 0x00),
  Uint8Array.of(0x22, 0xc3, 0x22),
];
/** JSON of values, as text: not all of them are values of this language. */
const VALUES = [
  ...['null', '[]', '{}', '""', 'true', '0', '-1', '1e999', 'NaN', '1e300', '12345678901234567890', '0.5', '"\\ud800"'],
  ...[
    deep(150),
    deep(5000),
    JSON.stringify(ESC),
    JSON.stringify('x'.repeat(20_000)),
    '["a\\u0000b"]',
    '{"__proto__":1}',
  ],
];

interface Reader {
  read: (path: string) => unknown;
  /** a sound directory, or file */
  from: string;
  /** which file of the directory is replaced */
  file?: string;
  /** also value by value */
  keys?: boolean;
}
const READERS: Record<string, Reader> = {
  'config.json': { read: (dir) => HfModel.open(dir).close(), from: MODEL, file: 'config.json', keys: true },
  'tokenizer.json': { read: (dir) => loadTokenizer(dir), from: MODEL, file: 'tokenizer.json' },
  'tokenizer_config.json': {
    read: (dir) => loadTokenizer(dir),
    from: MODEL,
    file: 'tokenizer_config.json',
    keys: true,
  },
  'special_tokens_map.json': { read: (dir) => loadTokenizer(dir), from: MODEL, file: 'special_tokens_map.json' },
  'chat_template.jinja': { read: (dir) => loadTokenizer(dir), from: MODEL, file: 'chat_template.jinja' },
  'generation_config.json': { read: (dir) => generationEndIds(dir, 99), from: MODEL, file: 'generation_config.json' },
  "tokenizer.json's end": { read: tokenizerEosId, from: MODEL, file: 'tokenizer_config.json', keys: true },
  'model.safetensors': { read: (dir) => HfModel.open(dir).close(), from: MODEL, file: 'model.safetensors' },
  'adapter_config.json': {
    read: (dir) => openPeftAdapter(dir).close(),
    from: LORA,
    file: 'adapter_config.json',
    keys: true,
  },
  'adapter_model.safetensors': {
    read: (dir) => openPeftAdapter(dir).close(),
    from: LORA,
    file: 'adapter_model.safetensors',
  },
  'crayon.json': { read: (dir) => adapterForm(dir, 'model', null, {}), from: LORA, file: 'crayon.json' },
  'pool.json': { read: openPool, from: POOL, file: 'pool.json', keys: true },
  'a .json data set': { read: (dir) => loadDataset(join(dir, 'a.json')), from: LORA, file: 'a.json' },
  'a .jsonl data set': { read: (dir) => loadDataset(join(dir, 'a.jsonl')), from: LORA, file: 'a.jsonl' },
  'a .csv data set': { read: (dir) => loadDataset(join(dir, 'a.csv')), from: LORA, file: 'a.csv' },
  'a description': { read: (dir) => loadDataset(join(dir, 'a.yaml')), from: LORA, file: 'a.yaml' },
  "a server's configuration": { read: (dir) => loadEdgeConfig(join(dir, 'a.yaml')), from: LORA, file: 'a.yaml' },
  "a bench run's": { read: (dir) => loadBenchConfig(join(dir, 'a.yaml')), from: LORA, file: 'a.yaml' },
  "a load's": {
    read: (dir) => readTrafficConfig(join(dir, 'a.yaml'), { target: {}, load: {} }),
    from: LORA,
    file: 'a.yaml',
  },
};

/** What is wrong with how an action ended, or undefined. */
function misbehaviour(dir: string, action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    if (!isCrayonError(error)) return String((error as Error).stack ?? error);
    if (error.message.length > 10_000) return `a message of ${error.message.length} characters`;
    if (!error.message.includes(dir)) return `names no file: ${error.message}`;
  }
  return undefined;
}

describe.each(Object.entries(READERS))('%s', (_, { read, from, file, keys = false }) => {
  it('is read, or refused by its name, whatever is in it', { tags: 'slow', timeout: 60_000 }, () => {
    const dir = join(temporaryDir(), 'x');
    cpSync(from, dir, { recursive: true });
    const path = join(dir, file!);
    const sound = keys ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>) : {};
    const changed = Object.keys(sound).flatMap((key) =>
      VALUES.map((value) => JSON.stringify({ ...sound, [key]: '@' }).replace('"@"', () => value)),
    );
    for (const content of [...WHOLE, ...changed]) {
      writeFileSync(path, content);
      const problem = misbehaviour(dir, () => read(dir));
      expect(problem, `${file}: ${String(content).slice(0, 200)}`).toBeUndefined();
    }
  });
});

it('a safetensors file is read, or refused by its name, whatever its header says', () => {
  const path = join(temporaryDir(), 'a.safetensors');
  const sound = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
  const headers = VALUES.flatMap((value) => [
    value,
    `{"a":${value}}`,
    `{"__metadata__":${value},"a":${sound}}`,
    ...['dtype', 'shape', 'data_offsets', 'more'].map((key) => `{"a":{"${key}":${value},${sound.slice(1)}}`),
    `{${value.startsWith('"') ? value : '"x"'}:${sound}}`,
  ]);
  for (const header of headers) {
    writeFileSync(path, safetensorsBytes(header, 1));
    const problem = misbehaviour(path, () => SafetensorsFile.open(path).close());
    expect(problem, header.slice(0, 200)).toBeUndefined();
  }
});

describe('a command that is given a hostile', () => {
  const hostile = (from: string, file: string, content: string | Uint8Array) => {
    const dir = join(temporaryDir(), 'x');
    cpSync(from, dir, { recursive: true });
    writeFileSync(join(dir, file), content);
    return dir;
  };
  const replaced = (from: string, file: string, key: string) => {
    const json = JSON.parse(readFileSync(join(from, file), 'utf8')) as Record<string, unknown>;
    return hostile(from, file, JSON.stringify({ ...json, [key]: ESC }));
  };
  const data = (content: string, name = 'a.jsonl') => join(hostile(LORA, name, content), name);
  const weights = safetensorsBytes({ [ESC]: { dtype: 'Q', shape: [1], data_offsets: [0, 1] } }, 1);

  it.each<[string, () => string[]]>([
    ["pool's maker", () => ['inspect', replaced(POOL, 'pool.json', 'createdBy')]],
    ['pool', () => ['inspect', hostile(POOL, 'pool.json', `{"format": ${ESC}`)]],
    [
      'pool to blend',
      () => ['blend', '--pool', replaced(POOL, 'pool.json', 'format'), '--examples', 'x', '--out', 'y'],
    ],
    ['adapter', () => ['inspect', hostile(LORA, 'adapter_config.json', `{"r": ${ESC}`)]],
    ["adapter's base", () => ['inspect', replaced(LORA, 'adapter_config.json', 'base_model_name_or_path')]],
    ['name of a tensor', () => ['inspect', hostile(LORA, 'adapter_model.safetensors', weights)]],
    ['model', () => ['inspect', replaced(MODEL, 'config.json', 'model_type')]],
    ['model to export', () => ['export', '--model', replaced(MODEL, 'config.json', 'model_type'), '--gguf', 'x.gguf']],
    [
      'record',
      () => [
        'score',
        '--model',
        MODEL,
        '--data',
        data(`{"${ESC.replaceAll('\x1b', '\\u001b').replace('\x07', '')}":1}`),
      ],
    ],
    ['column', () => ['score', '--model', MODEL, '--data', data(`${ESC},${ESC}\n`, 'a.csv')]],
    ['description', () => ['score', '--model', MODEL, '--data', data(`task: ${JSON.stringify(ESC)}\nx: 1`, 'a.yaml')]],
    ['configuration', () => ['route', '--config', data(`model: [${JSON.stringify(ESC)}]`, 'a.yaml'), '--explain', 'x']],
    ['bench configuration', () => ['bench', '--config', data(`${JSON.stringify(ESC)}: 1`, 'a.yaml'), '--out', 'x']],
    ['path', () => ['inspect', `/no/${ESC}`]],
  ])('%s shows nothing that steers a terminal, and ends with no defect', async (_, argv) => {
    for (const more of [[], ['--json'], ['--verbose']]) {
      const { code, stdout, stderr } = await crayon([...argv(), ...more]);
      expect([0, 2, 3], stderr).toContain(code);
      expect(stdout + stderr).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u);
    }
  });
});

it('the shipped configuration is one of the readers above', () => {
  expect(loadEdgeConfig(CONFIG).port).toBeTypeOf('number');
});
