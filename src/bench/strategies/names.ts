/** Names of the strategies for people. One that is not listed keeps its own name. */

const TITLES: Readonly<Record<string, string>> = {
  base: 'Base model',
  'in-context': 'Base, examples in context',
  uniform: 'Uniform blend',
  random: 'Random blend',
  nearest: 'Nearest base LoRA',
  'one-lora': 'One LoRA, same rank',
  'one-lora-total': 'One LoRA, same total size',
  'few-shot-lora': 'LoRA on the k examples',
  lorahub: 'LoraHub',
  'lorahub-delta': 'LoraHub on exact sums',
  crayon: 'Crayon',
  'per-query': 'Crayon, per query',
  server: 'Server only',
  'edge-live': 'Device only, over HTTP',
  'server-live': 'Server only, over HTTP',
};

export function strategyTitle(strategy: string): string {
  return Object.hasOwn(TITLES, strategy) ? TITLES[strategy]! : strategy;
}

/** What Crayon is measured against: one LoRA trained on everything, in any of its sizes, and LoraHub. */
export function isReference(strategy: string): boolean {
  return strategy === 'lorahub' || strategy === 'one-lora' || strategy.startsWith('one-lora-');
}

/** One LoRA before LoraHub, each in the order of its sizes. */
export function compareReferences(a: string, b: string): number {
  const order = Object.keys(TITLES);
  const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return place(a) - place(b) || (a < b ? -1 : 1);
}

/** The strategy of the larger model alone. */
export const SERVER = 'server';

/** Strategies whose hybrid curves are drawn when their answers carry routing signals, the first being the headline. */
export const EDGES: readonly string[] = ['crayon', 'per-query', 'base'];

/** Drawn with emphasis. */
export function isCrayon(strategy: string): boolean {
  return strategy === 'crayon' || strategy === 'per-query';
}
