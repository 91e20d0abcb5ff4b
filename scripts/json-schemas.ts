/**
 * Writes configs/schema/*.json, by which editors complete and check crayon's YAML files:
 *
 *     npx tsx scripts/json-schemas.ts
 *
 * test/configs.test.ts compares what is committed with what this makes.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type * as z from 'zod';
import { BENCH_CONFIG_SCHEMA } from '../src/bench/config.js';
import { TRAFFIC_SCHEMA } from '../src/bench/load/config.js';
import { GROUP_SCHEMA, TASK_SCHEMA } from '../src/data/config.js';
import { jsonSchemaOf } from '../src/files/schema.js';
import { POOL_SERVER_SCHEMA } from '../src/serve/blends/config.js';
import { EDGE_SCHEMA } from '../src/serve/config.js';

/** What each file of configs/schema/ is made of, and which of the shipped YAML files it describes. */
export const JSON_SCHEMAS: Record<string, { schema: z.ZodType; title: string; files: RegExp }> = {
  edge: { schema: EDGE_SCHEMA, title: 'crayon serve-edge', files: /^configs\/edge[^/]*\.yaml$/ },
  'pool-server': { schema: POOL_SERVER_SCHEMA, title: 'crayon serve-pool', files: /^configs\/pool-server\.yaml$/ },
  bench: {
    schema: BENCH_CONFIG_SCHEMA,
    title: 'crayon bench',
    files: /^configs\/(bench\/(?!load\.|real-(train|held-out)\.)[^/]*|real\/[^/]*-bench)\.yaml$/,
  },
  load: { schema: TRAFFIC_SCHEMA, title: 'crayon bench load', files: /^configs\/bench\/load\.yaml$/ },
  task: {
    schema: TASK_SCHEMA,
    title: 'a data set',
    files: /^(configs\/(bench\/)?tasks|suite)\/(?!suite|quickstart)[^/]*\.yaml$/,
  },
  group: {
    schema: GROUP_SCHEMA,
    title: 'several data sets as one',
    files: /^(configs\/(o-lora-[^/]*|real\/[^/]*-train|bench\/real-(train|held-out))|suite\/(suite|quickstart))\.yaml$/,
  },
};

/** The text of configs/schema/<name>.json. */
export function jsonSchemaText(name: string): string {
  const { schema, title } = JSON_SCHEMAS[name]!;
  return `${JSON.stringify(jsonSchemaOf(schema, title), null, 2)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = join(dirname(process.argv[1]), '..', 'configs', 'schema');
  mkdirSync(folder, { recursive: true });
  for (const name of Object.keys(JSON_SCHEMAS)) writeFileSync(join(folder, `${name}.json`), jsonSchemaText(name));
}
