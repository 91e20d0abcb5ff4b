import { describe, expect, it } from 'vitest';
import { Buffers } from '../../../src/model/onnx/buffers.js';

describe('Buffers', () => {
  it('gives the same memory for a name, and more only where more is asked for', () => {
    const buffers = new Buffers();
    const first = buffers.take('a', 100);
    expect(buffers.take('a', 60).buffer).toBe(first.buffer);
    expect(buffers.take('a', 60)).toHaveLength(60);
    expect(buffers.take('b', 60).buffer).not.toBe(first.buffer);
    expect(buffers.take('a', 101).buffer).not.toBe(first.buffer);
    buffers.clear();
    expect(buffers.take('a', 10).buffer.byteLength).toBe(40);
  });
});
