import { describe, expect, it } from 'vitest';
import { DEVICES, deviceOf, deviceSettings } from '../../../src/bench/live/devices.js';

describe('deviceOf', () => {
  it('knows its classes, from large to small', () => {
    const limits = ['laptop', 'phone', 'board'].map((name) => deviceOf(name).memoryMib!);
    expect(limits).toEqual([...limits].sort((a, b) => b - a));
    expect(deviceOf('board')).toEqual(DEVICES.board);
  });
  it("takes the configuration's own, what is missing being the default's", () => {
    expect(deviceOf('mine', { mine: { threads: 3, memory_mib: 100, gguf: 'a.gguf' } })).toEqual({
      threads: 3,
      context: null,
      type: 'F16',
      gguf: 'a.gguf',
      memoryMib: 100,
    });
    expect(deviceOf('phone', { phone: { type: 'F32' } })).toEqual({ ...DEVICES.default, type: 'F32' });
  });
  it('refuses others by name', () => {
    expect(() => deviceOf('toaster', { mine: {} })).toThrow(/toaster.*default, laptop, phone, board, mine/);
    expect(() => deviceOf('toString')).toThrow();
  });
});

describe('deviceSettings', () => {
  it('are keys of the edge server', () => {
    expect(deviceSettings(deviceOf('board'), 'base', 4096)).toEqual({
      model: 'base',
      engine: { threads: 1, type: 'Q8_0', context: 512 },
    });
    expect(deviceSettings(deviceOf('x', { x: { gguf: 'q4.gguf' } }), 'base', 4096)).toEqual({
      model: 'q4.gguf',
      engine: { threads: 'auto', type: 'F16' },
    });
  });
  it('have no more context than the base was made for', () => {
    expect(deviceSettings(deviceOf('laptop'), 'base', 512).engine).toMatchObject({ context: 512 });
  });
});
