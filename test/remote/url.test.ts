import { describe, expect, it } from 'vitest';
import { fileUrl, isPoolUrl, poolUrl, shownUrl } from '../../src/remote/url.js';

describe('poolUrl', () => {
  it.each([
    ['https://example.org', 'https://example.org/pool.json'],
    ['https://example.org/pools/demo/', 'https://example.org/pools/demo/pool.json'],
    ['https://example.org/demo/pool.json', 'https://example.org/demo/pool.json'],
    ['http://127.0.0.1:8080/demo?signature=abc#part', 'http://127.0.0.1:8080/demo/pool.json?signature=abc'],
  ])('%s has its manifest at %s', (place, manifest) => {
    expect(isPoolUrl(place)).toBe(true);
    expect(fileUrl(poolUrl(place), 'pool.json').href).toBe(manifest);
  });

  it('shows no query, which may be a signature', () => {
    expect(shownUrl(poolUrl('https://example.org/demo?signature=abc'))).toBe('https://example.org/demo/');
  });

  it('takes paths literally', () => {
    const pool = poolUrl('https://example.org/demo');
    expect(fileUrl(pool, 'a b/%2e%2e/x?y#z').href).toBe('https://example.org/demo/a%20b/%252e%252e/x%3Fy%23z');
  });

  it('knows paths from addresses', () => {
    expect(['pools/demo', 'C:\\pools', 'ftp://x', 'file:///x', './https:'].filter(isPoolUrl)).toEqual([]);
    expect(() => poolUrl('https://')).toThrow(/no address/);
  });
});
