/** Inputs that grow in one way: n tensors, n keys, n letters. What reads them must take time and memory in proportion. */

import { stringify } from 'yaml';
import { fixture } from '../helpers/fixtures.js';
import { assemble } from './mutate/safetensors.js';
import type { Files, Target } from './target.js';
import { peftAdapter, pool } from './targets/adapters.js';
import { benchConfig, edgeConfig } from './targets/configs.js';
import { dataset, task } from './targets/data.js';
import { httpServer, serverLlm } from './targets/http.js';
import { hfModel, tokenizer } from './targets/models.js';
import { resumable } from './targets/runs.js';
import { files, filesOf, repository } from './targets/seeds.js';
import { gguf, safetensors } from './targets/tensors.js';

export interface GrowthRow {
  target: Target;
  /** what there is n of */
  of: string;
  /** the smallest n; the others are 2, 4 and 8 times as many */
  n: number;
  make(n: number): Files;
}

const times = <T>(n: number, of: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => of(i));
const record = <T>(n: number, of: (i: number) => T, key = 'k') =>
  Object.fromEntries(times(n, (i) => [`${key}${i}`, of(i)]));
const json = (value: unknown) => Buffer.from(JSON.stringify(value));
/** A fixture with one file's JSON changed. */
// biome-ignore lint/suspicious/noExplicitAny: JSON of many files, each changed by one line that knows its own
const changed = (seed: Files, name: string, change: (json: any) => unknown): Files => {
  const value = JSON.parse(seed.get(name)!.toString());
  return new Map([...seed, [name, json(change(value) ?? value)]]);
};

const tensors = (header: unknown, data = 0) =>
  files({ 'x.safetensors': assemble(JSON.stringify(header), Buffer.alloc(data)) });
const tensor = (from: number, to: number, shape = [to - from]) => ({ dtype: 'U8', shape, data_offsets: [from, to] });

const LLAMA = () => filesOf(fixture('models', 'llama'));
const ADAPTER = () => filesOf(fixture('lora', 'llama'));
const QWEN = () => filesOf(fixture('models', 'qwen2'));
const POOL = () => filesOf(repository('models', 'crayon-edge-pool'));
const lines = (records: readonly unknown[]) => `${records.map((x) => JSON.stringify(x)).join('\n')}\n`;
const prompt = { prompt: 'a', completion: 'b' };
const TASK = { task: 'x', data_files: { train: 'x.jsonl' }, doc_to_text: '{{ a }}', doc_to_target: '{{ b }}' };
const taskFiles = (main: unknown, data = lines([{ a: 'a', b: 'b' }])) =>
  files({ 'main.yaml': typeof main === 'string' ? main : stringify(main), 'x.jsonl': data });
const bench = () =>
  filesOf(repository('configs', 'bench'), (name) => name === 'quick.yaml')
    .get('quick.yaml')!
    .toString();

/** A GGUF made of metadata: `key` with a list of n texts, or n keys. */
function ggufOf(entries: Buffer[], tensors: Buffer[] = []): Files {
  const head = Buffer.alloc(24);
  head.write('GGUF');
  head.writeUInt32LE(3, 4);
  head.writeBigUInt64LE(BigInt(tensors.length), 8);
  head.writeBigUInt64LE(BigInt(entries.length), 16);
  const body = Buffer.concat([head, ...entries, ...tensors]);
  return files({ 'x.gguf': Buffer.concat([body, Buffer.alloc(32 - (body.length % 32))]) });
}
const u32 = (x: number) => Buffer.from(Uint32Array.of(x).buffer);
const u64 = (x: number) => Buffer.from(BigUint64Array.of(BigInt(x)).buffer);
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const ggufText = (key: string, value: string) => Buffer.concat([text(key), u32(8), text(value)]);
const ggufTexts = (key: string, values: string[]) =>
  Buffer.concat([text(key), u32(9), u32(8), u64(values.length), ...values.map(text)]);
const ggufTensor = (name: string, offset: number) => Buffer.concat([text(name), u32(1), u64(8), u32(0), u64(offset)]);

/** The fixture's tokenizer with more of something. */
// biome-ignore lint/suspicious/noExplicitAny: as above
const tokens = (change: (json: any) => void): Files =>
  changed(filesOf(fixture('tokenizer', 'byte-level')), 'tokenizer.json', (value) => {
    change(value);
    return value;
  });
const request = (line: string, body: string, headers = '') =>
  files({
    'request.http': `${line} HTTP/1.1\r\nhost: localhost\r\n${headers}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  });
const chat = (body: object) =>
  request(
    'POST /v1/chat/completions',
    JSON.stringify({ model: 'edge', messages: [{ role: 'user', content: 'a' }], ...body }),
  );
const streamed = (events: string) =>
  files({ 'answer.http': `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${events}` });
const chunk = (choice: object) => `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`;
const END = `${chunk({ delta: {}, finish_reason: 'stop' })}data: [DONE]\n\n`;

export const GROWTH_ROWS: readonly GrowthRow[] = [
  {
    target: safetensors,
    of: 'tensors',
    n: 2000,
    make: (n) =>
      tensors(
        record(n, (i) => tensor(i, i + 1)),
        n,
      ),
  },
  {
    target: safetensors,
    of: 'tensors that overlap',
    n: 2000,
    make: (n) =>
      tensors(
        record(n, () => tensor(0, 1)),
        1,
      ),
  },
  { target: safetensors, of: 'bad tensors', n: 2000, make: (n) => tensors(record(n, () => ({ dtype: 'F33' }))) },
  { target: safetensors, of: 'metadata', n: 5000, make: (n) => tensors({ __metadata__: record(n, () => 'x') }) },
  {
    target: safetensors,
    of: 'sizes of one shape',
    n: 20_000,
    make: (n) =>
      tensors(
        {
          x: tensor(
            0,
            1,
            times(n, () => 1),
          ),
        },
        1,
      ),
  },
  {
    target: safetensors,
    of: 'letters of a name',
    n: 100_000,
    make: (n) => tensors({ ['x'.repeat(n)]: tensor(0, 1) }, 1),
  },
  { target: gguf, of: 'metadata', n: 4000, make: (n) => ggufOf(times(n, (i) => ggufText(`k${i}`, 'x'))) },
  {
    target: gguf,
    of: 'texts of a list',
    n: 20_000,
    make: (n) =>
      ggufOf([
        ggufTexts(
          'k',
          times(n, (i) => `t${i}`),
        ),
      ]),
  },
  {
    target: gguf,
    of: 'tensors that overlap',
    n: 4000,
    make: (n) =>
      ggufOf(
        [],
        times(n, (i) => ggufTensor(`t${i}`, 0)),
      ),
  },
  {
    target: hfModel,
    of: 'ids of eos_token_id',
    n: 5000,
    make: (n) => changed(LLAMA(), 'config.json', (c) => ({ ...c, eos_token_id: times(n, (i) => i) })),
  },
  {
    target: hfModel,
    of: 'keys of config.json',
    n: 5000,
    make: (n) => changed(LLAMA(), 'config.json', (c) => ({ ...c, ...record(n, () => 1) })),
  },
  {
    target: hfModel,
    of: 'names of the index',
    n: 2000,
    make: (n) =>
      changed(QWEN(), 'model.safetensors.index.json', ({ weight_map: map }) => ({
        weight_map: { ...map, ...record(n, () => 'model-00001-of-00002.safetensors') },
      })),
  },
  {
    target: hfModel,
    of: 'layers that are missing',
    n: 500,
    make: (n) => changed(LLAMA(), 'config.json', (c) => ({ ...c, num_hidden_layers: n })),
  },
  {
    target: tokenizer,
    of: 'tokens',
    n: 4000,
    make: (n) =>
      tokens((t) =>
        Object.assign(
          t.model.vocab,
          record(n, (i) => 1000 + i),
        ),
      ),
  },
  {
    target: tokenizer,
    of: 'merges',
    n: 4000,
    make: (n) =>
      tokens((t) => {
        const names = times(n, (i) => `q${i}`);
        Object.assign(t.model.vocab, Object.fromEntries(names.map((name, i) => [name, 1000 + i])));
        t.model.merges.push(...names.map((name) => [name, 'x']));
      }),
  },
  {
    target: tokenizer,
    of: 'added tokens',
    n: 1000,
    make: (n) =>
      tokens((t) =>
        t.added_tokens.push(
          ...times(n, (i) => ({
            id: 1000 + i,
            content: `<q${i}>`,
            special: true,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
          })),
        ),
      ),
  },
  {
    target: tokenizer,
    of: 'letters of the chat template',
    n: 20_000,
    make: (n) => new Map([...tokens(() => {}), ['chat_template.jinja', Buffer.from('x'.repeat(n))]]),
  },
  {
    target: tokenizer,
    of: 'outputs of the chat template',
    n: 500,
    make: (n) => new Map([...tokens(() => {}), ['chat_template.jinja', Buffer.from('{{ 1 }} '.repeat(n))]]),
  },
  {
    target: peftAdapter,
    of: 'keys of rank_pattern',
    n: 250,
    make: (n) => changed(ADAPTER(), 'adapter_config.json', (c) => ({ ...c, rank_pattern: record(n, () => 4) })),
  },
  {
    target: peftAdapter,
    of: 'names of target_modules',
    n: 5000,
    make: (n) =>
      changed(ADAPTER(), 'adapter_config.json', (c) => ({
        ...c,
        target_modules: [...c.target_modules, ...times(n, (i) => `m${i}`)],
      })),
  },
  {
    target: peftAdapter,
    of: 'names of layers_pattern',
    n: 250,
    make: (n) =>
      changed(ADAPTER(), 'adapter_config.json', (c) => ({
        ...c,
        layers_to_transform: [0, 1],
        layers_pattern: times(n, (i) => `m${i}`),
      })),
  },
  {
    target: peftAdapter,
    of: 'layers of layers_to_transform',
    n: 5000,
    make: (n) => changed(ADAPTER(), 'adapter_config.json', (c) => ({ ...c, layers_to_transform: times(n, (i) => i) })),
  },
  { target: peftAdapter, of: 'modules', n: 500, make: (n) => modules(n, 'all-linear') },
  {
    target: peftAdapter,
    of: 'modules that are not among the targets',
    n: 500,
    make: (n) =>
      modules(
        n,
        times(200, (i) => `m${i}`),
      ),
  },
  {
    target: pool,
    of: 'clusters',
    n: 500,
    make: (n) =>
      changed(POOL(), 'pool.json', (p) => ({
        ...p,
        N: n,
        clusters: times(n, () => p.clusters[0]),
        adapters: times(n, (i) => ({ ...p.adapters[0], dir: `adapters/${i}` })),
      })),
  },
  {
    target: pool,
    of: 'tasks of a cluster',
    n: 10_000,
    make: (n) =>
      changed(POOL(), 'pool.json', (p) => ({
        ...p,
        clusters: p.clusters.map((c: object, i: number) => (i === 0 ? { ...c, tasks: record(n, () => 1) } : c)),
      })),
  },
  {
    target: pool,
    of: 'bad clusters',
    n: 2000,
    make: (n) => changed(POOL(), 'pool.json', (p) => ({ ...p, clusters: times(n, () => 7) })),
  },
  { target: dataset, of: 'records', n: 4000, make: (n) => files({ 'x.jsonl': lines(times(n, () => prompt)) }) },
  { target: dataset, of: 'bad records', n: 4000, make: (n) => files({ 'x.jsonl': lines(times(n, () => ({ a: 1 }))) }) },
  { target: dataset, of: 'broken lines', n: 4000, make: (n) => files({ 'x.jsonl': '{\n'.repeat(n) }) },
  {
    target: dataset,
    of: 'fields of a record',
    n: 10_000,
    make: (n) => files({ 'x.jsonl': lines([{ ...prompt, ...record(n, () => 1) }]) }),
  },
  {
    target: dataset,
    of: 'turns of a conversation',
    n: 500,
    make: (n) =>
      files({
        'x.jsonl': lines([
          { messages: times(2 * n, (i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content: 'x' })) },
        ]),
      }),
  },
  {
    target: dataset,
    of: 'choices',
    n: 4000,
    make: (n) => files({ 'x.jsonl': lines([{ prompt: 'a', choices: times(n, (i) => `c${i}`), answer: 'none' }]) }),
  },
  {
    target: dataset,
    of: 'letters',
    n: 200_000,
    make: (n) => files({ 'x.jsonl': lines([{ prompt: 'x '.repeat(n), completion: 'y' }]) }),
  },
  {
    target: dataset,
    of: 'records of one JSON list',
    n: 4000,
    make: (n) => files({ 'x.json': JSON.stringify(times(n, () => prompt)) }),
  },
  {
    target: dataset,
    of: 'lines of a CSV file',
    n: 4000,
    make: (n) => files({ 'x.csv': `prompt,completion\n${'a,b\n'.repeat(n)}` }),
  },
  {
    target: dataset,
    of: 'columns of a CSV file',
    n: 2000,
    make: (n) => files({ 'x.csv': `prompt,completion,${times(n, (i) => `c${i}`)}\na,b,${times(n, () => 'x')}\n` }),
  },
  {
    target: dataset,
    of: 'quotes of a CSV file',
    n: 50_000,
    make: (n) => files({ 'x.csv': `prompt,completion\n"${'""'.repeat(n)}",b\n` }),
  },
  { target: task, of: 'unknown keys', n: 1000, make: (n) => taskFiles({ ...TASK, ...record(n, () => 1) }) },
  {
    target: task,
    of: 'letters of an unknown key',
    n: 5000,
    make: (n) => taskFiles({ ...TASK, [`doc${'x'.repeat(n)}`]: 1 }),
  },
  { target: task, of: 'notes', n: 4000, make: (n) => taskFiles({ ...TASK, metadata: record(n, () => 1) }) },
  { target: task, of: 'faults of the YAML', n: 10_000, make: (n) => taskFiles(`a: ${'"'.repeat(n)}`) },
  {
    target: task,
    of: 'anchors and aliases',
    n: 500,
    make: (n) =>
      taskFiles(
        `${JSON.stringify(TASK).slice(1, -1)}\nmetadata: [${times(n, (i) => `&a${i} x, *a${i}`)}]`
          .replace(/^/, '{')
          .replace(/\n/, ',')
          .concat('}'),
      ),
  },
  { target: task, of: 'documents of a YAML file', n: 2000, make: (n) => taskFiles('--- a\n'.repeat(n)) },
  { target: task, of: 'brackets that do not close', n: 2000, make: (n) => taskFiles('['.repeat(n)) },
  { target: task, of: 'signs of indentation', n: 1000, make: (n) => taskFiles(`${'- '.repeat(n)}x`) },
  {
    target: task,
    of: 'members of a group',
    n: 50,
    make: (n) =>
      new Map([
        ...taskFiles({ group: 'g', task: times(n, () => 'task.yaml') }),
        ...files({ 'task.yaml': stringify(TASK) }),
      ]),
  },
  {
    target: task,
    of: 'groups within groups',
    n: 5,
    make: (n) =>
      new Map([
        ...taskFiles({ group: 'g', task: ['g0.yaml'] }),
        ...files({
          ...record(n, () => '', 'unused'),
          ...Object.fromEntries(
            times(n, (i) => [
              `g${i}.yaml`,
              stringify({ group: 'g', task: i + 1 < n ? [`g${i + 1}.yaml`, `g${i + 1}.yaml`] : ['task.yaml'] }),
            ]),
          ),
          'task.yaml': stringify(TASK),
        }),
      ]),
  },
  {
    target: task,
    of: 'outputs of a template',
    n: 500,
    make: (n) => taskFiles({ ...TASK, doc_to_text: '{{ a }} '.repeat(n) }),
  },
  {
    target: task,
    of: 'free names of a template',
    n: 500,
    make: (n) =>
      taskFiles(
        { ...TASK, doc_to_text: times(n, (i) => `{{ f${i} }}`).join('') },
        lines([{ a: 'a', b: 'b', ...record(n, () => 'x', 'f') }]),
      ),
  },
  {
    target: task,
    of: 'records through a template',
    n: 500,
    make: (n) => taskFiles(TASK, lines(times(n, () => ({ a: 'a', b: 'b' })))),
  },
  {
    target: task,
    of: 'choices written out',
    n: 2000,
    make: (n) => taskFiles({ ...TASK, doc_to_choice: times(n, (i) => `c${i}`), doc_to_target: 1 }),
  },
  {
    target: edgeConfig,
    of: 'unknown keys',
    n: 1000,
    make: (n) => files({ 'edge.yaml': stringify(record(n, () => 1)) }),
  },
  {
    target: edgeConfig,
    of: 'allowed hosts',
    n: 1000,
    make: (n) => files({ 'edge.yaml': stringify({ model: 'm', allowed_hosts: times(n, (i) => `h${i}`) }) }),
  },
  {
    target: benchConfig,
    of: 'users',
    n: 200,
    make: (n) =>
      files({
        'bench.yaml': bench().replace(
          /^users:[\s\S]*?(?=^\w)/m,
          `users:\n${times(n, (i) => `  - { name: u${i}, kind: seen, tasks: [t], k: 5 }`).join('\n')}\n`,
        ),
      }),
  },
  {
    target: benchConfig,
    of: 'seeds of a user',
    n: 2000,
    make: (n) =>
      files({
        'bench.yaml': bench().replace(
          /^users:[\s\S]*?(?=^\w)/m,
          `users:\n  - { name: u, kind: seen, tasks: [t], k: 5, seeds: [${times(n, (i) => i)}] }\n`,
        ),
      }),
  },
  {
    target: resumable,
    of: 'records of a log',
    n: 4000,
    make: (n) =>
      files({
        'log.jsonl': lines([
          { seed: 1, training: { epochs: 2, data: ['a', 'b'] }, base: 'x'.repeat(64) },
          ...times(n, (i) => ({ id: `r${i}` })),
        ]),
      }),
  },
  {
    target: resumable,
    of: 'other settings of a log',
    n: 4000,
    make: (n) => files({ 'log.jsonl': lines([record(n, (i) => i)]) }),
  },
  {
    target: resumable,
    of: 'lines of a budget',
    n: 4000,
    make: (n) => files({ 'budget-0.2030-01-15.log': lines(times(n, (i) => ({ id: `a.${i}`, inputTokens: 1 }))) }),
  },
  {
    target: httpServer,
    of: 'messages',
    n: 100,
    make: (n) => chat({ messages: times(n, () => ({ role: 'user', content: 'a' })) }),
  },
  { target: httpServer, of: 'unknown fields', n: 2000, make: (n) => chat(record(n, () => 1)) },
  { target: httpServer, of: 'letters of an unknown field', n: 20_000, make: (n) => chat({ ['x'.repeat(n)]: 1 }) },
  {
    target: httpServer,
    of: 'letters of a message',
    n: 50_000,
    make: (n) => chat({ messages: [{ role: 'user', content: 'x '.repeat(n) }] }),
  },
  {
    target: httpServer,
    of: 'parts of a message',
    n: 2000,
    make: (n) => chat({ messages: [{ role: 'user', content: times(n, () => ({ type: 'text', text: 'a' })) }] }),
  },
  {
    target: httpServer,
    of: 'texts to embed',
    n: 1000,
    make: (n) => request('POST /v1/embeddings', JSON.stringify({ model: 'edge', input: times(n, () => 'a') })),
  },
  {
    target: httpServer,
    of: 'tokens of a prompt',
    n: 20_000,
    make: (n) =>
      request('POST /v1/completions', JSON.stringify({ model: 'edge', prompt: times(n, () => 1), max_tokens: 1 })),
  },
  {
    target: httpServer,
    of: 'coefficients',
    n: 4000,
    make: (n) => request('POST /v1/customizations', JSON.stringify({ coefficients: times(n, () => 0) })),
  },
  {
    target: httpServer,
    of: 'headers',
    n: 50,
    make: (n) => request('GET /health', '', times(n, (i) => `x-${i}: a\r\n`).join('')),
  },
  {
    target: httpServer,
    of: 'requests one behind the other',
    n: 100,
    make: (n) => files({ 'request.http': 'GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(n) }),
  },
  {
    target: serverLlm,
    of: 'chunks',
    n: 500,
    make: (n) => streamed(chunk({ delta: { content: 'a' } }).repeat(n) + END),
  },
  { target: serverLlm, of: 'comments', n: 20_000, make: (n) => streamed(': x\n\n'.repeat(n) + END) },
  {
    target: serverLlm,
    of: 'letters of a chunk',
    n: 100_000,
    make: (n) => streamed(chunk({ delta: { content: 'x'.repeat(n) } }) + END),
  },
  { target: serverLlm, of: 'letters without a line feed', n: 100_000, make: (n) => streamed(`data: ${'x'.repeat(n)}`) },
  { target: serverLlm, of: 'lines of one event', n: 5000, make: (n) => streamed(`${'data: 1\n'.repeat(n)}\n${END}`) },
  {
    target: serverLlm,
    of: 'alternatives of a token',
    n: 500,
    make: (n) =>
      streamed(
        chunk({
          delta: { content: 'a' },
          logprobs: {
            content: [
              {
                token: 'a',
                logprob: -1,
                bytes: [97],
                top_logprobs: times(n, (i) => ({ token: `t${i}`, logprob: -2, bytes: [98] })),
              },
            ],
          },
        }) + END,
      ),
  },
];

/** n modules of rank 1 on one input and output. */
function modules(n: number, target_modules: string | string[]): Files {
  const header: Record<string, object> = {};
  for (let i = 0; i < 2 * n; i++)
    header[`base_model.model.model.layers.${i >> 1}.q.lora_${i % 2 === 0 ? 'A' : 'B'}.weight`] = {
      dtype: 'F32',
      shape: [1, 1],
      data_offsets: [4 * i, 4 * i + 4],
    };
  return new Map([
    ...changed(ADAPTER(), 'adapter_config.json', (c) => ({
      ...{ ...c, r: 1, rank_pattern: {}, alpha_pattern: {} },
      target_modules,
    })),
    ['adapter_model.safetensors', assemble(JSON.stringify(header), Buffer.alloc(8 * n))],
  ]);
}
