import { describe, expect, it } from 'vitest';
import { pastedExamples } from '../../../../src/serve/playground/page/examples.js';

describe('pasted examples', () => {
  it('are records as they stand, a line each, or a list', () => {
    const records = [{ prompt: 'a', completion: ' b' }, { messages: [{ role: 'user', content: 'c' }] }];
    const lines = records.map((record) => JSON.stringify(record)).join('\r\n');
    expect(pastedExamples(`\n${lines}\n\n`)).toEqual({ records, problem: null });
    expect(pastedExamples(JSON.stringify(records, null, 2))).toEqual({ records, problem: null });
  });

  it('are prompts, with an answer after a tab', () => {
    expect(pastedExamples('one\tred\n two \n{"prompt": "three"}\nfour\tgreen\tor blue')).toEqual({
      records: [
        { prompt: 'one', completion: ' red' },
        { prompt: ' two ' },
        { prompt: 'three' },
        { prompt: 'four', completion: ' green\tor blue' },
      ],
      problem: null,
    });
  });

  it('are told by their line where they begin like JSON and are not', () => {
    expect(pastedExamples('one\n\n{"prompt": ').problem).toBe('Line 3 begins like JSON and is not.');
    expect(pastedExamples('')).toEqual({ records: [], problem: null });
  });

  it('may begin with a bracket and be no list', () => {
    expect(pastedExamples('[Bank] where is the money?')).toEqual({
      records: [{ prompt: '[Bank] where is the money?' }],
      problem: null,
    });
  });
});
