/** The task files in configs/ against the data they were written for, which lies beside the repository, not in it. */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseDatasetConfig } from '../../src/data/config.js';
import { loadDataset } from '../../src/data/dataset.js';
import { hasShared, shared } from '../helpers/fixtures.js';

const configs = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'configs');
const taskFiles = readdirSync(join(configs, 'tasks')).filter((name) => name.endsWith('.yaml'));

/** Examples of each split. */
const COUNTS: Record<string, Record<string, number>> = {
  gsm8k: { train: 6873, heldout: 600, test: 1319, socratic: 1319 },
  'llm-adapters-addsub': { test: 395 },
  'llm-adapters-aqua': { test: 254 },
  'llm-adapters-arc-challenge': { train: 1119, test: 1172 },
  'llm-adapters-arc-easy': { train: 2251, test: 2376 },
  'llm-adapters-boolq': { train: 9427, test: 3270 },
  'llm-adapters-gsm8k': { test: 1319 },
  'llm-adapters-math': { train: 3257 },
  'llm-adapters-mathqa': { test: 2985 },
  'llm-adapters-mawps': { train: 1898, heldout: 237, test: 238 },
  'llm-adapters-multiarith': { test: 600 },
  'llm-adapters-openbookqa': { train: 4957, test: 500 },
  'llm-adapters-piqa': { test: 1838 },
  'llm-adapters-singleeq': { test: 508 },
  'llm-adapters-social-iqa': { test: 1954 },
  'llm-adapters-svamp': { test: 1000 },
  'llm-adapters-winogrande': { test: 1267 },
  mmlu: { dev: 285, test: 14042 },
  'o-lora-agnews': { train: 3600, heldout: 400, test: 7600 },
  'o-lora-amazon': { train: 4500, heldout: 500, test: 7600 },
  'o-lora-boolqa': { train: 1800, heldout: 200, test: 3270 },
  'o-lora-cb': { train: 225, heldout: 25, test: 56 },
  'o-lora-copa': { train: 360, heldout: 40, test: 100 },
  'o-lora-dbpedia': { train: 6080, heldout: 760, test: 760 },
  'o-lora-imdb': { train: 1600, heldout: 200, test: 200 },
  'o-lora-mnli': { train: 2700, heldout: 300, test: 7469 },
  'o-lora-multirc': { train: 1600, heldout: 200, test: 200 },
  'o-lora-qqp': { train: 1800, heldout: 200, test: 7600 },
  'o-lora-rte': { train: 1800, heldout: 200, test: 277 },
  'o-lora-sst2': { train: 1800, heldout: 200, test: 872 },
  'o-lora-wic': { train: 1800, heldout: 200, test: 638 },
  'o-lora-yelp': { train: 4000, heldout: 500, test: 500 },
};

/** Bad records that the description leaves out. */
const SKIPPED: Record<string, number> = { 'o-lora-mnli test': 131, 'llm-adapters-math train': 3 };

const options = (split: string) => ({ dataDir: shared(), split });
const first = (name: string, split = 'test') => {
  return loadDataset(join(configs, 'tasks', `${name}.yaml`), options(split)).examples[0]!;
};

describe('task files', () => {
  it.each(taskFiles)('%s is well formed', (name) => {
    const path = join(configs, 'tasks', name);
    expect(parseDatasetConfig(parse(readFileSync(path, 'utf8')), path)).toHaveProperty('task');
  });

  it('all have their counts written down here', () => {
    expect(taskFiles.map((name) => name.replace('.yaml', '')).sort()).toEqual(Object.keys(COUNTS).sort());
  });
});

describe.skipIf(!hasShared)('the public data sets (need ../shared)', { tags: 'slow' }, () => {
  it.each(taskFiles)('%s opens, with the examples that it should have', (file) => {
    const name = file.replace('.yaml', '');
    for (const [split, count] of Object.entries(COUNTS[name]!)) {
      const { examples, skipped } = loadDataset(join(configs, 'tasks', file), options(split));
      expect(examples, split).toHaveLength(count);
      expect(skipped, split).toBe(SKIPPED[`${name} ${split}`] ?? 0);
      expect(new Set(examples.map(({ id }) => id)).size, split).toBe(count);
      expect(
        examples.filter(({ completion }) => !/^ \S/.test(completion)),
        split,
      ).toEqual([]);
    }
  });

  it('O-LoRA prompts have its instruction, its options, the sentence', () => {
    expect(first('o-lora-rte')).toEqual({
      id: 'o-lora-rte:0',
      dataset: 'o-lora-rte',
      prompt:
        'What is the logical relationship between the "sentence 1" and the "sentence 2"? Choose one from the option.\n' +
        'Option: contradiction, entailment \n' +
        'sentence 1: On Jan. 27, 1756, composer Wolfgang Amadeus Mozart was born in Salzburg, Austria.\n' +
        'sentence 2: Wolfgang Amadeus Mozart was born in Salzburg.\nAnswer:',
      completion: ' entailment',
      choices: [' contradiction', ' entailment'],
      answer: 1,
      delimiter: 1,
    });
    expect(first('o-lora-copa').prompt).toBe(
      'Which sentence is the effect of "The man turned on the faucet."? Choose one between A and B.\n' +
        'A: The toilet filled with water.\nB: Water flowed from the spout.\nAnswer:',
    );
  });

  it('O-LoRA instructions and options are those of its own files', () => {
    const instructions = JSON.parse(readFileSync(shared('o-lora', 'configs', 'instruction_config.json'), 'utf8'));
    for (const file of taskFiles.filter((name) => name.startsWith('o-lora-'))) {
      const config = parse(readFileSync(join(configs, 'tasks', file), 'utf8'));
      const split = config.data_files.test.path ?? config.data_files.test;
      const labels = JSON.parse(readFileSync(shared(dirname(split), 'labels.json'), 'utf8'));
      expect(config.doc_to_choice, file).toEqual(labels);
      const kind = split.split('/')[2];
      if (kind === 'COPA') continue; // its sentences have their own instruction
      const [{ instruction }] = instructions[kind];
      expect(config.doc_to_text, file).toBe(`${instruction}Option: ${labels.join(', ')} \n{{sentence}}\nAnswer:`);
    }
  });

  it('multiple choice of LLM-Adapters has as many choices as the instruction', () => {
    expect(first('llm-adapters-winogrande')).toMatchObject({
      completion: ' option2',
      choices: [' option1', ' option2'],
      answer: 1,
    });
    const counts = new Map<number, number>();
    for (const { choices } of loadDataset(join(configs, 'tasks', 'llm-adapters-arc-easy.yaml'), options('train'))
      .examples) {
      counts.set(choices!.length, (counts.get(choices!.length) ?? 0) + 1);
    }
    expect(Object.fromEntries(counts)).toEqual({ 3: 6, 4: 2241, 5: 4 });
  });

  it('numbers are written without needless decimals', () => {
    expect(first('llm-adapters-gsm8k').completion).toBe(' 576');
    expect(first('llm-adapters-svamp').completion).toBe(' 8');
    expect(first('llm-adapters-mawps').completion).toBe(' 1.8333333333333335');
  });

  it('GSM8K ends its reasoning with the answer', () => {
    expect(first('gsm8k').completion).toMatch(
      / Janet sells 16 - 3 - 4 = <<16-3-4=9>>9 duck eggs a day\.\n.*\n#### 18$/,
    );
  });

  it('MMLU is 57 data sets with lettered choices', () => {
    const { examples } = loadDataset(join(configs, 'tasks', 'mmlu.yaml'), options('test'));
    expect(new Set(examples.map(({ dataset }) => dataset)).size).toBe(57);
    expect(examples[0]).toMatchObject({
      id: 'mmlu-abstract_algebra:0',
      prompt:
        'The following are multiple choice questions (with answers) about abstract algebra.\n\n' +
        'Find the degree for the given field extension Q(sqrt(2), sqrt(3), sqrt(18)) over Q.\nA. 0\nB. 4\nC. 2\nD. 6\nAnswer:',
      completion: ' B',
      choices: [' A', ' B', ' C', ' D'],
    });
  });

  it('the groups are all 14 tasks of O-LoRA', () => {
    const train = loadDataset(join(configs, 'o-lora-train.yaml'), { dataDir: shared() });
    expect(train.examples).toHaveLength(12 * 500 + 225 + 360);
    const test = loadDataset(join(configs, 'o-lora-test.yaml'), { dataDir: shared(), seed: 1 });
    expect(test.examples).toHaveLength(13 * 100 + 56);
    expect(new Set(test.examples.map(({ dataset }) => dataset)).size).toBe(14);
  });
});
