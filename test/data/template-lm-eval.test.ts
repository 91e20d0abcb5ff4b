/** Templates of lm-evaluation-harness's own task files, and cases of its users, against what its code makes of them (0.4.13). */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadDataset } from '../../src/data/dataset.js';
import { temporaryDir } from '../helpers/files.js';
import { fixture } from '../helpers/fixtures.js';
import { lmEvalOutcome, readLmEvalRows } from '../helpers/lm-eval-rows.js';

/** Made by scripts/peers/lm_eval_tasks.py. */
const rows = readLmEvalRows(fixture('lm-eval', 'templates.jsonl'));

/** What is refused of what lm-evaluation-harness takes: what cannot be scored, and what has no one right answer. */
const REFUSED = /right answers|^completion is empty$/;

describe('task files', () => {
  it('are some tens, most of them rendered the same byte for byte', () => {
    expect(rows.filter((row) => 'equal' in lmEvalOutcome(row)).length).toBeGreaterThan(30);
  });

  it.each(rows)('$file', (row) => {
    const outcome = lmEvalOutcome(row);
    expect(outcome).toEqual('refused' in outcome ? { refused: expect.stringMatching(REFUSED) } : { equal: true });
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
