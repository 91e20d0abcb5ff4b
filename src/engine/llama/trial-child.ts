/** The process behind trial.ts: tries the model that its argument names. */

import { isCrayonError, messageOf } from '../../core/errors.js';
import type { TrialOptions, TrialReply } from './trial.js';
import { runTrial } from './trial-run.js';

runTrial(JSON.parse(process.argv.at(-1)!) as TrialOptions)
  .then(
    (): TrialReply => ({ ok: true }),
    (error: unknown): TrialReply => {
      const { code = null, hint } = isCrayonError(error) ? error : {};
      return { ok: false, code, message: messageOf(error), hint };
    },
  )
  .then((reply) => process.stdout.write(`\n${JSON.stringify(reply)}\n`, () => process.exit(0)));
