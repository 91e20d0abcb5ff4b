/**
 * One llama.cpp context for all: sequences under different sets of adapters take turns in it, those under the same set are computed
 * in common batches. What waits is decoded in this order:
 *
 * - tokens of answers and blocks of prompts take turns, so that no answer stands still while a prompt is read, and no question
 *   waits until the answers before it are done;
 * - blocks in the order in which they came, each in a batch of its own: a prompt then rounds as it does alone;
 * - tokens by set: all that wait under the set which is applied, for a few rounds, and then under the one that has waited longest. After
 *   a change of adapters llama.cpp lays its graph out anew, which costs about half a token's time.
 */

import type { LlamaContext, LlamaModel } from 'node-llama-cpp';
import { eventLoopTurn } from '../../core/long-work.js';
import {
  type AddonContext,
  type AddonSampler,
  greedySampler,
  type HeldLora,
  insideOf,
  type Sampled,
  type ToldLogits,
} from './inside.js';

/** Adapters as llama.cpp has them in memory. */
export interface LoadedSet {
  /** equal for equal sets */
  key: string;
  loras: readonly HeldLora[];
  scales: readonly number[];
}

export const NO_ADAPTERS: LoadedSet = { key: '', loras: [], scales: [] };

/** What is asked for after a token. */
export interface Asked {
  /** its index among the tokens read */
  at: number;
  logits: ToldLogits;
  /** whether the sum is told (default), which costs as much as the choice of the token; else only where a divergence is likely */
  total?: boolean;
  /** hears what was told while more can be asked of the same distribution; what it throws fails the work */
  decide?: (told: Told, more: AskMore) => Promise<void>;
}

export type AskMore = (logits: ToldLogits) => Promise<Told>;

/** Of the token after it. */
export interface Told {
  /** the likeliest */
  token: number;
  /** as was asked for, the largest first */
  logits: ReadonlyMap<number, number>;
  /** sum of exp(logit - largest logit) over the vocabulary */
  total: number | undefined;
}

interface Work {
  sequence: Sequence;
  ids: readonly number[];
  asked: readonly Asked[];
  resolve: (told: Told[]) => void;
  reject: (error: unknown) => void;
}

/** Rounds of tokens under one set while others wait: a change of adapters then costs an eighth of the time. */
const ROUNDS = 4;

export interface DecoderOptions {
  sequences: number;
  /** to read prompts with, and to answer with */
  threads: { prompt: number; answer: number };
}

export class Decoder {
  readonly sequences: readonly Sequence[];
  readonly #model: LlamaModel;
  readonly #create: () => Promise<LlamaContext>;
  readonly #options: DecoderOptions;
  /** `heads` lists the likeliest */
  #opened: { context: LlamaContext; addon: AddonContext; sampler: AddonSampler; heads: AddonSampler };
  /** in the order in which it came */
  #waiting: Work[] = [];
  /** runs between two decodes */
  #between: Array<() => Promise<void>> = [];
  #running = false;
  #applied = NO_ADAPTERS.key;
  /** since the applied set was applied */
  #rounds = 0;
  #wasPrompt = false;

  private constructor(
    model: LlamaModel,
    create: () => Promise<LlamaContext>,
    context: LlamaContext,
    options: DecoderOptions,
  ) {
    this.#model = model;
    this.#create = create;
    this.#options = options;
    this.#opened = this.#open(context);
    this.sequences = Array.from({ length: options.sequences }, (_, id) => new Sequence(this, id));
  }

  /** @param create makes a context of so many sequences */
  static async open(model: LlamaModel, create: () => Promise<LlamaContext>, options: DecoderOptions): Promise<Decoder> {
    return new Decoder(model, create, await create(), options);
  }

  #open(context: LlamaContext) {
    return {
      context,
      addon: insideOf(context),
      sampler: greedySampler(this.#model),
      heads: greedySampler(this.#model),
    };
  }

  /** A context without anything in it, in place of one whose cells hold what is not a number. All sequences are empty then. */
  renew(): Promise<void> {
    return this.alone(async () => {
      this.#opened.sampler.dispose();
      this.#opened.heads.dispose();
      await this.#opened.context.dispose();
      this.#opened = this.#open(await this.#create());
      this.#applied = NO_ADAPTERS.key;
      for (const sequence of this.sequences) {
        sequence.tokens.length = 0;
        sequence.isDamaged = false;
      }
    });
  }

  /**
   * Runs something while nothing is decoded: what changes the context or the model's LoRAs, of which llama.cpp's list has no lock.
   *
   * @param work takes the adapters off that are applied, where it has to
   */
  alone<T>(work: (takeOff: () => void) => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#between.push(async () => {
        try {
          resolve(await work(() => this.#apply(NO_ADAPTERS)));
        } catch (error) {
          reject(error);
        }
      });
      this.#wake();
    });
  }

  /** Forgets what a sequence holds from `start` on, or all of it where the cache does not allow that. */
  erase(sequence: Sequence, start: number): Promise<void> {
    return this.alone(() => {
      const { addon } = this.#opened;
      const { id, tokens } = sequence;
      if (start >= tokens.length && !sequence.isDamaged) return;
      // A sliding window forgets: of what is kept, the last tokens must still be there in every layer.
      const window = this.#model.fileInsights.swaSize ?? 0;
      const first = addon.getSequenceKvCacheMinPosition(id);
      const isThere = !sequence.isDamaged && start > 0 && (window === 0 || first <= Math.max(0, start - window));
      if (isThere && addon.removeTokenCellsFromSequence(id, start, tokens.length)) tokens.length = start;
      else {
        addon.disposeSequence(id);
        tokens.length = 0;
        sequence.isDamaged = false;
      }
    });
  }

  evaluate(sequence: Sequence, ids: readonly number[], asked: readonly Asked[]): Promise<Told[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ sequence, ids, asked, resolve, reject });
      this.#wake();
    });
  }

  /** After what is being computed. */
  close(): Promise<void> {
    return this.alone(async () => {
      this.#opened.sampler.dispose();
      this.#opened.heads.dispose();
      await this.#opened.context.dispose();
    });
  }

  #wake(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    for (;;) {
      await eventLoopTurn(); // what comes in together is computed together
      const between = this.#between.shift();
      if (between !== undefined) await between();
      else if (this.#waiting.length > 0) await this.#decode(this.#next());
      else break;
    }
    this.#running = false;
    if (this.#between.length + this.#waiting.length > 0) this.#wake();
  }

  /** What is decoded next, taken from what waits: one prompt's block, or tokens under one set. */
  #next(): Work[] {
    const isBlock = ({ ids }: Work) => ids.length > 1;
    const block = this.#waiting.find(isBlock);
    const tokens = this.#waiting.filter((work) => !isBlock(work));
    const isPrompt = block !== undefined && (tokens.length === 0 || !this.#wasPrompt);
    this.#wasPrompt = isPrompt;
    const chosen = isPrompt ? [block] : this.#turn(tokens);
    this.#waiting = this.#waiting.filter((work) => !chosen.includes(work));
    return chosen;
  }

  #turn(tokens: readonly Work[]): Work[] {
    const under = (key: string) => tokens.filter(({ sequence }) => sequence.set.key === key);
    const same = under(this.#applied);
    const oldest = tokens.find(({ sequence }) => sequence.set.key !== this.#applied);
    if (same.length > 0 && (oldest === undefined || this.#rounds < ROUNDS)) return same;
    return under(oldest!.sequence.set.key);
  }

  #apply({ key, loras, scales }: LoadedSet): void {
    if (key === this.#applied) return;
    this.#opened.addon.setLoras(loras, scales);
    this.#applied = key;
    this.#rounds = 0;
  }

  /** All of one set. */
  async #decode(works: readonly Work[]): Promise<void> {
    const { addon } = this.#opened;
    try {
      this.#apply(works[0]!.sequence.set);
      this.#rounds++;
      const { prompt, answer } = this.#options.threads;
      addon.setThreads(works[0]!.ids.length > 1 ? prompt : answer);
      addon.initBatch(works.reduce((sum, { ids }) => sum + ids.length, 0));
      const places = works.map(({ sequence, ids, asked }) => {
        const outputs = Uint32Array.from(asked, ({ at }) => at);
        return addon.addToBatch(sequence.id, sequence.tokens.length, Uint32Array.from(ids), outputs);
      });
      await addon.decodeBatch();
      for (const { sequence, ids } of works) sequence.tokens.push(...ids);
      for (const [w, { asked, resolve, reject }] of works.entries()) {
        try {
          const told: Told[] = [];
          for (const [i, { logits, total = true, decide }] of asked.entries()) {
            const place = places[w]![i]!;
            const first = await (total ? this.#tell(place, logits) : this.#token(place));
            await decide?.(first, (wanted) => this.#tell(place, wanted, first));
            told.push(first);
          }
          resolve(told);
        } catch (error) {
          reject(error);
        }
      }
    } catch (error) {
      for (const { sequence, reject } of works) {
        sequence.isDamaged = true;
        reject(error);
      }
    }
  }

  /**
   * The binding sorts the whole vocabulary for any list (50 to 100 ms for 262,144 tokens), llama.cpp's top_k as much as is listed (1 ms
   * for 1,024); but then it sums up no more than that.
   *
   * @param known what was told of the same distribution: its sum is not made again
   */
  async #tell(place: number, logits: ToldLogits, known?: Told): Promise<Told> {
    const { addon, sampler, heads } = this.#opened;
    const [named, max, min, chosen, likeliest] = typeof logits === 'boolean' ? [] : logits;
    if (!likeliest) return toldOf(await addon.sampleToken(place, sampler, false, false, logits, true));
    const rest: ToldLogits = named!.length > 0 || chosen! ? [named!, max!, min!, chosen!, 0] : false;
    const isKnown = known !== undefined && rest === false;
    const model = isKnown
      ? { ...known, logits: new Map<number, number>() }
      : toldOf(await addon.sampleToken(place, sampler, false, false, rest, true));
    if (!Number.isFinite(model.total)) return model; // nothing that could be put in order
    heads.applyConfig({ topK: likeliest, temperature: 1, seed: 0 });
    const head = await addon.sampleToken(place, heads, false, false, [[], false, false, false, likeliest], false);
    return { ...model, logits: new Map([...toldOf(head).logits, ...model.logits]) };
  }

  /**
   * The likeliest token alone. Of logits that are NaN, or all equal, llama.cpp takes the first token: where it is the first, the sum is
   * told too, which shows whether they are.
   */
  async #token(place: number): Promise<Told> {
    const { addon, sampler } = this.#opened;
    const told = toldOf(await addon.sampleToken(place, sampler, false, false, false, false));
    return told.token === 0 ? this.#tell(place, false) : told;
  }
}

function toldOf([token, , , logits = [], total]: Sampled): Told {
  if (typeof token !== 'number' || token < 0) throw new Error('llama.cpp gave no next token');
  const pairs = Array.from({ length: logits.length / 2 }, (_, i): [number, number] => [
    logits[2 * i]!,
    logits[2 * i + 1]!,
  ]);
  return { token, logits: new Map(pairs), total };
}

/** What a context has read of one text, under one set of adapters. */
export class Sequence {
  readonly id: number;
  /** that it holds; to be read only */
  readonly tokens: number[] = [];
  /** a computation failed: what the cache holds of it is not known */
  isDamaged = false;
  readonly #decoder: Decoder;
  #set = NO_ADAPTERS;

  constructor(decoder: Decoder, id: number) {
    this.#decoder = decoder;
    this.id = id;
  }

  get set(): LoadedSet {
    return this.#set;
  }

  /** From now on under these adapters: what was read under others is forgotten. */
  async use(set: LoadedSet): Promise<void> {
    if (set.key !== this.#set.key) await this.erase(0);
    this.#set = set;
  }

  /** Forgets what it holds from `start` on, or more. */
  erase(start: number): Promise<void> {
    return this.#decoder.erase(this, start);
  }

  /** Reads tokens, at most a batch, and tells what is asked after some of them; one call at a time. */
  evaluate(ids: readonly number[], asked: readonly Asked[] = []): Promise<Told[]> {
    return this.#decoder.evaluate(this, ids, asked);
  }
}
