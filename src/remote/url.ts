/** Pools by address: which places are addresses, and the addresses of what lies in one. */

import { CrayonError } from '../core/errors.js';

export const isPoolUrl = (place: string): boolean => /^https?:\/\//i.test(place);

/**
 * The address under which a pool's files lie; that of its pool.json is as good. A query, such as an object store's signature, stays, and
 * goes with every file.
 *
 * @throws CrayonError `bad-option`
 */
export function poolUrl(place: string): URL {
  if (!URL.canParse(place)) throw new CrayonError('bad-option', `${place}: is no address of a pool`);
  const url = new URL(place);
  if (url.username !== '' || url.password !== '') {
    throw new CrayonError('bad-option', `${url.origin}: the address of a pool has a name or a password in it`, {
      hint: 'Give a key by --pool-key-env, which names the environment variable that holds it.',
    });
  }
  url.hash = '';
  url.pathname = `${url.pathname.replace(/\/(pool\.json)?$/, '')}/`;
  return url;
}

/** The address of a file, whose path is taken literally: nothing in it leads out of the pool's. */
export function fileUrl(pool: URL, path: string): URL {
  const url = new URL(pool);
  url.pathname += path.split('/').map(encodeURIComponent).join('/');
  return url;
}

/** For messages: without what may be a signature. */
export const shownUrl = ({ origin, pathname }: URL): string => `${origin}${pathname}`;
