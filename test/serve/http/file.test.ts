/** Files over a real socket: their bytes, whatever their size and whoever reads beside. */

import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { writeFileAtomic } from '../../../src/files/atomic.js';
import { Call } from '../../../src/serve/http/call.js';
import { sendFile } from '../../../src/serve/http/file.js';
import { listen } from '../../../src/serve/http/listen.js';
import { temporaryDir } from '../../helpers/files.js';
import { closing } from '../helpers.js';

const PIECE = 256 * 1024;
const SIZES = [0, 1, 1000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17];

/** Files `/0` to `/6` of these sizes, no two alike at any place. */
async function serve() {
  const dir = temporaryDir();
  const files = SIZES.map((size, n) =>
    Buffer.from(Uint8Array.from({ length: size }, (_, i) => (i * 31 + 40 * n) % 251)),
  );
  for (const [n, bytes] of files.entries()) writeFileAtomic(join(dir, String(n)), bytes);
  const ends: number[] = [];
  const handle = async (asked: Request) => {
    const call = new Call(asked, 'id');
    call.onEnd((status) => ends.push(status));
    const response = sendFile({ path: join(dir, call.url.pathname), etag: '"x"', headers: {} }, call);
    if (!call.isStreaming) call.end(response.status);
    return response;
  };
  const { url, stop } = await listen({ handle, stop: async () => 0 }, { host: '127.0.0.1', port: 0 });
  closing(stop, () => stop(0));
  return { url, files, ends };
}

const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

it('sends files of all sizes, many at a time', async () => {
  const { url, files, ends } = await serve();
  const asked = Array.from({ length: 70 }, (_, i) => i % files.length);
  const found = await Promise.all(asked.map(async (n) => bytesOf(await fetch(`${url}/${n}`))));
  for (const [i, n] of asked.entries()) expect(found[i]!.equals(files[n]!), `file ${n}`).toBe(true);
  expect(ends).toEqual(Array(70).fill(200));
});

it('sends a range across pieces', async () => {
  const { url, files } = await serve();
  const part = await fetch(`${url}/6`, { headers: { range: `bytes=${PIECE - 5}-${2 * PIECE + 5}` } });
  expect(part.status).toBe(206);
  expect((await bytesOf(part)).equals(files[6]!.subarray(PIECE - 5, 2 * PIECE + 6))).toBe(true);
});

it('keeps the bytes of a slow reader apart from those of others', async () => {
  const { url, files } = await serve();
  const slow = await new Promise<IncomingMessage>((resolve) => request(`${url}/6`, resolve).end());
  const parts: Buffer[] = [];
  for await (const part of slow as AsyncIterable<Buffer>) {
    parts.push(Buffer.from(part));
    if (parts.length < 8)
      await Promise.all([sleep(5), ...[3, 4, 5].map(async (n) => (await fetch(`${url}/${n}`)).arrayBuffer())]);
  }
  expect(Buffer.concat(parts).equals(files[6]!)).toBe(true);
});

it('goes on with others after a reader that has gone', async () => {
  const { url, files, ends } = await serve();
  for (let i = 0; i < 3; i++) {
    const gone = await new Promise<IncomingMessage>((resolve) => request(`${url}/6`, resolve).end());
    gone.destroy();
  }
  expect((await bytesOf(await fetch(`${url}/6`))).equals(files[6]!)).toBe(true);
  await expect.poll(() => ends.length).toBe(4);
});
