/** What the scripts of Node's clients share: the task, the client's package, and steps that are told as JSON lines. */

import { strict as assert } from 'node:assert';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

export { assert };

export const task = JSON.parse(process.env.CRAYON_CLIENT_TASK);
export const messages = [{ role: 'user', content: task.prompt }];

/** A package from $CRAYON_CLIENTS, or the repository's own. */
export function load(name) {
  const folder = process.env.CRAYON_CLIENTS ?? '';
  const isThere = folder !== '' && existsSync(join(folder, 'node_modules', name));
  return createRequire(isThere ? join(folder, 'package.json') : import.meta.url)(name);
}

/** @param needs what the server must have: `schema` or `tools` */
export async function step(name, run, needs) {
  const say = (rest) => console.log(JSON.stringify({ step: name, ...rest }));
  if (needs !== undefined && !task.has[needs]) {
    say({ skipped: 'the server has none' });
    return;
  }
  try {
    await run();
    say({ ok: true });
  } catch (error) {
    say({ failed: String(error?.stack ?? error).slice(0, 1500) });
    process.exitCode = 1;
  }
}

/** What a function throws. */
export async function thrown(run) {
  try {
    await run();
  } catch (error) {
    return error;
  }
  assert.fail('nothing was thrown');
}

/** That a value is of the task's schema. */
export function isOfSchema(value) {
  const { properties, required } = task.schema;
  assert.deepEqual(Object.keys(value).sort(), [...required].sort());
  assert.ok(properties.team.enum.includes(value.team), `team is ${value.team}`);
  assert.equal(typeof value.sure, 'boolean');
}
