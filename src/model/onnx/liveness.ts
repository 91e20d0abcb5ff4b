/** How much a program holds at once beside what it is given and what it gives: its values, freed after their last use. */

import type { Graph } from '../../onnx/encode.js';
import type { TracedValue } from './trace.js';
import { bytesOf } from './trace.js';

/**
 * @param values of the trace, by name
 * @returns bytes at the fullest moment, running the nodes in their order
 */
export function transientBytes({ inputs, outputs, nodes }: Graph, values: ReadonlyMap<string, TracedValue>): number {
  const outside = new Set([...inputs, ...outputs].map(({ name }) => name));
  // a result that is handed out under another name lies at its receiver's from the start
  for (const {
    op,
    inputs: [from],
  } of nodes)
    if (op === 'Identity') outside.add(from!);
  const lastUse = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const name of node.inputs) lastUse.set(name, i);
  });
  let live = 0;
  let most = 0;
  const bytes = (name: string) => {
    const value = values.get(name);
    return value === undefined || outside.has(name) ? 0 : bytesOf(value);
  };
  nodes.forEach((node, i) => {
    for (const name of node.outputs) live += bytes(name);
    most = Math.max(most, live);
    for (const name of new Set(node.inputs)) if (lastUse.get(name) === i) live -= bytes(name);
    for (const name of node.outputs) if (!lastUse.has(name)) live -= bytes(name);
  });
  return most;
}
