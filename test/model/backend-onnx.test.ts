import { beforeEach, describe, expect, it, vi } from 'vitest';

const missing = vi.hoisted(() => ({ packages: [] as string[] }));

vi.mock('node:module', async (original) => {
  const actual = await original<typeof import('node:module')>();
  const createRequire = (from: string | URL) => {
    const require = actual.createRequire(from);
    const refuse = (name: string) => {
      if (!missing.packages.some((gone) => name.startsWith(gone))) return;
      throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' });
    };
    const guarded = (name: string) => {
      refuse(name);
      return require(name);
    };
    const resolve = (name: string) => {
      refuse(name);
      return require.resolve(name);
    };
    return Object.assign(guarded, { resolve });
  };
  return { ...actual, createRequire };
});

/** The module has the process's back end as its state: every test starts afresh. */
const fresh = () => import('../../src/model/backend.js');
beforeEach(() => {
  vi.resetModules();
  missing.packages = [];
});

describe('the back end onnx', () => {
  it('is taken first, and one process uses one', async () => {
    const { activeRuntime, chooseBackend, measureMatMul } = await fresh();
    expect(activeRuntime()).toBeUndefined();
    const choice = await chooseBackend();
    expect(choice).toMatchObject({ name: 'onnx', missing: [] });
    expect(choice.detail).toMatch(/^ONNX Runtime \d+\.\d+\.\d+, \d+ threads$/);
    expect(await chooseBackend('onnx')).toBe(choice);
    expect(activeRuntime()).toBeDefined();
    expect(await measureMatMul(32, 1)).toBeGreaterThan(0);
    await expect(chooseBackend('wasm')).rejects.toMatchObject({
      code: 'backend-unavailable',
      message: 'back end "wasm" asked for, but "onnx" is active',
      hint: expect.stringContaining('another process'),
    });
  });

  it.each(['onnxruntime-node', 'koffi'])('says that %s is not installed', async (name) => {
    missing.packages = [name];
    const { activeRuntime, chooseBackend } = await fresh();
    await expect(chooseBackend('onnx')).rejects.toMatchObject({
      code: 'backend-unavailable',
      message: 'no tensor back end could be loaded (onnx: package not installed)',
      hint: expect.stringContaining('crayon doctor'),
    });
    expect(activeRuntime()).toBeUndefined();
  });

  it('is passed over where it is missing', async () => {
    missing.packages = ['onnxruntime-node', '@tensorflow/tfjs-node', 'webgpu'];
    const { chooseBackend } = await fresh();
    const choice = await chooseBackend();
    expect(choice.name).not.toBe('onnx');
    expect(choice.missing[0]).toEqual({ name: 'onnx', reason: 'package not installed' });
  });
});
