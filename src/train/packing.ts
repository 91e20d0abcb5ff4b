/**
 * Questions packed for scoring: what several of them begin with once, such as the examples or the instructions before each, behind it
 * the rest of every prompt, and behind that its completions. A question of five choices is read in little more than its prompt's tokens,
 * and forty questions behind the same ten examples in a fraction of what rows of their own would read.
 */

import { groupBy } from '../core/stats.js';
import type { PackedRow } from '../model/network.js';
import type { PaddedBatch, TrainingExample } from './batches.js';

/** Tokens of a packed row behind what all of it begins with, where no question has more: attention's work grows with its square. */
const ROW_TOKENS = 512;
/** Rows are padded to a multiple of this, so that few different shapes occur. */
const ROW_STEP = 64;
/** Packed where it reads at most this share of the tokens that rows of their own would have. */
const WORTH_IT = 0.75;
/** Prompts that agree in so many tokens are read behind a beginning in common. */
const LEAST_SHARED = 16;

interface Question {
  mixture: number;
  /** indices of its examples */
  members: number[];
  prompt: Int32Array;
  /** completions but for their last token, which is only ever predicted, each once */
  branches: Int32Array[];
  /** the branch that an example goes along; -1 where its completion is one token */
  branchOf: number[];
  tokens: number;
}

/**
 * @param mixtures for each example a number that says which coefficients it has
 * @returns undefined where packing is not worth it. `members` are the examples of each question, by its number in the batch
 */
export function packedBatches(
  examples: readonly TrainingExample[],
  mixtures: Int32Array,
): Array<{ batch: PaddedBatch; members: number[][] }> | undefined {
  const key = (i: number) => {
    const { ids, promptLength } = examples[i]!;
    return `${mixtures[i]}:${ids.subarray(0, promptLength).join()}`;
  };
  const questions = [...groupBy([...examples.keys()], key).values()].map((members) =>
    questionOf(examples, members, mixtures[members[0]!]!),
  );
  const apart = questions.reduce(
    (sum, { prompt, branches, branchOf }) =>
      sum + branches.reduce((n, { length }) => n + prompt.length + length, branchOf.includes(-1) ? prompt.length : 0),
    0,
  );
  const rows = rowsOf(questions);
  if (rows.reduce((sum, { used }) => sum + used, 0) > WORTH_IT * apart) return undefined;
  return rows.map((row) => ({
    batch: packedRow(examples, row),
    members: row.questions.map(({ members }) => members),
  }));
}

function questionOf(examples: readonly TrainingExample[], members: number[], mixture: number): Question {
  const { ids, promptLength } = examples[members[0]!]!;
  const numbers = new Map<string, number>();
  const branches: Int32Array[] = [];
  const branchOf = members.map((i) => {
    const branch = examples[i]!.ids.subarray(promptLength, -1);
    if (branch.length === 0) return -1;
    const name = branch.join();
    if (!numbers.has(name)) {
      numbers.set(name, branches.length);
      branches.push(branch);
    }
    return numbers.get(name)!;
  });
  const prompt = ids.subarray(0, promptLength);
  const tokens = branches.reduce((sum, { length }) => sum + length, promptLength);
  return { mixture, members, prompt, branches, branchOf, tokens };
}

/** Questions of one row, and how many tokens it reads of them. */
interface Row {
  questions: Question[];
  used: number;
}

/**
 * Questions with a beginning in common stand together, in the order of their prompts, so that what each shares with the one before it is
 * all that it shares with any. A row that is all of one beginning has its room behind that.
 */
function rowsOf(questions: readonly Question[]): Row[] {
  const beginning = ({ mixture, prompt, members }: Question) =>
    prompt.length < LEAST_SHARED ? `alone ${members[0]}` : `${mixture}:${prompt.subarray(0, LEAST_SHARED).join()}`;
  const families = [...groupBy(questions, beginning).values()].map((family) => family.sort(byPrompt));
  const size = (family: readonly Question[]) => Math.max(...family.map(({ tokens }) => tokens));
  families.sort((a, b) => size(a) - size(b) || a[0]!.members[0]! - b[0]!.members[0]!);
  const rows: Row[] = [];
  for (const family of families) {
    for (const question of family) {
      const row = rows.at(-1);
      const used = row && row.used + question.tokens - shared(row.questions.at(-1)!, question);
      if (used === undefined || used > ROW_TOKENS + shared(row!.questions[0]!, question)) {
        rows.push({ questions: [question], used: question.tokens });
      } else {
        row!.questions.push(question);
        row!.used = used;
      }
    }
  }
  return rows;
}

/** Tokens by number, a prompt before those that go on from it. */
function byPrompt(a: Question, b: Question): number {
  const at = agreeing(a.prompt, b.prompt);
  return (a.prompt[at] ?? -1) - (b.prompt[at] ?? -1);
}

/** With how many same tokens two prompts begin. */
function agreeing(a: Int32Array, b: Int32Array): number {
  const most = Math.min(a.length, b.length);
  let at = 0;
  while (at < most && a[at] === b[at]) at++;
  return at;
}

function packedRow(examples: readonly TrainingExample[], { questions, used }: Row): PaddedBatch {
  const T = Math.ceil(used / ROW_STEP) * ROW_STEP;
  const ids = new Int32Array(T);
  const segments: Array<{ start: number; end: number; parent: number | null }> = [];
  const packed: PackedRow = { question: new Int32Array(T).fill(-1), position: new Int32Array(T), segments };
  const [rows, targets, owners]: [number[], number[], number[]] = [[], [], []];
  /** @returns the number of the segment */
  const put = (tokens: Int32Array, question: number, parent: number | null, position: number): number => {
    const start = segments.at(-1)?.end ?? 0;
    const end = start + tokens.length;
    ids.set(tokens, start);
    for (let t = 0; t < tokens.length; t++) packed.position[start + t] = position + t;
    packed.question.fill(question, start, end);
    return segments.push({ start, end, parent }) - 1;
  };
  const complete = ({ members, prompt, branches, branchOf }: Question, q: number, parent: number) => {
    const last = segments[parent]!.end - 1;
    const starts = branches.map((branch) => segments[put(branch, q, parent, prompt.length)]!.start);
    members.forEach((i, m) => {
      const completion = examples[i]!.ids.subarray(prompt.length);
      completion.forEach((token, t) => {
        rows.push(t === 0 ? last : starts[branchOf[m]!]! + t - 1);
        targets.push(token);
        owners.push(i);
      });
    });
  };
  /** Questions from first to last (exclusive), in the order of their prompts, which agree in `depth` tokens, those of `parent` and before. */
  const grow = (first: number, last: number, parent: number | null, depth: number): void => {
    const { prompt } = questions[first]!;
    const common = last - first === 1 ? prompt.length : agreeing(prompt, questions[last - 1]!.prompt);
    const at = common > depth ? put(prompt.subarray(depth, common), first, parent, depth) : parent;
    let from = first;
    while (from < last) {
      const next = questions[from]!.prompt[common];
      let to = from + 1;
      while (to < last && next !== undefined && questions[to]!.prompt[common] === next) to++;
      if (next === undefined) complete(questions[from]!, from, at!);
      else grow(from, to, at, common);
      from = to;
    }
  };
  let from = 0;
  while (from < questions.length) {
    let to = from + 1;
    while (to < questions.length && shared(questions[to - 1]!, questions[to]!) > 0) to++;
    grow(from, to, null, 0);
    from = to;
  }
  const [rowsOf, targetsOf, ownersOf] = [rows, targets, owners].map((list) => Int32Array.from(list));
  return { ids, B: 1, T, packed, rows: rowsOf!, targets: targetsOf!, owners: ownersOf! };
}

/** Tokens that two questions of a row, one after the other, begin with and that are read once. */
function shared(a: Question, b: Question): number {
  const common = a.mixture === b.mixture ? agreeing(a.prompt, b.prompt) : 0;
  return common < LEAST_SHARED ? 0 : common;
}
