/** Which names and addresses are this machine's own: what goes there no network sees, and what listens there no other machine reaches. */

/** 127.0.0.0/8, as IPv4 addresses are written in full; `127.example.org` is none. */
const IPV4 = /^127(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$/;

/**
 * @param host name or address, as a server is bound to one or as URLs have it in `hostname`
 *
 * @example
 * isLoopback(new URL('http://[::1]:8080').hostname); // true
 */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || name === '[::1]' || IPV4.test(name);
}
