/** The embedded device model and its pool's adapters as GGUF files, made by our own export; and answers of an engine, whole. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import {
  type AdapterScale,
  type Engine,
  type GenerateEvent,
  type GenerateRequest,
  Query,
  type Usage,
} from '../../src/engine/types.js';
import { exportAdapterGguf } from '../../src/gguf/adapter.js';
import { exportModelGguf } from '../../src/gguf/model.js';
import { temporaryRoot } from './files.js';
import type { Asked } from './generate.js';

const ROOT = join(import.meta.dirname, '..', '..');
export const EDGE = join(ROOT, 'models', 'crayon-edge');
export const poolAdapter = (n: number): string => join(ROOT, 'models', 'crayon-edge-pool', 'adapters', String(n));

export interface EdgeGguf {
  /** where everything lies; removed with the test file */
  dir: string;
  /** the device model in F32 */
  model: string;
  /** base LoRA n of the pool, made when first asked for */
  adapter(n: number, scale?: number): AdapterScale;
}

/** Call once at the top of a test file. */
export function edgeGguf(): EdgeGguf {
  const dir = temporaryRoot();
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const model = join(dir, 'crayon-edge.gguf');
  exportModelGguf({ model: EDGE, out: model, type: 'F32' });
  const made = new Set<number>();
  return {
    dir,
    model,
    adapter(n, scale = 1) {
      const path = join(dir, `${n}.lora.gguf`);
      if (!made.has(n)) exportAdapterGguf({ adapter: poolAdapter(n), base: EDGE, out: path });
      made.add(n);
      return { id: `pool-${n}`, path, scale };
    },
  };
}

export type TokenEvent = Extract<GenerateEvent, { type: 'token' }>;

export interface WholeAnswer {
  text: string;
  tokens: TokenEvent[];
  finishReason: string;
  usage: Usage;
  events: GenerateEvent[];
}

/** A greedy request of 16 tokens, unless said otherwise. */
export function request(text: string, { prompt, ...over }: Asked = {}): GenerateRequest {
  return {
    query: new Query(prompt ?? { kind: 'text', text }),
    maxTokens: 16,
    temperature: 0,
    topP: 1,
    seed: 1,
    stop: [],
    topLogprobs: null,
    signal: new AbortController().signal,
    ...over,
  };
}

export async function wholeAnswer(engine: Engine, asked: GenerateRequest): Promise<WholeAnswer> {
  const events: GenerateEvent[] = [];
  for await (const event of engine.generate(asked)) events.push(event);
  const end = events.at(-1);
  if (end?.type !== 'end') throw new Error('the answer has no end');
  const tokens = events.filter((event) => event.type === 'token');
  const text = tokens.map((event) => event.text).join('') + end.text;
  return { text, tokens, finishReason: end.finishReason, usage: end.usage, events };
}
