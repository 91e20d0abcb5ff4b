import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type DatasetOptions, datasetNames, loadDataset } from '../../src/data/dataset.js';
import { sha256File } from '../../src/files/digest.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

/** A directory with these files. */
function dirWith(files: Record<string, string | unknown[]>): string {
  const dir = temporaryDir();
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(dir, name, '..'), { recursive: true });
    writeFileSync(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return dir;
}

/** Loads one plain file of this name and content. */
function loadPlain(name: string, content: string | unknown[], options?: DatasetOptions) {
  return loadDataset(join(dirWith({ [name]: content }), name), options);
}

const jsonl = (...records: unknown[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join('');

describe('a plain file', () => {
  it('of JSON lines gives examples named after it', () => {
    const dir = dirWith({
      'mine.jsonl': `${jsonl({ prompt: 'a', completion: ' b' })}\n${jsonl({ prompt: 'c', completion: ' d', note: 1 })}`,
    });
    const path = join(dir, 'mine.jsonl');
    expect(loadDataset(path)).toEqual({
      examples: [
        { id: 'mine:0', dataset: 'mine', prompt: 'a', completion: ' b' },
        { id: 'mine:1', dataset: 'mine', prompt: 'c', completion: ' d' },
      ],
      sources: [{ path, sha256: sha256File(path), examples: 2 }],
      skipped: 0,
    });
  });

  it('may be a JSON list, or CSV with a header line', () => {
    const expected = [{ id: 'a:0', dataset: 'a', prompt: 'x, "y"\nz', completion: ' é' }];
    expect(loadPlain('a.json', [{ prompt: 'x, "y"\nz', completion: ' é' }]).examples).toEqual(expected);
    expect(loadPlain('a.csv', '\ufeffprompt,completion\r\n"x, ""y""\nz", é\r\n').examples).toEqual(expected);
    expect(loadPlain('a.csv', '\r\nprompt,completion\n"x, ""y""\nz", é\r').examples).toEqual(expected);
    expect(loadPlain('a.csv', 'prompt,completion\r\n"x, ""y""\nz", é\n').examples).toEqual(expected);
  });

  it('may have choices with the index or the text of the right one', () => {
    const { examples } = loadPlain(
      'a.jsonl',
      jsonl(
        { prompt: 'p', choices: [' A', ' B'], answer: 1 },
        { prompt: 'p', choices: [' A', ' B'], answer: ' A', completion: ' A' },
      ),
    );
    expect(examples.map(({ completion, choices, answer }) => [completion, choices, answer])).toEqual([
      [' B', [' A', ' B'], 1],
      [' A', [' A', ' B'], 0],
    ]);
  });

  it('may have an answer whose two readings are one', () => {
    const records = jsonl(
      { prompt: 'x', choices: ['0', '1'], answer: '1' },
      { prompt: 'x', choices: ['7', '8'], answer: '8' },
    );
    expect(loadPlain('a.jsonl', records).examples.map(({ answer }) => answer)).toEqual([1, 1]);
  });

  it('may hold text in any script, and ends of lines within fields', () => {
    const prompt = 'ሰላም 你好 🙂 \u2028 é\te\r\n';
    expect(loadPlain('a.jsonl', jsonl({ prompt, completion: ' ✓' })).examples[0]!.prompt).toBe(prompt);
  });
});

describe('a bad record', () => {
  it.each<[string, unknown, RegExp]>([
    ['without prompt', { completion: 'x' }, /prompt is missing/],
    ['without completion', { prompt: 'x' }, /completion is missing/],
    ['with an empty prompt', { prompt: ' \n', completion: 'x' }, /prompt is empty/],
    ['with an empty completion', { prompt: 'x', completion: '' }, /completion is empty/],
    ['with a number for a prompt', { prompt: 3, completion: 'x' }, /prompt is a number/],
    ['with null for a completion', { prompt: 'x', completion: null }, /completion is null/],
    ['with a NUL character', { prompt: 'x\0y', completion: 'x' }, /NUL/],
    ['with half a surrogate pair', { prompt: 'x', completion: '\ud83d' }, /surrogate/],
    ['that is a list', ['x'], /is not an object/],
    ['that is null', null, /is not an object/],
    ['of plain text', { text: 'x' }, /prompt is missing: found text;.*say where the prompt ends/],
    ['with one choice', { prompt: 'x', choices: ['a'], answer: 0 }, /1 choices/],
    ['with an empty choice', { prompt: 'x', choices: ['a', ' '], answer: 0 }, /choice 1 is empty/],
    ['with choices but no answer', { prompt: 'x', choices: ['a', 'b'] }, /answer is missing/],
    ['with an answer but no choices', { prompt: 'x', completion: 'a', answer: 0 }, /choices are missing/],
    ['with an answer beyond the choices', { prompt: 'x', choices: ['a', 'b'], answer: 2 }, /answer 2/],
    ['with a negative answer', { prompt: 'x', choices: ['a', 'b'], answer: -1 }, /answer -1/],
    [
      'with an answer of two readings',
      { prompt: 'x', choices: ['2', '0', '1'], answer: '0' },
      /choice 1 and the index of choice 0, "2"/,
    ],
    ['with a number of two readings', { prompt: 'x', choices: ['1', '0'], answer: 0 }, /expected one reading/],
    [
      'with an answer that two choices are',
      { prompt: 'x', choices: ['a', 'b', 'a'], answer: 'a' },
      /two of the choices/,
    ],
    [
      'with a preference',
      { prompt: 'x', chosen: 'a', rejected: 'b' },
      /completion is missing: found prompt, chosen, rejected;.*call chosen completion/,
    ],
    [
      'with a question',
      { question: 'x', answer: 'a' },
      /prompt is missing: found question, answer;.*call them prompt and completion/,
    ],
    ['whose field has a space', { 'prompt ': 'x', completion: 'a' }, /found "prompt ", completion/],
    ['with an answer that is no choice', { prompt: 'x', choices: ['a', 'b'], answer: 'c' }, /answer "c"/],
    [
      'with a completion that is not the answer',
      { prompt: 'x', choices: ['a', 'b'], answer: 0, completion: 'b' },
      /is not choice 0/,
    ],
  ])('%s is refused with its line', (_name, record, message) => {
    const good = { prompt: 'p', completion: 'c' };
    const error = errorOf(() => loadPlain('a.jsonl', jsonl(good, record, good)));
    expect(error.code).toBe('example-invalid');
    expect(error.message).toMatch(/a\.jsonl: line 2: /);
    expect(error.message).toMatch(message);
  });

  it('has no number for a text, however many digits it has', () => {
    const digits = '18446744073709551615';
    const turns = (content: string) =>
      `{"messages":[{"role":"user","content":${content}},{"role":"assistant","content":"x"}]}`;
    for (const line of [
      `{"prompt":${digits},"completion":"x"}`,
      `{"prompt":"x","completion":-${digits}}`,
      turns(digits),
    ]) {
      expect(errorOf(() => loadPlain('a.jsonl', line)).message).toMatch(/number/);
    }
    const choice = `{"prompt":"x","choices":["${digits}","b"],"answer":${digits}}`;
    expect(errorOf(() => loadPlain('a.jsonl', choice)).message).toMatch(/nor an index below 2/);
  });

  it('that is no JSON is refused with its line, and NaN, which Python writes, is no text', () => {
    const error = errorOf(() => loadPlain('a.jsonl', '{"prompt": "p"\n\n{"prompt": "p", "completion": NaN}\n'));
    expect(error.code).toBe('example-invalid');
    expect(error.message).toMatch(/line 1: not valid JSON.*line 3: completion is a number/);
  });

  it('of a JSON list is refused with its index', () => {
    expect(errorOf(() => loadPlain('a.json', [{ prompt: 'p', completion: 'c' }, {}])).message).toContain('record 1: ');
  });

  it('of CSV is refused with its line', () => {
    const error = errorOf(() => loadPlain('a.csv', 'prompt,completion\np,c\np,\n'));
    expect(error.message).toContain('line 3: completion is empty');
  });

  it('has company: at most ten are shown, and the others counted', () => {
    const { message } = errorOf(() => loadPlain('a.jsonl', '{}\n'.repeat(500)));
    expect(message).toContain('and 490 more');
    expect(message.length).toBeLessThan(3000);
  });
});

describe('a bad file', () => {
  it.each([
    ['a.jsonl', Uint8Array.of(0xff, 0xfe), 'json-invalid'],
    ['a.json', '{"prompt": "p"}', 'json-invalid'],
    ['a.json', '[', 'json-invalid'],
    ['a.csv', 'prompt,completion\na,b,c\n', 'csv-invalid'],
    ['a.csv', 'prompt,completion\n"a,b\n', 'csv-invalid'],
    ['a.csv', 'prompt,completion,completion\np,a,b\n', 'csv-invalid'],
    ['a.json', '[{"prompt": "p", "completion": "a", "completion": "b"}]', 'json-invalid'],
    ['a.json', `[${'['.repeat(10_000)}`, 'json-invalid'],
    ['a.yaml', 'a: [', 'yaml-invalid'],
    ['a.yaml', 'task: a\ntask: b\n', 'yaml-invalid'],
    ['a.yaml', '- a\n', 'config-invalid'],
    ['a.txt', 'text', 'path-not-recognised'],
  ])('%s %j is refused as %s', (name, content, code) => {
    const path = join(temporaryDir(), name);
    writeFileSync(path, content);
    expect(errorOf(() => loadDataset(path)).code).toBe(code);
  });

  it('that is missing is named', () => {
    expect(errorOf(() => loadDataset(join(temporaryDir(), 'a.jsonl'))).code).toBe('file-not-found');
  });
});

const yaml = `
task: colours
data_files:
  train: data/train.jsonl
  test: { path: data/train.jsonl, range: [2, 4] }
doc_to_text: "{{question}} Answer:"
doc_to_choice: [red, green, blue]
doc_to_target: "{{label}}"
`;
const colours = jsonl(
  { question: 'Sky?', label: 'blue' },
  { question: 'Grass?', label: 'green' },
  { question: 'Blood?', label: 'red' },
  { question: 'Sea?', label: 2 },
  { question: 'Fire?', label: '0' },
);

describe('a YAML description', () => {
  const load = (text = yaml, options?: DatasetOptions, data = colours) => {
    return loadDataset(join(dirWith({ 'colours.yaml': text, 'data/train.jsonl': data }), 'colours.yaml'), options);
  };

  it('makes prompts, choices and completions by its templates, after one space', () => {
    const { examples, sources } = load();
    expect(examples[0]).toEqual({
      id: 'colours:0',
      dataset: 'colours',
      prompt: 'Sky? Answer:',
      completion: ' blue',
      choices: [' red', ' green', ' blue'],
      answer: 2,
      delimiter: 1,
    });
    expect(examples.map(({ answer }) => answer)).toEqual([2, 1, 0, 2, 0]);
    expect(sources.map(({ path, examples: count }) => [path.split('/').at(-1), count])).toEqual([
      ['colours.yaml', 0],
      ['train.jsonl', 5],
    ]);
    expect(sources[1]!.path).toBe('data/train.jsonl');
  });

  it('gives the split asked for, and a range of a file with the indices of the file', () => {
    expect(load(yaml, { split: 'test' }).examples.map(({ id }) => id)).toEqual(['colours:2', 'colours:3']);
    const error = errorOf(() => load(yaml, { split: 'dev' }));
    expect(error.code).toBe('dataset-invalid');
    expect(error.message).toContain('expected train, test');
  });

  it('refuses a range beyond the file', () => {
    expect(errorOf(() => load(yaml.replace('[2, 4]', '[2, 6]'), { split: 'test' })).code).toBe('dataset-invalid');
  });

  it('may have another delimiter, and free answers', () => {
    const free = `${yaml.replace(/doc_to_choice.*\n/, '')}target_delimiter: ""\n`;
    expect(load(free).examples.map(({ completion }) => completion)).toEqual(['blue', 'green', 'red', '2', '0']);
    expect(load(free).examples[0]).not.toHaveProperty('choices');
  });

  it('takes the data directory first, then its own', () => {
    const other = dirWith({ 'data/train.jsonl': jsonl({ question: 'Rose?', label: 'red' }) });
    expect(load(yaml, { dataDir: other }).examples.map(({ prompt }) => prompt)).toEqual(['Rose? Answer:']);
    expect(load(yaml, { dataDir: temporaryDir() }).examples).toHaveLength(5);
    const error = errorOf(() => load(yaml.replaceAll('train.jsonl', 'none.jsonl'), { dataDir: other }));
    expect(error.code).toBe('file-not-found');
    expect(error.hint).toContain('--data-dir');
  });

  it('names the records that its templates do not fit', () => {
    const error = errorOf(() =>
      load(yaml, {}, colours + jsonl({ question: 'Snow?', label: 'white' }, { label: 'red' })),
    );
    expect(error.code).toBe('example-invalid');
    expect(error.message).toMatch(/line 6: answer "white" is neither one of.*line 7: has no field "question"/);
  });

  it('leaves bad records out, and counts them, when it says so', () => {
    const data = `${colours}nonsense\n${jsonl({ question: 'Snow?', label: 'white' }, { question: 'Coal?', label: 'red' })}`;
    const { examples, skipped } = load(`${yaml}skip_invalid: true\n`, {}, data);
    expect(skipped).toBe(2);
    expect(examples.map(({ id }) => id)).toEqual([
      'colours:0',
      'colours:1',
      'colours:2',
      'colours:3',
      'colours:4',
      'colours:7',
    ]);
  });

  it('reads CSV without a header line by the columns it names', () => {
    const csv = yaml
      .replaceAll('train.jsonl', 'train.csv')
      .replace('doc_to_text', 'columns: [question, label]\ndoc_to_text');
    const dir = dirWith({ 'colours.yaml': csv, 'data/train.csv': 'Sky?,blue\n"Grass, say?",green\n' });
    expect(loadDataset(join(dir, 'colours.yaml')).examples.map(({ prompt }) => prompt)).toEqual([
      'Sky? Answer:',
      'Grass, say? Answer:',
    ]);
  });

  it('can stand for one dataset a file', () => {
    const many = yaml
      .replace('task: colours', 'task: "colours-{{place}}"\nfile_field: place')
      .replaceAll('data/train.jsonl', 'data/*_train.jsonl')
      .replace('{{question}}', 'At {{place}}: {{question}}');
    const record = (question: string) => jsonl({ question, label: 'red' });
    const dir = dirWith({
      'colours.yaml': many,
      'data/sea_train.jsonl': record('x'),
      'data/land_train.jsonl': record('y'),
      'data/land_test.jsonl': record('z'),
    });
    const { examples, sources } = loadDataset(join(dir, 'colours.yaml'));
    expect(examples.map(({ id, prompt }) => [id, prompt])).toEqual([
      ['colours-land:0', 'At land: y Answer:'],
      ['colours-sea:0', 'At sea: x Answer:'],
    ]);
    expect(sources.map(({ path }) => path)).toContain('data/land_train.jsonl');
  });

  it.each([
    ['an unknown key', 'doc_to_txt: x\n', /doc_to_txt is not a known key/],
    ['a limit of 0', 'limit: 0\n', /limit is 0/],
    ['another format', 'format: parquet\n', /format is "parquet"/],
    ['another output type', 'output_type: magic\n', /output_type/],
  ])('is refused for %s', (_name, addition, message) => {
    const error = errorOf(() => load(yaml + addition));
    expect(error.code).toBe('config-invalid');
    expect(error.message).toMatch(message);
  });

  it.each(['task', 'data_files', 'doc_to_text', 'doc_to_target'])('is refused without %s', (key) => {
    const lines = yaml
      .replace(/\n {2}/g, '\t')
      .split('\n')
      .filter((line) => !line.startsWith(key));
    const error = errorOf(() => load(lines.join('\n').replaceAll('\t', '\n  ')));
    expect(error.code).toBe('config-invalid');
    expect(error.message).toContain(key);
  });

  it('is refused when it is multiple choice without choices', () => {
    const text = `${yaml.replace(/doc_to_choice.*\n/, '')}output_type: multiple_choice\n`;
    expect(errorOf(() => load(text)).code).toBe('config-invalid');
  });
});

describe('limits', () => {
  const data = jsonl(...Array.from({ length: 100 }, (_, i) => ({ prompt: `p${i}`, completion: 'c' })));
  const ids = (options: DatasetOptions) => loadPlain('a.jsonl', data, options).examples.map(({ id }) => id);

  it('keep the first examples without a seed', () => {
    expect(ids({ limit: 3 })).toEqual(['a:0', 'a:1', 'a:2']);
    expect(ids({ limit: 1000 })).toHaveLength(100);
  });

  it('keep a random choice with a seed: the same one each time, in the order of the file', () => {
    const chosen = ids({ limit: 10, seed: 1 });
    expect(chosen).toHaveLength(10);
    expect(chosen).toEqual(ids({ limit: 10, seed: 1 }));
    expect(chosen).not.toEqual(ids({ limit: 10, seed: 2 }));
    expect(chosen).not.toEqual(ids({ limit: 10 }));
    const indices = chosen.map((id) => Number(id.slice(2)));
    expect(indices).toEqual([...indices].sort((a, b) => a - b));
  });

  it('do not excuse bad records beyond them', () => {
    expect(errorOf(() => loadPlain('a.jsonl', `${data}{}\n`, { limit: 1 })).code).toBe('example-invalid');
  });
});

describe('a group', () => {
  const files = {
    'tasks/colours.yaml': yaml.replaceAll('data/train', '../data/train'),
    'data/train.jsonl': colours,
    'shades.yaml': yaml.replace('task: colours', 'task: shades'),
  };
  const load = (group: string, options?: DatasetOptions) =>
    loadDataset(join(dirWith({ ...files, 'group.yaml': group }), 'group.yaml'), options);

  it('is its tasks one after another, each with its own limit and split', () => {
    const group =
      'group: all\ntask:\n  - { task: tasks/colours.yaml, limit: 2 }\n  - { task: shades.yaml, split: test }\n';
    const { examples, sources } = load(group);
    expect(examples.map(({ id }) => id)).toEqual(['colours:0', 'colours:1', 'shades:2', 'shades:3']);
    expect(sources).toHaveLength(5);
    expect(load(group, { limit: 1 }).examples.map(({ id }) => id)).toEqual(['colours:0', 'shades:2']);
  });

  it('may not contain itself, also not by way of another', () => {
    expect(errorOf(() => load('group: all\ntask: [group.yaml]\n')).code).toBe('config-invalid');
    const dir = dirWith({ 'a.yaml': 'group: a\ntask: [b.yaml]\n', 'b.yaml': 'group: b\ntask: [./a.yaml]\n' });
    expect(errorOf(() => loadDataset(join(dir, 'a.yaml'))).code).toBe('config-invalid');
  });

  it('is refused for a member that is missing or has unknown keys', () => {
    expect(errorOf(() => load('group: all\ntask: [none.yaml]\n')).code).toBe('file-not-found');
    expect(errorOf(() => load('group: all\ntask: [{ task: shades.yaml, weight: 2 }]\n')).code).toBe('config-invalid');
  });
});

it('says what is wrong with a record in few words, however long it is', () => {
  const choices = Array.from({ length: 5000 }, (_, i) => `choice ${i}`);
  const error = errorOf(() => loadPlain('a.jsonl', jsonl({ prompt: 'a', choices, answer: 'none' })));
  expect(error.code).toBe('example-invalid');
  expect(error.message.length).toBeLessThan(2000);
});

describe('a description that includes others', () => {
  const base = 'doc_to_text: "Q: {{q}}"\ndoc_to_target: a\ndata_files: { train: x.jsonl }\n';
  const files = { 'x.jsonl': jsonl({ q: 'why', a: 'so' }), 'base.yaml': base };
  const load = (yaml: string, more: Record<string, string> = {}) => {
    const dir = dirWith({ ...files, ...more, 'task.yaml': yaml });
    return loadDataset(join(dir, 'task.yaml'));
  };

  it('has their keys after its own', () => {
    const { examples, sources } = load('include: base.yaml\ntask: t\ntarget_delimiter: "|"\n');
    expect(examples).toEqual([{ id: 't:0', dataset: 't', prompt: 'Q: why', completion: '|so' }]);
    expect(sources.map(({ examples }) => examples)).toEqual([0, 0, 1]);
    const two = load('include: [base.yaml, more.yaml]\ntask: t\n', { 'more.yaml': 'doc_to_text: "R: {{q}}"\n' });
    expect(two.examples[0]!.prompt).toBe('R: why');
  });

  it.each(['task.yaml', './task.yaml', 'none.yaml', '', '[]', '[1]', '{a: b}', '"a\\0b.yaml"', '.', 'list.yaml'])(
    'is refused for include: %s',
    (include) => {
      const error = errorOf(() => load(`include: ${include}\ntask: t\n`, { 'list.yaml': '[1]\n' }));
      expect(['config-invalid', 'file-not-found', 'file-unreadable']).toContain(error.code);
    },
  );
});

it('takes absolute paths of members, includes and data files', () => {
  const away = dirWith({
    'x.jsonl': jsonl({ q: 'why', a: 'so' }),
    'base.yaml': 'doc_to_text: "Q: {{q}}"\ndoc_to_target: a\n',
  });
  const task = `include: ${away}/base.yaml\ntask: t\ndata_files: { train: ${away}/*.jsonl, test: ${away}/x.jsonl }\n`;
  const elsewhere = dirWith({ 'task.yaml': task });
  const here = dirWith({ 'group.yaml': `group: g\ntask: [${elsewhere}/task.yaml]\n` });
  const path = join(here, 'group.yaml');
  for (const split of ['train', 'test']) {
    expect(loadDataset(path, { split, dataDir: here }).examples).toEqual([
      { id: 't:0', dataset: 't', prompt: 'Q: why', completion: ' so' },
    ]);
  }
  expect(datasetNames(path)).toEqual(['t']);
});

describe('whatever stands in a description', () => {
  const description = { task: 't', data_files: '{ train: x.jsonl }', doc_to_text: '"{{q}}"', doc_to_target: 'a' };
  const load = (keys: Record<string, string>) => {
    const yaml = Object.entries({ ...description, ...keys }).map(([key, value]) => `${key}: ${value}\n`);
    const dir = dirWith({
      'x1.jsonl': jsonl({ q: 'why', a: 'so' }),
      'x.jsonl': jsonl({ q: 'why', a: 'so' }),
      'task.yaml': yaml.join(''),
    });
    return loadDataset(join(dir, 'task.yaml'));
  };
  const sum = `"{{ ${'q + '.repeat(20_000)}q }}"`;

  it.each([
    ['task', { task: '"{{x}}"', file_field: 'kind', data_files: '{ train: "x*.jsonl" }' }],
    ['task', { task: '"{{ kind.casefold() }}"', file_field: 'kind', data_files: '{ train: "x*.jsonl" }' }],
    ['data_files', { data_files: '{ train: "x\\0.jsonl" }' }],
    ['data_files', { data_files: '{ train: { path: "x\\0.jsonl" } }' }],
    ['doc_to_text', { doc_to_text: sum }],
    ['doc_to_text', { doc_to_text: `"{{ ${'('.repeat(9000)} }}"` }],
    ['doc_to_text', { doc_to_text: `"${'{% if q %}'.repeat(9000)}"` }],
    ['doc_to_target', { doc_to_target: '"{{ q|nothing }}"' }],
    ['doc_to_choice', { doc_to_choice: '"{{ q"' }],
    ['gen_prefix', { gen_prefix: '"{{ q"' }],
    ['description', { description: '"{% q %}"' }],
    ['num_fewshot', { num_fewshot: '5' }],
    ['generation_kwargs', { generation_kwargs: '{ until: [] }' }],
  ])('is refused by file and key: %s', (key, keys) => {
    const error = errorOf(() => load(keys));
    expect(['config-invalid', 'yaml-invalid']).toContain(error.code);
    expect(error.message).toContain('task.yaml');
    expect(error.message).toContain(key);
  });

  it('is refused where PyYAML, and so lm-evaluation-harness, reads another value', () => {
    for (const [keys, found] of [
      [{ doc_to_choice: '[yes, "no"]', doc_to_target: '0' }, '"yes" is text in YAML 1.2, and a truth value to PyYAML'],
      [{ doc_to_choice: '[1:30, 2:45]' }, '"1:30" is text in YAML 1.2, and a number to PyYAML'],
      [{ doc_to_target: '011' }, '"011" is 11 in YAML 1.2, and 9 to PyYAML'],
      [{ limit: '010' }, '"010" is 10 in YAML 1.2, and 8 to PyYAML'],
    ] as const) {
      const { code, message } = errorOf(() => load(keys));
      expect(code).toBe('yaml-invalid');
      expect(message).toContain(found);
      expect(message).toMatch(/write it in quotes.*line \d/);
    }
    const notes = { metadata: '{ day: 2026-01-01 }', metric_list: '[yes]', data_files: '{ no: x.jsonl }' };
    expect(load({ ...notes, doc_to_choice: '["yes", "no"]', doc_to_target: '0' }).examples).toHaveLength(1);
  });

  it('is refused by the record that it does not fit', () => {
    for (const doc_to_text of [
      '"{{ q.a.b }}"',
      '"{{ q / 2 }}"',
      '"{{ [q] * 999999999 }}"',
      '"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"',
    ]) {
      expect(errorOf(() => load({ doc_to_text }))).toMatchObject({
        code: 'example-invalid',
        message: expect.stringContaining('line 1'),
      });
    }
  });
});
