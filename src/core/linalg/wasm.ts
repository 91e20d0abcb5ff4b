/**
 * A small assembler for WebAssembly: enough of the binary format to write a kernel with 128-bit vectors as TypeScript that one can read.
 *
 * An expression is the bytes that leave its value on the stack, so `add(a, b)` is a's bytes, b's bytes and the opcode. Opcodes are
 * those of the WebAssembly core specification, section 5.4 (binary format of instructions), with the vectors of its version 2.
 */

export type Code = readonly number[];

/** Memory of up to 4 GiB, in pages of 64 KiB, that threads share. */
export interface SharedMemory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}

/** What is used of WebAssembly's JavaScript interface: TypeScript has its types among a browser's alone. */
interface Interface {
  Memory: new (size: { initial: number; maximum: number; shared: true }) => SharedMemory;
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports: Record<string, Record<string, unknown>>) => { exports: unknown };
}
export const { Memory, Module, Instance } = (globalThis as unknown as { WebAssembly: Interface }).WebAssembly;

const TYPES = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b };
type Type = keyof typeof TYPES;

/** A parameter or variable of a function. */
export interface Local {
  readonly get: Code;
  set(value: Code): Code;
}

export interface WasmFunction {
  name: string;
  /** all of them i32 */
  parameters: number;
  variables: Type[];
  body: Code;
}

/** Unsigned LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let left = value >>> 0; ; left >>>= 7) {
    if (left < 0x80) return [...bytes, left];
    bytes.push((left & 0x7f) | 0x80);
  }
}

/** Signed LEB128. */
function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let left = value | 0; ; left >>= 7) {
    if (left >= -0x40 && left < 0x40) return [...bytes, left & 0x7f];
    bytes.push((left & 0x7f) | 0x80);
  }
}

const binary =
  (...opcode: number[]) =>
  (a: Code, b: Code): Code => [...a, ...b, ...opcode];
const simd = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];

export const i32 = {
  of: (value: number): Code => [0x41, ...signed(value)],
  add: binary(0x6a),
  sub: binary(0x6b),
  mul: binary(0x6c),
  div: binary(0x6e),
  /** The number at address + offset. */
  load: (address: Code, offset = 0): Code => [...address, 0x28, 2, ...unsigned(offset)],
};

export const f32 = {
  add: binary(0x92),
  store: (address: Code, value: Code, offset = 0): Code => [...address, ...value, 0x38, 2, ...unsigned(offset)],
  /** One of a vector's four numbers. */
  lane: (vector: Code, lane: number): Code => [...vector, ...simd(0x1f), lane],
};

export const v128 = {
  zero: [...simd(0x0c), ...new Array<number>(16).fill(0)] as Code,
  load: (address: Code, offset = 0): Code => [...address, ...simd(0x00), 2, ...unsigned(offset)],
  /** Two float32, in the lower half. */
  loadLow: (address: Code, offset = 0): Code => [...address, ...simd(0x5d), 2, ...unsigned(offset)],
  store: (address: Code, value: Code, offset = 0): Code => [
    ...address,
    ...value,
    ...simd(0x0b),
    2,
    ...unsigned(offset),
  ],
};

/** Four float32. */
export const f32x4 = { add: binary(...simd(0xe4)), mul: binary(...simd(0xe6)) };

/** Two float64. */
export const f64x2 = {
  add: binary(...simd(0xf0)),
  mul: binary(...simd(0xf2)),
  /** The two float32 in the lower half of a vector. */
  promote: (low: Code): Code => [...low, ...simd(0x5f)],
  /** An integer, twice. */
  ofI32: (value: Code): Code => [...value, 0xb7, ...simd(0x14)],
};

/** Runs the body while `index`, raised by `step` each time, is below `end`; nothing where it is not at the start. */
export function loop(index: Local, step: Code, end: Code, body: Code): Code {
  const below = [...index.get, ...end, 0x49]; // unsigned: addresses go to 4 GiB
  const again = [...below, 0x0d, 0]; // br_if to the loop's start
  return [...below, 0x04, 0x40, 0x03, 0x40, ...body, ...index.set(i32.add(index.get, step)), ...again, 0x0b, 0x0b];
}

/** A function without result; `write` gets its parameters and what makes variables, and returns its body. */
export function wasmFunction(
  name: string,
  parameters: number,
  write: (parameters: Local[], variable: (type: Type) => Local) => Code,
): WasmFunction {
  const variables: Type[] = [];
  const local = (index: number): Local => ({
    get: [0x20, ...unsigned(index)],
    set: (value) => [...value, 0x21, ...unsigned(index)],
  });
  const given = Array.from({ length: parameters }, (_, i) => local(i));
  const variable = (type: Type) => local(parameters + variables.push(type) - 1);
  return { name, parameters, body: write(given, variable), variables };
}

/** The bytes of a module that exports the functions and imports one shared memory as `env.memory`. */
export function wasmModule(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const list = (items: readonly Code[]) => [...unsigned(items.length), ...items.flat()];
  const sized = (content: Code) => [...unsigned(content.length), ...content];
  const text = (value: string) => sized([...new TextEncoder().encode(value)]);
  const section = (id: number, items: readonly Code[]) => [id, ...sized(list(items))];
  const type = ({ parameters }: WasmFunction) => [0x60, ...list(new Array(parameters).fill([TYPES.i32])), 0];
  const code = ({ variables, body }: WasmFunction) =>
    sized([...list(variables.map((variable) => [1, TYPES[variable]])), ...body, 0x0b]);
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, functions.map(type)),
    ...section(2, [[...text('env'), ...text('memory'), 2, 3, ...unsigned(1), ...unsigned(65_536)]]),
    ...section(
      3,
      functions.map((_, i) => unsigned(i)),
    ),
    ...section(
      7,
      functions.map(({ name }, i) => [...text(name), 0, ...unsigned(i)]),
    ),
    ...section(10, functions.map(code)),
  ]);
}
