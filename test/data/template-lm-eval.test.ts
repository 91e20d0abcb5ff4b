/** Templates of lm-evaluation-harness's own task files, and cases of its users, against what its code makes of them (0.4.13). */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseDatasetConfig, type TaskConfig } from '../../src/data/config.js';
import { loadDataset } from '../../src/data/dataset.js';
import { type DataRecord, withNumbersKept } from '../../src/data/numbers.js';
import { renderTask } from '../../src/data/template.js';
import { temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';

interface Row {
  file: string;
  config: Record<string, unknown>;
  records: DataRecord[];
  expected: Array<{
    prompt: string;
    choices?: string[];
    gold?: number[];
    completion?: string;
    whole?: string;
    answers?: number;
  }>;
}

/** Made by scripts/peers/lm_eval_tasks.py. */
const rows = readFileSync(fixture('lm-eval', 'templates.jsonl'), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => withNumbersKept(line, JSON.parse) as Row);

/** Those whose answer is empty, which cannot be scored, or whose prompt's template is. */
const isUsable = ({ config, expected: [one] }: Row) => config.doc_to_text !== '' && one!.prompt !== one!.whole;

describe('task files', () => {
  it('are some tens', () => expect(rows.filter(isUsable).length).toBeGreaterThan(30));

  it.each(rows.filter(isUsable))('$file', ({ file, config, records, expected }) => {
    const task = parseDatasetConfig({ task: 't', data_files: { test: 'x' }, ...config }, file) as TaskConfig;
    const [made] = renderTask({ ...task, where: file, isCsv: false }, records);
    const [{ prompt, choices, gold, completion, whole, answers = 1 }] = expected as [Row['expected'][0]];
    if (answers > 1 || (gold ?? []).length > 1) {
      expect(made).toContain('right answers');
      return;
    }
    expect(made).toMatchObject({ prompt });
    if (typeof made === 'string') return;
    if (choices !== undefined) expect(made).toMatchObject({ choices, answer: gold![0] });
    else if (whole !== undefined) expect(prompt + made!.completion).toBe(whole);
    else expect(made).toMatchObject({ completion });
  });
});

const CHOICES = "doc_to_choice: ['no', 'yes']\n";
const LABEL = "doc_to_target: '{{label}}'\n";

describe('data sets', () => {
  it.each([
    {
      about: 'with a line feed at the end of a template',
      yaml: `doc_to_text: |\n  {{s}}\n  Verdict:\n${CHOICES}${LABEL}target_delimiter: ''\n`,
      records: ['{"s": "The mill stands.", "label": 1}'],
      prompts: ['The mill stands.\nVerdict:\n'],
      golds: [1],
    },
    {
      about: 'with values that are no texts',
      yaml: `doc_to_text: '{{s}} {{note}} {{w}} {{src}} {{tags}}.'\n${CHOICES}${LABEL}`,
      records: [
        '{"s": "a", "label": 1, "note": true, "w": 2.0, "src": null, "tags": ["old", "wet"]}',
        '{"s": "b", "label": 0, "note": false, "w": 0.5, "src": "log", "tags": []}',
      ],
      prompts: ["a True 2.0 None ['old', 'wet'].", 'b False 0.5 log [].'],
      golds: [1, 0],
    },
    {
      about: 'with remainders and capital letters',
      yaml: `doc_to_text: '{{t|capitalize}}: {{n % 3}} left. Even?'\n${CHOICES}${LABEL}`,
      records: ['{"t": "eLM STREET", "n": -7, "label": 1}', '{"t": "OAK lane", "n": 5, "label": 0}'],
      prompts: ['Elm street: 2 left. Even?', 'Oak lane: 2 left. Even?'],
      golds: [1, 0],
    },
    {
      about: 'that name fields',
      yaml: "doc_to_text: '{{s}}'\ndoc_to_choice: options\ndoc_to_target: label\n",
      records: ['{"s": "a", "label": 1, "options": ["no", "yes"]}', '{"s": "b", "label": 0, "options": ["no", "yes"]}'],
      prompts: ['a', 'b'],
      golds: [1, 0],
    },
    {
      about: "with a column of the name of one of Jinja's functions",
      yaml: `doc_to_text: '{{q}}'\n${CHOICES}${LABEL}`,
      records: ['{"q": "a", "range": [3, 9], "label": 1}', '{"q": "b", "range": [0, 2], "label": 0}'],
      prompts: ['a', 'b'],
      golds: [1, 0],
    },
    {
      about: 'whose right answers are digits',
      yaml: "doc_to_text: '{{q}}'\ndoc_to_choice: '{{opts}}'\ndoc_to_target: ans\n",
      records: [
        '{"q": "a", "opts": ["3", "0", "1"], "ans": "1"}',
        '{"q": "b", "opts": ["2", "1", "0"], "ans": "0"}',
        '{"q": "c", "opts": ["0", "2", "1"], "ans": "2"}',
      ],
      prompts: ['a', 'b', 'c'],
      golds: [2, 2, 1],
    },
  ])('$about', ({ yaml, records, prompts, golds }) => {
    const head = 'task: t\noutput_type: multiple_choice\ndata_files: { test: data.jsonl }\n';
    const dir = temporaryDir();
    writeFileSync(join(dir, 'task.yaml'), head + yaml);
    writeFileSync(join(dir, 'data.jsonl'), `${records.join('\n')}\n`);
    const { examples } = loadDataset(join(dir, 'task.yaml'));
    expect(examples.map(({ prompt }) => prompt)).toEqual(prompts);
    expect(examples.map(({ answer }) => answer)).toEqual(golds);
  });
});
