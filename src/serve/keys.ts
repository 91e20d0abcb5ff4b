/** The keys of a server: what clients must send, and what is sent to the server LLM. Read where the configuration says, shown nowhere. */

import { CrayonError } from '../core/errors.js';
import { LIMITS } from '../core/limits.js';
import { isLoopback } from '../core/loopback.js';
import type { ServerConfig } from '../engine/server/options.js';
import { readSmallFile } from '../files/io.js';
import { decodeUtf8 } from '../files/json.js';
import type { EdgeConfig } from './config.js';

/** Printable ASCII without spaces: what a header can carry. No error shows any part of a key. */
const KEY = /^[\x21-\x7e]+$/;

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The key that clients must send; null for none.
 *
 * @param given by a flag, before anything in the configuration
 * @throws CrayonError `config-invalid` for an empty variable, and where a host that others reach has no key
 */
export function clientKey(
  config: Pick<EdgeConfig, 'apiKeyEnv' | 'apiKeyFile' | 'host'>,
  env: Environment,
  given: string | null = null,
): string | null {
  const { apiKeyEnv, apiKeyFile, host } = config;
  const key =
    given ??
    (apiKeyEnv === null ? null : fromEnvironment(apiKeyEnv, env, 'api_key_env')) ??
    (apiKeyFile === null ? null : readKeyFile(apiKeyFile));
  if (key !== null && !KEY.test(key)) {
    throw new CrayonError('config-invalid', 'the API key is empty, or has a space or a character outside ASCII');
  }
  if (key !== null || isLoopback(host)) return key;
  throw new CrayonError('config-invalid', `host ${host} can be reached by others, so an API key is required`, {
    hint: 'Give --api-key-env or --api-key-file, or bind to 127.0.0.1.',
  });
}

/** The key for the server LLM; null for none. @throws CrayonError `config-invalid` for an empty variable */
export function serverKey({ apiKeyEnv }: ServerConfig, env: Environment): string | null {
  return apiKeyEnv === null ? null : fromEnvironment(apiKeyEnv, env, 'server.api_key_env');
}

/** A key in a variable that `key` of a configuration, or a flag, names. @throws CrayonError `config-invalid` where it is not set */
export function fromEnvironment(name: string, env: Environment, key: string): string {
  const value = env[name]?.trim();
  if (value !== undefined && value !== '') return value;
  throw new CrayonError('config-invalid', `${key} names the environment variable ${name}, which is not set`, {
    hint: `Set it: export ${name}=...`,
  });
}

/** The file's one line. @throws CrayonError `config-invalid` for an empty file or one of several lines, `file-not-found` */
function readKeyFile(path: string): string {
  const key = decodeUtf8(readSmallFile(path, LIMITS.secretBytes), path, 'config-invalid').trim();
  if (KEY.test(key)) return key;
  throw new CrayonError('config-invalid', `${path}: expected one line with a key of printable ASCII without spaces`);
}
