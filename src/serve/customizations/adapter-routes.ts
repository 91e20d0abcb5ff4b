/** GET and POST /lora-adapters, in llama-server's shape. */

import { isJsonObject } from '../../files/json.js';
import { badField } from '../http/error.js';
import { RequestFields } from '../openai/fields.js';
import type { AdapterSet } from './adapter-set.js';

/** Beyond this a scale is a typing error. */
const MAX_SCALE = 1000;

/** Sets the scales for all requests from now on; those that are not listed become 0, as in llama-server. */
export function setAdapterScales(list: readonly unknown[], adapters: AdapterSet): void {
  const known = adapters.list().length;
  const scales = new Map<number, number>();
  for (const [i, item] of list.entries()) {
    const where = `[${i}]`;
    if (!isJsonObject(item)) throw badField(where, `${where} is not an object with id and scale.`);
    const fields = new RequestFields(item, where);
    const id = fields.whole('id', 0);
    if (id === undefined || id >= known) throw fields.wrong('id', id, `the id of an adapter, below ${known}`);
    const scale = fields.number('scale', -MAX_SCALE, MAX_SCALE);
    if (scale === undefined) throw fields.wrong('scale', scale, 'a number');
    fields.harmless('path');
    fields.end();
    if (scales.has(id)) throw badField(`${where}.id`, `${where}.id is ${id}, which the list has already.`);
    scales.set(id, scale);
  }
  adapters.setScales(scales);
}
