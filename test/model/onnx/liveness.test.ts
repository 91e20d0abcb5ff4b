import { describe, expect, it } from 'vitest';
import { cutTrace } from '../../../src/model/onnx/programs.js';
import { Trace } from '../../../src/model/onnx/trace.js';

describe('transientBytes', () => {
  it('is what lies between inputs and results at the fullest moment', () => {
    const trace = new Trace();
    const x = trace.input('x', [10]);
    const a = trace.exp(x); // 40 bytes
    const b = trace.tanh(a); // a and b: 80
    const c = trace.add(a, b); // a, b and c: 120
    const d = trace.log(c); // the result's own memory, c still there: 40
    expect(cutTrace(trace, 'chain', [{ name: 'd', value: d }]).transient).toBe(120);
  });

  it('is nothing where a result is made at once', () => {
    const trace = new Trace();
    const x = trace.input('x', [10]);
    expect(cutTrace(trace, 'one', [{ name: 'y', value: trace.exp(x) }]).transient).toBe(0);
  });
});
