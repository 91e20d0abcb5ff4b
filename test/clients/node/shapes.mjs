/** Requests as programs send them whose packages are too large to run here: shapes.json says of each from which source it is. */

import { readFileSync } from 'node:fs';
import { assert, step, task } from './check.mjs';

const { shapes } = JSON.parse(readFileSync(new URL('../shapes.json', import.meta.url), 'utf8'));
const fill = (value) =>
  JSON.parse(
    JSON.stringify(value, (_, one) => (one === '$model' ? task.model : one === '$prompt' ? task.prompt : one)),
  );

for (const { name, path, body, needs, expects } of shapes) {
  await step(
    name,
    async () => {
      const answer = await fetch(`${task.url}${path}`, {
        ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(fill(body)) }),
        headers: { 'content-type': 'application/json', authorization: 'Bearer none', 'api-key': 'none' },
      });
      const text = await answer.text();
      assert.equal(answer.status, 200, text);
      assert.match(text, new RegExp(expects));
    },
    needs,
  );
}
