/**
 * ONNX models as bytes: the part of onnx.proto (github.com/onnx/onnx, IR version 10) that our graphs need, in protocol buffers'
 * wire format. Any viewer of ONNX files (Netron) opens what is written here.
 */

/** Element types, by their numbers in TensorProto.DataType. */
export const ELEMENT_TYPES = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, float16: 10, bfloat16: 16 } as const;
export type ElementType = keyof typeof ELEMENT_TYPES;

/** A whole number, a real number (which is wrapped, since JavaScript knows no difference), text, or whole numbers. */
export type Attribute = number | { real: number } | string | readonly number[];

export interface GraphNode {
  op: string;
  /** `com.microsoft` for ONNX Runtime's additions, ONNX's own where absent */
  domain?: string;
  /** names; an empty one stands for an input that is left out */
  inputs: readonly string[];
  outputs: readonly string[];
  attributes?: Readonly<Record<string, Attribute>>;
}

export interface GraphValue {
  name: string;
  type: ElementType;
  shape: readonly number[];
}

/** A value that belongs to the graph: shapes, axes and other small numbers. */
export interface GraphConstant extends GraphValue {
  data: ArrayBufferView;
}

export interface Graph {
  name: string;
  inputs: readonly GraphValue[];
  outputs: readonly GraphValue[];
  constants: readonly GraphConstant[];
  nodes: readonly GraphNode[];
}

const IR_VERSION = 10;
const OPSET = 21;
const MICROSOFT = 'com.microsoft';

/** One product of two square matrices. */
export function productGraph(size: number): Graph {
  const matrix = (name: string): GraphValue => ({ name, type: 'float32', shape: [size, size] });
  return {
    name: 'product',
    inputs: [matrix('a'), matrix('b')],
    outputs: [matrix('y')],
    constants: [],
    nodes: [{ op: 'MatMul', inputs: ['a', 'b'], outputs: ['y'] }],
  };
}

/** A ModelProto. */
export function encodeModel(graph: Graph): Uint8Array {
  const opset = (domain: string, version: number) => new Message().text(1, domain).whole(2, version);
  return new Message()
    .whole(1, IR_VERSION)
    .text(2, 'crayon')
    .message(7, encodeGraph(graph))
    .message(8, opset('', OPSET))
    .message(8, opset(MICROSOFT, 1))
    .bytes();
}

function encodeGraph({ name, inputs, outputs, constants, nodes }: Graph): Message {
  const message = new Message();
  for (const node of nodes) message.message(1, encodeNode(node));
  message.text(2, name);
  for (const constant of constants) message.message(5, encodeConstant(constant));
  for (const value of inputs) message.message(11, encodeValue(value));
  for (const value of outputs) message.message(12, encodeValue(value));
  return message;
}

function encodeNode({ op, domain, inputs, outputs, attributes = {} }: GraphNode): Message {
  const message = new Message();
  for (const name of inputs) message.text(1, name);
  for (const name of outputs) message.text(2, name);
  message.text(3, outputs[0]!).text(4, op);
  for (const [name, value] of Object.entries(attributes)) message.message(5, encodeAttribute(name, value));
  if (domain !== undefined) message.text(7, domain);
  return message;
}

/** AttributeProto: the field of the value, and its AttributeType under 20. */
function encodeAttribute(name: string, value: Attribute): Message {
  const message = new Message().text(1, name);
  if (typeof value === 'number') return message.whole(3, value).whole(20, 2);
  if (typeof value === 'string') return message.text(4, value).whole(20, 3);
  if ('real' in value) return message.real(2, value.real).whole(20, 1);
  for (const one of value) message.whole(8, one);
  return message.whole(20, 7);
}

function encodeConstant({ name, type, shape, data }: GraphConstant): Message {
  const message = new Message();
  for (const size of shape) message.whole(1, size);
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message.whole(2, ELEMENT_TYPES[type]).text(8, name).block(9, raw);
}

function encodeValue({ name, type, shape }: GraphValue): Message {
  const dimensions = new Message();
  for (const size of shape) dimensions.message(1, new Message().whole(1, size));
  const tensor = new Message().whole(1, ELEMENT_TYPES[type]).message(2, dimensions);
  return new Message().text(1, name).message(2, new Message().message(1, tensor));
}

/** A protocol buffers message under construction (protobuf.dev/programming-guides/encoding). */
class Message {
  readonly #parts: Uint8Array[] = [];

  /** A field of type varint; negative numbers take ten bytes, as the format has it. */
  whole(field: number, value: number): this {
    return this.#add(varint(field * 8), varint(value));
  }

  real(field: number, value: number): this {
    return this.#add(varint(field * 8 + 5), new Uint8Array(Float32Array.of(value).buffer));
  }

  text(field: number, value: string): this {
    return this.block(field, Buffer.from(value));
  }

  message(field: number, value: Message): this {
    return this.block(field, value.bytes());
  }

  block(field: number, value: Uint8Array): this {
    return this.#add(varint(field * 8 + 2), varint(value.byteLength), value);
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }

  #add(...parts: Uint8Array[]): this {
    this.#parts.push(...parts);
    return this;
  }
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest === 0n ? low : low | 0x80);
  } while (rest !== 0n);
  return Uint8Array.from(bytes);
}
