import { isIP } from 'node:net';
import { expect, it } from 'vitest';
import { isLoopback } from '../../src/core/loopback.js';

it.each([
  ...['localhost', 'LOCALHOST', '127.0.0.1', '127.0.0.0', '127.255.249.199', '127.9.10.99', '::1', '[::1]'],
  ...['http://localhost:1', 'http://127.1/', 'http://0x7f000001', 'http://[0:0::1]:80'].map(
    (url) => new URL(url).hostname,
  ),
])('%s is of this machine', (host) => {
  expect(isLoopback(host)).toBe(true);
});

it.each([
  ...['', '127.evil.example', '127.0.0.1.evil.example', 'localhost.evil.example', 'evil.localhost', '127.0.0', '127.1'],
  ...[
    '127.0.0.256',
    '127.0.0.01',
    '127.0.0.1\n',
    ' 127.0.0.1',
    '128.0.0.1',
    '1127.0.0.1',
    '0.0.0.0',
    '::',
    '[::1',
    '::2',
  ],
])('"%s" is not', (host) => {
  expect(isLoopback(host)).toBe(false);
});

it('takes for IPv4 what Node takes for it', () => {
  const parts = [
    '0',
    '00',
    '1',
    '9',
    '09',
    '10',
    '99',
    '100',
    '199',
    '200',
    '249',
    '250',
    '255',
    '256',
    '260',
    '300',
    '1000',
    '',
    'a',
    '-1',
  ];
  for (const last of parts)
    for (const host of [`127.0.0.${last}`, `127.${last}.0.1`]) {
      expect([host, isLoopback(host)]).toEqual([host, isIP(host) === 4]);
    }
});
