/** The configuration of `crayon bench load` (configs/bench/load.yaml shows every key). */

import { CrayonError } from '../../core/errors.js';
import { checked, listOf, object, optional, text, value, whole } from '../../files/checks.js';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { readYaml } from '../../files/yaml.js';
import { type BenchLoad, LOAD_SCHEMA, loadDefaults } from '../live/config.js';

export interface LoadTarget {
  url?: string;
  model?: string;
  key_env?: string;
  data: string[];
  data_dir?: string;
  split?: string;
  limit?: number;
}

export interface LoadConfig {
  target: LoadTarget;
  load: BenchLoad;
}

const url = value(
  (x) => typeof x === 'string' && URL.canParse(x) && /^https?:$/.test(new URL(x).protocol),
  'a URL such as http://127.0.0.1:8080/v1',
);
const targetSchema = object(
  {
    url: optional(url),
    model: optional(text),
    key_env: optional(text),
    data: listOf(text),
    data_dir: optional(text),
    split: optional(text),
    limit: optional(whole(1)),
  },
  { strict: true },
);
const schema = object({ target: targetSchema, load: LOAD_SCHEMA }, { strict: true });

/**
 * @param path null for none: everything comes from the flags
 * @param flags keys of both sections, which win over the file's; undefined ones say nothing
 * @throws CrayonError `yaml-invalid`, `file-not-found`, `config-invalid`
 */
export function loadLoadConfig(path: string | null, flags: { target: JsonObject; load: JsonObject }): LoadConfig {
  const yaml = path === null ? {} : readYaml(path).value;
  const where = path ?? 'command line';
  if (!isJsonObject(yaml)) {
    throw new CrayonError('config-invalid', `${where}: expected keys and values at the top level`);
  }
  const given = (values: JsonObject) =>
    Object.fromEntries(Object.entries(values).filter(([, one]) => one !== undefined));
  const section = (found: unknown, defaults: JsonObject, over: JsonObject) =>
    found === undefined || isJsonObject(found) ? { ...defaults, ...found, ...given(over) } : found;
  const merged = {
    ...yaml,
    target: section(yaml.target, { data: [] }, flags.target),
    load: section(yaml.load, loadDefaults({}) as JsonObject, flags.load),
  };
  const config = checked<LoadConfig>(merged, schema, 'config-invalid', where);
  if (config.load.requests === null && config.load.seconds === null) {
    throw new CrayonError('config-invalid', `${where}: load has neither requests nor seconds`);
  }
  return config;
}
