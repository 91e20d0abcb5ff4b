/** An API key in a file of its own. */

import { CrayonError } from '../core/errors.js';
import { readSmallFile } from '../files/io.js';
import { decodeUtf8 } from '../files/json.js';

/**
 * The key: the file's one line. No error shows any of it.
 *
 * @throws CrayonError `config-invalid` for an empty file or one of several lines, `file-not-found`
 */
export function readKeyFile(path: string): string {
  const key = decodeUtf8(readSmallFile(path, 4096), path, 'config-invalid').trim();
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new CrayonError('config-invalid', `${path}: expected one line with a key of printable ASCII without spaces`);
}
