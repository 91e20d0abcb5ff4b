/** Calibrated routing scores on made-up answers where it is known what each rule can tell apart, and that none sees its label. */

import { describe, expect, it } from 'vitest';
import {
  FOLDS,
  heldOutScores,
  promptFolds,
  type RuleKind,
  type RuleParts,
  type UserAnswers,
} from '../../../src/bench/report/held-out-rules.js';
import { routingScores } from '../../../src/bench/report/routing-scores.js';
import type { AnswerRecord } from '../../../src/bench/types.js';
import { fitLogistic, logisticProbability } from '../../../src/core/logistic.js';
import { createRandom } from '../../../src/core/random.js';
import { mean } from '../../../src/core/stats.js';
import { hybridCurve } from '../../../src/routing/calibrate/hybrid-curve.js';
import { reliability } from '../../../src/routing/calibrate/reliability.js';
import { answer } from '../../helpers/bench-run.js';

const KINDS: RuleKind[] = ['all-users', 'per-user', 'user', 'other-users'];

interface Made {
  user: number;
  confidence: number;
  scope?: number;
  clusters?: number[];
  right: boolean;
  /** number of the prompt; by default each has its own */
  prompt?: number;
}

function made(list: Made[]): UserAnswers {
  return {
    answers: list.map(({ right, prompt, user: _, ...told }, i) => answer('t', prompt ?? i, right ? 1 : 0, told)),
    users: list.map(({ user }) => user),
  };
}

/** With a server that is always right, so that the oracle sends what the device gets wrong and nothing else. */
function apgr(answers: readonly AnswerRecord[], scores: Float64Array) {
  const curve = hybridCurve(answers.map(({ correct }, i) => ({ edge: correct, server: 1, score: scores[i]! })));
  return { routed: curve.apgr!, oracle: curve.oracleApgr! };
}

/** Two users; an answer is right where its probability exceeds its scope, with room between: neither says it alone. */
const together = made(
  [0, 1].flatMap((user) =>
    Array.from({ length: 144 }, (_, i) => ({ p: 0.05 + 0.08 * (i % 12), s: 0.05 + 0.08 * Math.floor(i / 12) }))
      .filter(({ p, s }) => Math.abs(p - s) > 0.1)
      .map(({ p, s }) => ({ user, confidence: Math.log(p), scope: 100 * s, right: p > s })),
  ),
);

describe('a calibrated rule', () => {
  it('separates exactly what only confidence and scope together separate', () => {
    const { answers } = together;
    const scores = heldOutScores(together, 'all-users', 0)!;
    const of = (right: number) => [...scores].filter((_, i) => answers[i]!.correct === right);
    expect(Math.max(...of(0))).toBeLessThan(Math.min(...of(1)));
    const { routed, oracle } = apgr(answers, scores);
    expect(routed).toBeCloseTo(oracle, 12);
    for (const signal of ['confidence', 'scope', 'both'] as const) {
      expect(apgr(answers, routingScores(answers, signal)!).routed).toBeLessThan(oracle - 0.03);
    }
  });

  it('can bend: answers of middling confidence may be the wrong ones', () => {
    const groups = [
      { centre: -9, right: true },
      { centre: -0.9, right: false },
      { centre: -0.1, right: true },
    ];
    const bent = made(
      groups.flatMap(({ centre, right }) =>
        Array.from({ length: 60 }, (_, i) => ({ user: i % 2, confidence: centre * (1 + i / 600), right })),
      ),
    );
    const { routed, oracle } = apgr(bent.answers, heldOutScores(bent, 'all-users', 0)!);
    expect(routed).toBeCloseTo(oracle, 12);
    expect(apgr(bent.answers, routingScores(bent.answers, 'confidence')!).routed).toBeLessThan(oracle - 0.2);
  });

  it('with an intercept for each user knows whose answers are wrong; one rule does not', () => {
    // The same confidences for both; of the first all are right, of the second none.
    const unlike = made(
      [0, 1].flatMap((user) =>
        Array.from({ length: 50 }, (_, i) => ({ user, confidence: -1 - i / 50, right: user === 0 })),
      ),
    );
    const of = (kind: RuleKind) => apgr(unlike.answers, heldOutScores(unlike, kind, 0)!);
    expect(of('per-user').routed).toBeCloseTo(of('per-user').oracle, 12);
    expect(of('user').routed).toBeCloseTo(of('user').oracle, 12);
    expect(of('all-users').routed).toBeLessThan(0.55);
    // What one user teaches is the opposite of the other: everything right goes to the server first.
    expect(of('other-users').routed).toBeCloseTo(1 - of('user').oracle, 12);
  });

  it('without scopes is one of confidence', () => {
    const plain = { ...together, answers: together.answers.map(({ scope: _, ...rest }) => rest) };
    const scores = heldOutScores(plain, 'all-users', 0)!;
    expect(scores.every((p) => p > 0 && p < 1)).toBe(true);
    expect(scores).not.toEqual(heldOutScores(together, 'all-users', 0));
  });

  it('is the same for the same seed, and another for another', { tags: 'slow' }, () => {
    for (const kind of ['all-users', 'per-user', 'user'] as const) {
      expect(heldOutScores(together, kind, 4)).toEqual(heldOutScores(together, kind, 4));
      expect(heldOutScores(together, kind, 5)).not.toEqual(heldOutScores(together, kind, 4));
    }
    expect(heldOutScores(together, 'other-users', 5)).toEqual(heldOutScores(together, 'other-users', 4));
  });

  it.each([
    ['an answer has no confidence', { ...together, answers: together.answers.with(3, answer('t', 3, 1)) }, KINDS],
    [
      'there are fewer prompts than folds',
      made(Array.from({ length: 40 }, (_, i) => ({ user: i % 2, confidence: -i, right: i > 20, prompt: i % 9 }))),
      KINDS,
    ],
    [
      'there is one user only',
      { ...together, users: together.users.map(() => 0) },
      ['per-user', 'user', 'other-users'] as RuleKind[],
    ],
  ])('is absent where %s', (_, of, kinds) => {
    for (const kind of kinds) expect(heldOutScores(of, kind, 0)).toBeNull();
  });
});

describe('the rates of clusters', () => {
  /** Three users; each asks of two of three clusters. The device fails in the last one, whoever asks, and is as sure as elsewhere. */
  const random = createRandom(5);
  const list = [0, 1, 2].flatMap((user) =>
    Array.from({ length: 80 }, (_, i): Made => {
      const cluster = (user + (i % 2)) % 3;
      const clusters = [0, 1, 2].map((n) => (n === cluster ? 0.9 : 0.05));
      return { user, clusters, confidence: -random.uniform(), right: random.uniform() < (cluster === 2 ? 0.1 : 0.9) };
    }),
  );
  const of = made(list);
  const apgrOf = (...how: [RuleKind, number, RuleParts?]) => apgr(of.answers, heldOutScores(of, ...how)!).routed;

  it('find the cluster in which the device fails, which no signal of the answer shows', () => {
    expect(apgrOf('all-users', 0, 'rates')).toBeGreaterThan(0.68);
    expect(apgrOf('all-users', 0, 'both')).toBeGreaterThan(0.68);
    expect(apgrOf('all-users', 0)).toBeLessThan(0.6);
  });

  it('carry to a user whom they have not seen', () => {
    expect(apgrOf('other-users', 0, 'rates')).toBeGreaterThan(0.68);
    expect(apgrOf('other-users', 0, 'both')).toBeGreaterThan(0.68);
    expect(apgrOf('other-users', 0)).toBeLessThan(0.6);
  });

  it.each(['rates', 'both'] as const)('%s: no label of a user reaches its own score', (parts) => {
    const flipped = made(list.with(7, { ...list[7]!, right: !list[7]!.right }));
    const [before, after] = [of, flipped].map((one) => heldOutScores(one, 'other-users', 0, parts)!);
    expect(after!.subarray(0, 80)).toEqual(before!.subarray(0, 80));
    expect([...after!.subarray(80)].some((p, j) => p !== before![80 + j])).toBe(true);
  });

  it('are not there for runs of earlier versions, which kept no gates', () => {
    const earlier = made(list.map(({ clusters: _, ...rest }) => rest));
    expect(heldOutScores(earlier, 'all-users', 0, 'rates')).toBe(null);
    const partly = made(list.map(({ clusters, ...rest }, i) => (i === 3 ? rest : { ...rest, clusters })));
    expect(heldOutScores(partly, 'all-users', 0, 'both')).toBe(null);
  });
});

describe('the isotonic map', () => {
  it('bends where a logistic rule cannot, and keeps the order', () => {
    const random = createRandom(9);
    // right in 3 of 10 below a log-probability of -1, in 9 of 10 above it, and nothing between
    const of = made(
      Array.from({ length: 3000 }, () => {
        const confidence = -2 * random.uniform();
        return { user: 0, confidence, right: random.uniform() < (confidence < -1 ? 0.3 : 0.9) };
      }),
    );
    const labels = of.answers.map(({ correct }) => correct);
    const errors = (['signals', 'mapped'] as const).map((parts) => {
      const found = reliability(heldOutScores(of, 'all-users', 0, parts)!, labels, { seed: 0, resamples: 2 });
      return found.ece.estimate;
    });
    expect(errors[0]).toBeGreaterThan(0.05);
    expect(errors[1]).toBeLessThan(0.035);
  });
});

describe('what is asked in place of the answers', () => {
  it('is scored by the rules that were fitted on the answers', () => {
    const of = made(
      Array.from({ length: 60 }, (_, i) => ({ user: i % 2, confidence: -(i % 10) / 5, right: i % 10 < 5 })),
    );
    for (const kind of KINDS) {
      const scores = heldOutScores(of, kind, 1)!;
      expect(heldOutScores({ ...of, asked: of.answers }, kind, 1)).toEqual(scores);
      const sure = heldOutScores({ ...of, asked: of.answers.map(() => ({ confidence: 0 })) }, kind, 1)!;
      if (kind === 'user') expect(sure).toEqual(scores);
      else expect(mean(sure)).toBeGreaterThan(mean(scores) + 0.2);
    }
    expect(heldOutScores({ ...of, asked: of.answers.map(() => ({})) }, 'all-users', 1)).toBeNull();
  });

  it('needs no more than its gate where the rule is of cluster rates', () => {
    const gate = (i: number) => (i % 2 === 0 ? [0.9, 0.1] : [0.1, 0.9]);
    const of = made(
      Array.from({ length: 60 }, (_, i) => ({ user: 0, confidence: -1, clusters: gate(i), right: i % 2 === 0 })),
    );
    const asked = of.answers.map((_, i) => ({ clusters: gate(i + 1) }));
    const [before, after] = [of, { ...of, asked }].map((one) => heldOutScores(one, 'all-users', 1, 'rates')!);
    for (const i of [0, 1, 2, 3]) expect(after![i]! < before![i]!).toBe(i % 2 === 0);
    expect(heldOutScores({ ...of, asked }, 'all-users', 1, 'both')).toBeNull();
  });
});

describe('the folds', () => {
  it('keep a prompt together, whoever answers it, and have as many of each user as they can', () => {
    // 43 prompts of the first user, 27 of them the second's too, with 8 of its own
    const list = [
      ...Array.from({ length: 43 }, (_, i) => ({ user: 0, prompt: i })),
      ...Array.from({ length: 35 }, (_, i) => ({ user: 1, prompt: i + 16 })),
    ];
    const of = made(list.map((own) => ({ ...own, confidence: -1, right: true })));
    const folds = promptFolds(of, 1)!;
    expect(new Set(folds)).toEqual(new Set(Array.from({ length: FOLDS }, (_, k) => k)));
    for (const [i, { prompt }] of list.entries()) {
      const twin = list.findIndex((other) => other.prompt === prompt);
      expect(folds[i]).toBe(folds[twin]);
    }
    const sizes = Array.from({ length: FOLDS }, (_, k) => folds.slice(0, 43).filter((f) => f === k).length);
    expect(sizes.toSorted()).toEqual([4, 4, 4, 4, 4, 4, 4, 5, 5, 5]);
  });
});

describe('no label reaches its own score', () => {
  const random = createRandom(2);
  // Two users share half of their prompts.
  const list = Array.from(
    { length: 120 },
    (_, i): Made => ({
      user: i < 60 ? 0 : 1,
      confidence: -2 * random.uniform(),
      scope: 100 * random.uniform(),
      right: random.uniform() < 0.6,
      prompt: i < 60 ? i : i - 30,
    }),
  );
  const flip = (i: number) => made(list.with(i, { ...list[i]!, right: !list[i]!.right }));

  it.each(['all-users', 'per-user', 'user'] as const)('%s: nor that of another answer to its prompt', (kind) => {
    const before = heldOutScores(made(list), kind, 0)!;
    const folds = promptFolds(made(list), 0)!;
    for (const i of [0, 40, 75, 119]) {
      const after = heldOutScores(flip(i), kind, 0)!;
      const changed = folds.map((_, j) => before[j] !== after[j]);
      // Bit for bit: the fold that holds it knows nothing, every other does.
      expect(folds.filter((fold, j) => changed[j] && fold === folds[i])).toEqual([]);
      expect(changed.filter(Boolean).length).toBeGreaterThan(50);
      const twins = list.flatMap(({ prompt }, j) => (prompt === list[i]!.prompt ? [j] : []));
      expect(twins.every((j) => !changed[j])).toBe(true);
    }
  });

  it('mapped: nor by the map', () => {
    const [before, after] = [made(list), flip(40)].map((of) => heldOutScores(of, 'all-users', 0, 'mapped')!);
    const folds = promptFolds(made(list), 0)!;
    const changed = folds.map((_, j) => before![j] !== after![j]);
    expect(folds.filter((fold, j) => changed[j] && fold === folds[40])).toEqual([]);
    expect(changed.filter(Boolean).length).toBeGreaterThan(50);
  });

  it('other-users: nor any of its user', () => {
    const before = heldOutScores(made(list), 'other-users', 0)!;
    const after = heldOutScores(flip(7), 'other-users', 0)!;
    expect(after.subarray(0, 60)).toEqual(before.subarray(0, 60));
    expect([...after.subarray(60)].every((p, j) => p !== before[60 + j])).toBe(true);
  });

  it('with shuffled labels every rule routes as chance does, where a rule that saw them would not', {
    tags: 'slow',
  }, () => {
    const found: Record<string, number[]> = { 'all-users': [], 'per-user': [], user: [], leaky: [] };
    for (let t = 0; t < 20; t++) {
      const draw = createRandom(t, 'null');
      const shuffled = made(
        Array.from({ length: 320 }, (_, i) => ({
          user: i % 16,
          confidence: -2 * draw.uniform(),
          scope: 100 * draw.uniform(),
          right: draw.uniform() < 0.7,
        })),
      );
      const { answers, users } = shuffled;
      for (const kind of ['all-users', 'per-user', 'user'] as const) {
        found[kind]!.push(apgr(answers, heldOutScores(shuffled, kind, t)!).routed);
      }
      const rows = users.map((user) => Array.from({ length: 16 }, (_, j) => (j === user ? 1 : 0)));
      const seen = fitLogistic(
        rows,
        answers.map((own) => own.correct),
      );
      found.leaky!.push(
        apgr(
          answers,
          Float64Array.from(rows, (row) => logisticProbability(seen, row)),
        ).routed,
      );
    }
    // A held-out rule errs a little to the other side: without a right answer its user looks worse.
    for (const kind of ['all-users', 'per-user', 'user']) {
      expect(mean(found[kind]!), kind).toBeGreaterThan(0.44);
      expect(mean(found[kind]!), kind).toBeLessThan(0.52);
    }
    expect(mean(found.leaky!)).toBeGreaterThan(0.55);
  });
});
