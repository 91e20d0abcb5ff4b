/** What every door does with a request once it is read: who may answer it, of which model, in which queries. */

import type { Query } from '../../engine/types.js';
import type { Mode } from '../../routing/types.js';
import type { Call } from '../http/call.js';
import { badField } from '../http/error.js';
import type { AppSettings, ServeParts } from '../parts.js';
import { deviceMode } from './choices.js';
import { resolveModel } from './models.js';
import { type CompletionRequest, modeOfHeader } from './request.js';
import { type Asked, queriesOf } from './routed.js';

/** @throws HttpError for a model that is not there, or a mode that is not allowed */
export async function askedOf(
  job: CompletionRequest,
  call: Call,
  parts: ServeParts,
  settings: AppSettings,
): Promise<{ asked: Asked; queries: Query[] }> {
  const mode = deviceMode({ job, mode: modeOf(job, call, settings), call, parts, settings });
  const model = resolveModel(job.model, parts);
  call.onEnd(model.release);
  const asked: Asked = { job, mode, model, call, parts, settings };
  call.note({ mode });
  const queries = await queriesOf(asked);
  if (settings.logPrompts && mode !== 'only_on_device') {
    call.note({ prompt: queries.map(({ text }) => text).join('\n') });
  }
  return { asked, queries };
}

/** The body's field and the header say the same thing; the configuration may forbid both. */
function modeOf(job: CompletionRequest, call: Call, { routing }: AppSettings): Mode {
  const fromHeader = modeOfHeader(call.request);
  if (job.mode !== null && fromHeader !== null && job.mode !== fromHeader) {
    throw badField('crayon.mode', `crayon.mode is ${job.mode}, but the header x-crayon-mode is ${fromHeader}.`);
  }
  const mode = job.mode ?? fromHeader ?? routing.mode;
  if (mode !== routing.mode && !routing.modePerRequest) {
    throw badField('crayon.mode', `This server answers in mode ${routing.mode} only.`, 'mode_not_allowed');
  }
  return mode;
}
