/**
 * Questions packed for scoring: each prompt once, its completions behind it as branches, and several questions in one row. A question of
 * five choices is read in little more than its prompt's tokens, where rows of their own would read the prompt five times.
 */

import { groupBy } from '../core/stats.js';
import type { PackedRow } from '../model/network.js';
import type { PaddedBatch, TrainingExample } from './batches.js';

/** Tokens of a packed row, where no question has more: attention's work grows with its square. */
const ROW_TOKENS = 512;
/** Rows are padded to a multiple of this, so that few different shapes occur. */
const ROW_STEP = 64;
/** Packed where it reads at most this share of the tokens that rows of their own would have. */
const WORTH_IT = 0.75;

interface Question {
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
  const questions = [...groupBy([...examples.keys()], key).values()].map((members) => questionOf(examples, members));
  const packed = questions.reduce((sum, { tokens }) => sum + tokens, 0);
  const apart = questions.reduce(
    (sum, { prompt, branches, branchOf }) =>
      sum + branches.reduce((n, { length }) => n + prompt.length + length, branchOf.includes(-1) ? prompt.length : 0),
    0,
  );
  if (packed > WORTH_IT * apart) return undefined;
  questions.sort((a, b) => a.tokens - b.tokens || a.members[0]! - b.members[0]!);
  const rows: Question[][] = [];
  let room = 0;
  for (const question of questions) {
    if (question.tokens > room) {
      rows.push([]);
      room = ROW_TOKENS;
    }
    rows.at(-1)!.push(question);
    room -= question.tokens;
  }
  return rows.map((row) => ({ batch: packedRow(examples, row), members: row.map(({ members }) => members) }));
}

function questionOf(examples: readonly TrainingExample[], members: number[]): Question {
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
  return { members, prompt, branches, branchOf, tokens };
}

function packedRow(examples: readonly TrainingExample[], questions: readonly Question[]): PaddedBatch {
  const used = questions.reduce((sum, { tokens }) => sum + tokens, 0);
  const T = Math.ceil(used / ROW_STEP) * ROW_STEP;
  const ids = new Int32Array(T);
  const packed: PackedRow = {
    question: new Int32Array(T).fill(-1),
    branch: new Int32Array(T).fill(-1),
    position: new Int32Array(T),
  };
  const [rows, targets, owners]: [number[], number[], number[]] = [[], [], []];
  let at = 0;
  const put = (tokens: Int32Array, question: number, branch: number, position: number): number => {
    const from = at;
    ids.set(tokens, from);
    for (let t = 0; t < tokens.length; t++) packed.position[from + t] = position + t;
    at += tokens.length;
    packed.question.fill(question, from, at);
    packed.branch.fill(branch, from, at);
    return from;
  };
  questions.forEach(({ members, prompt, branches, branchOf }, q) => {
    const last = put(prompt, q, -1, 0) + prompt.length - 1;
    const starts = branches.map((branch, b) => put(branch, q, b, prompt.length));
    members.forEach((i, m) => {
      const completion = examples[i]!.ids.subarray(prompt.length);
      completion.forEach((token, t) => {
        rows.push(t === 0 ? last : starts[branchOf[m]!]! + t - 1);
        targets.push(token);
        owners.push(i);
      });
    });
  });
  const [rowsOf, targetsOf, ownersOf] = [rows, targets, owners].map((list) => Int32Array.from(list));
  return { ids, B: 1, T, packed, rows: rowsOf!, targets: targetsOf!, owners: ownersOf! };
}
