/** The configuration of `crayon bench load` (configs/bench/load.yaml shows every key). */

import * as z from 'zod';
import { isJsonObject, type JsonObject } from '../../files/json.js';
import { checked, oneOrMore, refuseProblems, type Source, text, whole } from '../../files/schema.js';
import { readYaml } from '../../files/yaml.js';
import { ENDLESS, isEndless, LOAD_SCHEMA } from '../live/settings.js';

const isHttp = (url: string) => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);

export const TARGET_SCHEMA = z.strictObject({
  url: z.string().refine(isHttp, 'a URL such as http://127.0.0.1:8080/v1').optional().describe('the server, up to /v1'),
  model: oneOrMore(text).optional().describe('as the server calls it; of several, one is drawn for each request'),
  key_env: text.optional().describe('environment variable that holds its key'),
  data: z.array(text).default([]).describe('prompts to send: any data sets'),
  data_dir: text.optional().describe('where the paths inside a YAML start'),
  split: text.optional().describe('to read where a YAML names several'),
  limit: whole(1).optional().describe('prompts of each data set'),
});

export const TRAFFIC_SCHEMA = z.strictObject({
  target: TARGET_SCHEMA.prefault({}).describe('the server, and what it is asked'),
  load: LOAD_SCHEMA.prefault({}).describe('how much'),
});
export type TrafficConfig = z.output<typeof TRAFFIC_SCHEMA>;

/**
 * @param path null for none: everything comes from the flags
 * @param flags keys of both sections, which win over the file's; undefined ones say nothing
 * @throws CrayonError `yaml-invalid`, `file-not-found`, `config-invalid`
 */
export function readTrafficConfig(path: string | null, flags: { target: JsonObject; load: JsonObject }): TrafficConfig {
  const { value: yaml, lineOf } = path === null ? { value: {} } : readYaml(path);
  const source: Source = { where: path ?? 'command line', code: 'config-invalid', lineOf };
  const config = checked(TRAFFIC_SCHEMA, isJsonObject(yaml) ? withFlags(yaml, flags) : yaml, source);
  refuseProblems(isEndless(config.load) ? [{ path: ['load'], message: ENDLESS }] : [], source);
  return config;
}

function withFlags(yaml: JsonObject, flags: { target: JsonObject; load: JsonObject }): JsonObject {
  const section = (found: unknown, over: JsonObject) => {
    if (found !== undefined && !isJsonObject(found)) return found; // for the schema to name
    return { ...found, ...Object.fromEntries(Object.entries(over).filter(([, value]) => value !== undefined)) };
  };
  return { ...yaml, target: section(yaml.target, flags.target), load: section(yaml.load, flags.load) };
}
