/** What the keys of `configs/edge.yaml` may hold. */

import {
  either,
  finite,
  flag,
  listOf,
  nullable,
  object,
  oneOf,
  optional,
  positive,
  text,
  value,
  whole,
} from '../files/checks.js';

const strict = { strict: true };

/** Never shows what was found: a key written where its variable's name belongs must not reach a terminal or a log. */
const variableName = (found: unknown, where: string, problems: string[]): void => {
  if (typeof found === 'string' && /^[A-Za-z_][A-Za-z0-9_]*$/.test(found)) return;
  problems.push(`${where} is not the name of an environment variable (letters, digits and _; never the key itself)`);
};

const url = (found: unknown, where: string, problems: string[]): void => {
  const parsed = typeof found === 'string' && URL.canParse(found) ? new URL(found) : undefined;
  if (parsed === undefined || !['http:', 'https:'].includes(parsed.protocol)) {
    problems.push(
      `${where} is ${JSON.stringify(found)?.slice(0, 60) ?? 'missing'}, expected a URL such as http://127.0.0.1:8000/v1`,
    );
  } else if (parsed.username !== '' || parsed.password !== '' || parsed.search !== '' || parsed.hash !== '') {
    problems.push(`${where} has a user, password, query or fragment: give the key by server.api_key_env`);
  }
};

const seconds = optional(
  value((x) => Number.isFinite(x) && (x as number) > 0 && (x as number) <= 86_400, 'seconds above 0, at most 86400'),
);
const notNegative = value((x) => Number.isFinite(x) && (x as number) >= 0, 'a number from 0');
const port = value(
  (x) => Number.isInteger(x) && (x as number) >= 0 && (x as number) <= 65_535,
  'a port from 0 to 65535',
);
const percentile = value(
  (x) => Number.isFinite(x) && (x as number) >= 0 && (x as number) <= 100,
  'a percentile from 0 to 100',
);
const probability = value(
  (x) => Number.isFinite(x) && (x as number) >= 0 && (x as number) <= 1,
  'a probability from 0 to 1',
);
/** It stands in `<base>:<customisation>`, in headers and in logs. */
const modelName = value(
  (x) => typeof x === 'string' && /^[\w.@/+-]{1,128}$/.test(x),
  'letters, digits and . _ @ / + - only',
);

const limits = object(
  {
    body_bytes: optional(whole(1024)),
    messages: optional(whole(1)),
    max_tokens: optional(whole(1)),
    request_seconds: seconds,
    queue: optional(whole(0)),
    customizations: optional(whole(0)),
  },
  strict,
);

const engine = object(
  {
    threads: optional(either(oneOf('auto'), whole(1))),
    context: optional(nullable(whole(16))),
    sequences: optional(whole(1)),
    type: optional(oneOf('F16', 'F32', 'Q8_0')),
    gpu: optional(
      either(
        oneOf('auto', 'cuda', 'vulkan', 'metal'),
        value((x) => x === false, 'false'),
      ),
    ),
  },
  strict,
);

const routing = object(
  {
    mode: optional(oneOf('prefer_on_device', 'only_on_device', 'prefer_in_cloud', 'only_in_cloud')),
    mode_per_request: optional(flag),
    thresholds: optional(
      object(
        {
          scope: optional(nullable(percentile)),
          complexity: optional(nullable(finite)),
          confidence: optional(nullable(finite)),
          correctness: optional(nullable(probability)),
        },
        strict,
      ),
    ),
    correctness: optional(
      nullable(
        object(
          {
            intercept: optional(finite),
            confidence: optional(finite),
            probability: optional(finite),
            scope: optional(finite),
            log_scope: optional(finite),
            complexity: optional(finite),
          },
          strict,
        ),
      ),
    ),
    confidence: optional(
      object(
        {
          measure: optional(oneOf('mean-logprob', 'min-probability', 'margin', 'negative-entropy')),
          tokens: optional(nullable(whole(1))),
        },
        strict,
      ),
    ),
    load: optional(flag),
    min_free_mb: optional(whole(0)),
  },
  strict,
);

const server = object(
  {
    base_url: url,
    model: text,
    api_key_env: optional(nullable(variableName)),
    prices: optional(
      object(
        {
          input_per_million: optional(notNegative),
          output_per_million: optional(notNegative),
          currency: optional(text),
        },
        strict,
      ),
    ),
    timeouts: optional(
      object(
        { connect_seconds: seconds, first_byte_seconds: seconds, idle_seconds: seconds, total_seconds: seconds },
        strict,
      ),
    ),
    retries: optional(
      value((x) => Number.isInteger(x) && (x as number) >= 0 && (x as number) <= 10, 'a whole number from 0 to 10'),
    ),
    concurrency: optional(whole(1)),
    queue: optional(whole(0)),
    budget: optional(
      object({ tokens_per_day: optional(nullable(whole(0))), money_per_day: optional(nullable(notNegative)) }, strict),
    ),
    circuit: optional(object({ failures: optional(whole(1)), half_open_after_seconds: optional(positive) }, strict)),
  },
  strict,
);

export const EDGE_SCHEMA = object(
  {
    model: text,
    name: optional(nullable(modelName)),
    adapter: optional(nullable(text)),
    pool: optional(nullable(text)),
    gate: optional(oneOf('fixed', 'per-query')),
    examples: optional(nullable(text)),
    cache_dir: optional(nullable(text)),
    host: optional(text),
    port: optional(port),
    api_key_env: optional(nullable(variableName)),
    api_key_file: optional(nullable(text)),
    allowed_hosts: optional(listOf(text)),
    limits: optional(limits),
    engine: optional(engine),
    routing: optional(routing),
    server: optional(nullable(server)),
    log: optional(
      object({ level: optional(oneOf('debug', 'info', 'warn', 'error', 'silent')), prompts: optional(flag) }, strict),
    ),
  },
  strict,
);
