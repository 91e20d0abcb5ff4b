/**
 * A faster matrix product for the WebAssembly back end.
 *
 * tfjs-backend-wasm runs one plain 2-D product in XNNPACK at full speed, but falls back to a scalar loop as soon as an
 * operand is transposed or batched (about 1 instead of 15 GFLOP/s). So this kernel transposes explicitly and runs a
 * batched product as a sequence of plain 2-D ones, on views of the operands that share their bytes.
 */

import {
  BatchMatMul,
  type BatchMatMulAttrs,
  type BatchMatMulInputs,
  getKernel,
  type KernelFunc,
  registerKernel,
  type TensorInfo,
  Transpose,
  unregisterKernel,
} from '@tensorflow/tfjs-core';

/** The part of BackendWasm that is used here. */
interface WasmBackend {
  makeOutput(shape: number[], dtype: string): TensorInfo;
  disposeData(dataId: object): boolean;
  typedArrayFromHeap(info: TensorInfo): Float32Array;
}

let registered = false;

/** Replaces the `wasm` back end's BatchMatMul kernel; a second call does nothing. */
export function registerWasmMatMul(): void {
  if (registered) return;
  registered = true;
  const plain = getKernel(BatchMatMul, 'wasm').kernelFunc;
  const transpose = getKernel(Transpose, 'wasm').kernelFunc;

  const run = (kernel: KernelFunc, inputs: object, backend: WasmBackend, attrs: object) =>
    kernel({ inputs, backend, attrs } as unknown as Parameters<KernelFunc>[0]) as TensorInfo;

  const swapLast = (x: TensorInfo, backend: WasmBackend) => {
    const last = x.shape.length - 1;
    const perm = x.shape.map((_, i) => (i === last ? last - 1 : i === last - 1 ? last : i));
    return run(transpose, { x }, backend, { perm });
  };

  const batchMatMul = (args: { inputs: BatchMatMulInputs; backend: WasmBackend; attrs: BatchMatMulAttrs }) => {
    const { backend, attrs } = args;
    const owned: TensorInfo[] = [];
    const untransposed = (x: TensorInfo, transposed: boolean) => {
      if (!transposed) return x;
      const y = swapLast(x, backend);
      owned.push(y);
      return y;
    };
    const a = untransposed(args.inputs.a!, attrs.transposeA);
    const b = untransposed(args.inputs.b!, attrs.transposeB);

    const batchOf = (x: TensorInfo) => x.shape.slice(0, -2).reduce((n, size) => n * size, 1);
    const batch = batchOf(a);
    let out: TensorInfo;
    if (batch === 1 || batch !== batchOf(b)) {
      out = run(plain, { a, b }, backend, { transposeA: false, transposeB: false });
    } else {
      const [m, k] = a.shape.slice(-2) as [number, number];
      const n = b.shape[b.shape.length - 1]!;
      out = backend.makeOutput([...a.shape.slice(0, -2), m, n], 'float32');
      const left = backend.makeOutput([1, m, k], 'float32');
      for (let i = 0; i < batch; i++) {
        // A fresh right operand each time: XNNPACK packs it once per tensor id and would reuse stale values.
        const right = backend.makeOutput([1, k, n], 'float32');
        backend.typedArrayFromHeap(left).set(backend.typedArrayFromHeap(a).subarray(i * m * k, (i + 1) * m * k));
        backend.typedArrayFromHeap(right).set(backend.typedArrayFromHeap(b).subarray(i * k * n, (i + 1) * k * n));
        const product = run(plain, { a: left, b: right }, backend, { transposeA: false, transposeB: false });
        backend.typedArrayFromHeap(out).set(backend.typedArrayFromHeap(product), i * m * n);
        backend.disposeData(product.dataId);
        backend.disposeData(right.dataId);
      }
      backend.disposeData(left.dataId);
    }
    for (const x of owned) backend.disposeData(x.dataId);
    return out;
  };

  unregisterKernel(BatchMatMul, 'wasm');
  registerKernel({
    kernelName: BatchMatMul,
    backendName: 'wasm',
    kernelFunc: batchMatMul as unknown as KernelFunc,
  });
}
