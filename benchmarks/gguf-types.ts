/**
 * How fast a GGUF's tensors become float32, and float32 each type.
 *
 *     npx tsx benchmarks/gguf-types.ts model.gguf ...
 *
 * Of each file every tensor is read whole, three times; the least time counts. Then 2^20 normal weights are quantised to each type,
 * and what that loses is said.
 */

import { dequantise, encodeGgufTensor } from '../src/gguf/encodings.js';
import { GgufFile } from '../src/gguf/read.js';
import { GGML_TYPES, type GgufWriteType } from '../src/gguf/types.js';

function fastest(work: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3; i++) {
    const started = process.cpuUsage().user;
    work();
    least = Math.min(least, (process.cpuUsage().user - started) / 1e6);
  }
  return least;
}

for (const path of process.argv.slice(2)) {
  const file = GgufFile.open(path);
  const perType = new Map<string, { seconds: number; elements: number }>();
  const seconds = fastest(() => {
    perType.clear();
    for (const { name, type } of file.tensors.values()) {
      const started = process.cpuUsage().user;
      const elements = file.readF32(name).length;
      const sum = perType.get(type) ?? { seconds: 0, elements: 0 };
      sum.seconds += (process.cpuUsage().user - started) / 1e6;
      sum.elements += elements;
      perType.set(type, sum);
    }
  });
  file.close();
  console.log(`${path}: ${seconds.toFixed(2)} s of processor time`);
  for (const [type, { seconds: s, elements }] of perType) {
    console.log(
      `  ${type}: ${((s * 1e9) / elements).toFixed(2)} ns an element, ${(elements / 1e6).toFixed(1)} million`,
    );
  }
}

const weights = Float32Array.from({ length: 2 ** 20 }, () => {
  return 0.05 * Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
});
for (const [type, row] of Object.entries(GGML_TYPES)) {
  if (!('quantise' in row) || row.block === 1) continue;
  const seconds = fastest(() => encodeGgufTensor(type as GgufWriteType, weights, type));
  const back = new Float32Array(weights.length);
  dequantise(type as GgufWriteType, encodeGgufTensor(type as GgufWriteType, weights, type), back);
  const rms = (x: Float32Array): number => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length);
  const error = rms(back.map((value, i) => value - weights[i]!)) / rms(weights);
  const speed = `${((seconds * 1e9) / weights.length).toFixed(1)} ns an element`;
  console.log(`to ${type}: ${speed}; root mean square error ${(100 * error).toFixed(2)}% of the weights'`);
}
