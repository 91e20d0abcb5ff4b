/** What stands behind the blocks, on the rows whose next token is wanted: final norm, output matrix, loss or predictions. */

import type { ModelConfig } from '../../hf/config.js';
import type { Graph } from '../../onnx/encode.js';
import type { T1, T2, Tensor } from '../operations.js';
import { completionLoss, predictions, project, rmsNorm, scaled } from '../ops.js';
import { cutTrace, type Programs } from './programs.js';
import { Trace } from './trace.js';

/** Rows that are computed at a time are a multiple of this, so that few sizes are compiled. */
const ROWS_STEP = 16;
/** Numbers of one slice of logits at most: (rows, V). */
const MOST_LOGITS = 2 ** 24;

/** Rows of the first slice of P rows, padded to a size that is compiled. */
export function headRows({ vocabSize: V }: Pick<ModelConfig, 'vocabSize'>, P: number): number {
  const steps = (rows: number) => rows / ROWS_STEP;
  return ROWS_STEP * Math.min(Math.ceil(steps(P)), Math.max(1, Math.floor(steps(MOST_LOGITS / V))));
}

type Sizes = Pick<ModelConfig, 'hiddenSize' | 'vocabSize' | 'rmsNormEps' | 'logitScale'>;

/** Shared beginning: rows (P, C) to what the output matrix multiplies. */
function beforeHead(trace: Trace, { hiddenSize: C, rmsNormEps, logitScale }: Sizes, P: number) {
  const rows: T2 = trace.input('rows', [P, C]);
  const norm: T1 = trace.input('norm', [C]);
  const normed = rmsNorm(trace, rows, norm, rmsNormEps);
  return { rows, x: logitScale === 1 ? normed : scaled(trace, normed, logitScale) };
}

/** rows, norm, head, targets (P) int32, weights (P) -> loss, drows (P, C) */
export function lossProgram(sizes: Sizes, P: number): Programs {
  const trace = new Trace();
  const { rows, x } = beforeHead(trace, sizes, P);
  const head: T2 = trace.input('head', [sizes.vocabSize, sizes.hiddenSize]);
  const targets: T1 = trace.input('targets', [P], 'int32');
  const weights: T1 = trace.input('weights', [P]);
  const loss = completionLoss(trace, x, head, targets, weights);
  const one: Tensor = trace.input('one', []);
  const [drows] = trace.gradients(loss, one, [rows]);
  const results = [
    { name: 'loss', value: loss },
    { name: 'drows', value: drows },
  ];
  return cutTrace(trace, `loss of ${P}`, results);
}

/**
 * rows, norm, head, targets (P) int32 -> logits (P, V), or what `predictions` says of them
 *
 * @param R stacked rank of the output matrix's own factors a (R, C) and b (V, R) with their gate (P, R); 0 without any
 */
export function predictProgram(sizes: Sizes, P: number, R: number, wants: 'logits' | 'predictions'): Graph {
  const { hiddenSize: C, vocabSize: V } = sizes;
  const trace = new Trace();
  const { x } = beforeHead(trace, sizes, P);
  const head: T2 = trace.input('head', [V, C]);
  let logits = project(trace, x, head);
  if (R > 0) {
    const a: T2 = trace.input('a', [R, C]);
    const b: T2 = trace.input('b', [V, R]);
    const gate: T2 = trace.input('gate', [P, R]);
    logits = trace.product(trace.mul(project(trace, x, a), gate), b, { transposeB: true, plus: logits });
  }
  if (wants === 'logits') return cutTrace(trace, `logits of ${P}`, [{ name: 'logits', value: logits }]).forward;
  const found = predictions(trace, logits, trace.input<[number]>('targets', [P], 'int32'));
  const results = (['targets', 'largest', 'best'] as const).map((name) => ({ name: `of ${name}`, value: found[name] }));
  return cutTrace(trace, `predictions of ${P}`, results).forward;
}
