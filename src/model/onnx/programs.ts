/**
 * A trace cut into programs: the forward pass, and the backward pass that takes up what the forward pass left. What crosses the
 * cut is chosen here: a value is computed again from others where that keeps fewer bytes and costs no product.
 */

import type { Graph } from '../../onnx/encode.js';
import { transientBytes } from './liveness.js';
import { bytesOf, graphValue, type Trace, type TracedNode, type TracedValue } from './trace.js';

export interface Programs {
  forward: Graph;
  /** bytes that a run holds beside what it is given and what it gives, at its fullest moment */
  transient: number;
  /** absent where nothing is trained */
  backward?: Graph;
  /** names and sizes, in numbers, of what the forward pass leaves for the backward pass */
  crossing: Array<{ name: string; length: number }>;
}

/** A result under the name that its receiver knows it by. */
export type Results = ReadonlyArray<{ name: string; value: unknown }>;

/**
 * @param results of the forward pass
 * @param backward results of the backward pass, and how many nodes were written before it
 */
export function cutTrace(
  trace: Trace,
  name: string,
  results: Results,
  backward?: { from: number; results: Results },
): Programs {
  const makers = new Map<string, { node: TracedNode; index: number }>();
  trace.nodes.forEach((node, index) => {
    for (const { name } of node.results) makers.set(name, { node, index });
  });
  if (backward === undefined) {
    const forward = program(trace, makers, name, results, new Set(), []);
    return { forward, crossing: [], transient: transientBytes(forward, valuesOf(trace)) };
  }
  const crossing = chooseCrossing(makers, backward);
  const forward = program(
    trace,
    makers,
    name,
    results,
    new Set(),
    crossing.filter(({ name }) => makers.has(name)),
  );
  const given = new Set(crossing.map(({ name }) => name));
  const back = program(trace, makers, `${name} backward`, backward.results, given, [], crossing);
  const values = valuesOf(trace);
  return {
    forward,
    backward: back,
    transient: Math.max(transientBytes(forward, values), transientBytes(back, values)),
    crossing: crossing.map((value) => ({ name: value.name, length: bytesOf(value) / 4 })),
  };
}

const valuesOf = (trace: Trace): Map<string, TracedValue> =>
  new Map(trace.nodes.flatMap(({ results }) => results.map((value) => [value.name, value])));

type Makers = ReadonlyMap<string, { node: TracedNode; index: number }>;

/** What of the forward pass the backward pass is given. */
function chooseCrossing(makers: Makers, { from, results }: { from: number; results: Results }): TracedValue[] {
  // 1) everything of the forward pass that a node of the backward pass reads
  const wanted = new Map<string, { value: TracedValue; index: number }>();
  const seen = new Set<string>();
  const visit = (value: TracedValue) => {
    if (seen.has(value.name)) return;
    seen.add(value.name);
    const maker = makers.get(value.name);
    if (maker === undefined) return; // an input
    if (maker.index < from) wanted.set(value.name, { value, index: maker.index });
    else for (const operand of maker.node.operands) visit(operand);
  };
  for (const { value } of results) visit(value as TracedValue);
  // 2) costly ones are kept; cheap ones, the first first, where their roots would take more room than they do
  const kept = new Map<string, TracedValue>();
  const roots = (value: TracedValue, found: Map<string, TracedValue>) => {
    const maker = makers.get(value.name);
    if (maker === undefined || kept.has(value.name) || found.has(value.name)) return;
    if (maker.node.isCheap) for (const operand of maker.node.operands) roots(operand, found);
    else found.set(value.name, value);
  };
  const inOrder = [...wanted.values()].sort((a, b) => a.index - b.index);
  for (const { value, index } of inOrder) {
    if (!makers.get(value.name)!.node.isCheap) kept.set(value.name, value);
    void index;
  }
  for (const { value } of inOrder) {
    if (kept.has(value.name)) continue;
    const found = new Map<string, TracedValue>();
    roots(value, found);
    const more = [...found.values()].reduce((sum, root) => sum + bytesOf(root), 0);
    if (more > bytesOf(value)) kept.set(value.name, value);
    else for (const [name, root] of found) kept.set(name, root);
  }
  return [...kept.values()];
}

/**
 * The nodes that some results need, as a graph of their own.
 *
 * @param given names of values that are inputs here though a node makes them
 * @param also values that are results under their own names
 */
function program(
  trace: Trace,
  makers: Makers,
  name: string,
  results: Results,
  given: ReadonlySet<string>,
  also: readonly TracedValue[],
  inputs: readonly TracedValue[] = [],
): Graph {
  const used = new Set<number>();
  const read = new Set<string>();
  const visit = (value: TracedValue) => {
    if (read.has(value.name)) return;
    read.add(value.name);
    const maker = makers.get(value.name);
    if (maker === undefined || given.has(value.name)) return;
    used.add(maker.index);
    for (const operand of maker.node.operands) visit(operand);
  };
  const values = results.map(({ name, value }) => ({ name, value: value as TracedValue }));
  for (const { value } of values) visit(value);
  for (const value of also) visit(value);
  const nodes = [...used].sort((a, b) => a - b).map((index) => trace.nodes[index]!);
  const constants = new Set(nodes.flatMap(({ inputs }) => inputs.filter((name) => trace.constants.has(name))));
  return {
    name,
    inputs: [...trace.inputs, ...inputs].filter((value) => read.has(value.name)).map(graphValue),
    outputs: [...values.map(({ name, value }) => ({ ...graphValue(value), name })), ...also.map(graphValue)],
    constants: [...constants].map((name) => trace.constants.get(name)!),
    nodes: [
      ...nodes,
      // results have names of their own, which the receiver goes by
      ...values.map(({ name, value }) => ({ op: 'Identity', inputs: [value.name], outputs: [name] })),
    ],
  };
}
