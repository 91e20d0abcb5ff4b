/**
 * Where customisations outlive the server: a small file for each user in a directory that one server at a time has, readable by this
 * user only. A file is written whole or not at all, and before its customisation is acknowledged. What is no such file is named and
 * left where it is; the others are served.
 */

import { homedir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { messageOf } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { warn } from '../../core/warning.js';
import { ensureDirectory, writeFileAtomic } from '../../files/atomic.js';
import { sha256 } from '../../files/digest.js';
import { entriesOf, realPath, removePath } from '../../files/io.js';
import { readJson } from '../../files/json.js';
import { lock, unlock } from '../../files/lock.js';
import { checked, matching, sha256Text, text, whole } from '../../files/schema.js';
import { isPoolUrl } from '../../remote/url.js';
import { BLEND } from './record.js';

const VERSION = z.object({
  version: whole(1),
  /** seconds since 1970 */
  created: whole(0),
  /** digest of what the coefficients and the profile are of */
  pool: sha256Text,
  blend: BLEND,
});
export type StoredVersion = z.output<typeof VERSION>;

const USER = z.object({
  format: z.literal('crayon-customization'),
  formatVersion: z.literal(1),
  id: matching(/^[0-9a-f]{16}$/, '16 hexadecimal digits'),
  name: text.max(LIMITS.customizationName).nullable(),
  /** the current one, and the one before it */
  versions: z.union([z.tuple([VERSION]), z.tuple([VERSION, VERSION])]),
});
export type StoredUser = Omit<z.output<typeof USER>, 'format' | 'formatVersion'>;

export type UserFiles = ReturnType<typeof openUserFiles>;

/** A folder for each pool and base model, by where they are: servers of different ones do not meet. */
export function defaultStateDir(pool: string, base: string, env: NodeJS.ProcessEnv = process.env): string {
  const state = env.XDG_STATE_HOME;
  const root = state === undefined || state === '' ? join(homedir(), '.local', 'state') : state;
  const id = sha256(JSON.stringify([isPoolUrl(pool) ? pool : realPath(pool), realPath(base)])).slice(0, 16);
  return join(root, 'crayon', 'customizations', id);
}

const FILE = /^([0-9a-f]{16})\.json$/;

/** @throws CrayonError `output-exists` while another server has the directory, `write-failed`, `disk-full` */
export function openUserFiles(dir: string) {
  ensureDirectory(dir, 0o700);
  lock(dir, 'directory of customisations');
  const pathOf = (id: string): string => join(dir, `${id}.json`);
  return {
    dir,
    /** By the seconds in which they were made. What is none is told by a warning. */
    load(): StoredUser[] {
      const users = entriesOf(dir).flatMap((name): StoredUser[] => {
        const id = FILE.exec(name)?.[1];
        if (id === undefined) return [];
        const path = join(dir, name);
        try {
          const user = checked(USER, readJson(path, LIMITS.customizationBytes), { where: path, code: 'json-invalid' });
          if (user.id === id) return [user];
          throw new Error(`${path}: is of customisation ${user.id}`);
        } catch (error) {
          warn(`${messageOf(error)}: this customisation is left out, and its file where it is.`);
          return [];
        }
      });
      return users.sort((a, b) => a.versions[0].created - b.versions[0].created || (a.id < b.id ? -1 : 1));
    },
    /** @throws CrayonError `disk-full`, `write-failed` */
    write({ id, name, versions }: StoredUser): void {
      const file = { format: 'crayon-customization', formatVersion: 1, id, name, versions } satisfies z.input<
        typeof USER
      >;
      writeFileAtomic(pathOf(id), `${JSON.stringify(file)}\n`);
    },
    /** @throws CrayonError `write-failed` */
    remove: (id: string): void => removePath(pathOf(id)),
    close: (): void => unlock(dir),
  };
}
