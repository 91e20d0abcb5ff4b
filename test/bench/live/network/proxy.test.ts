import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { NetworkShape } from '../../../../src/bench/live/network/networks.js';
import { openShapingProxy } from '../../../../src/bench/live/network/proxy.js';

const LINK = { delayMs: 0, jitterMs: 0, bitsPerSecond: null };
const OPEN: NetworkShape = { up: LINK, down: LINK, outages: null, offline: false };

/** A server that does as told with each connection, behind a proxy of this shape. */
async function behind(shape: Partial<NetworkShape>, serve: (socket: Socket) => void) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy = await openShapingProxy({ target: { host: '127.0.0.1', port }, shape: { ...OPEN, ...shape }, seed: 1 });
  onTestFinished(async () => {
    await proxy.close();
    server.close();
  });
  const dial = () => {
    const socket = connect({ host: '127.0.0.1', port: proxy.port, allowHalfOpen: true });
    onTestFinished(() => void socket.destroy());
    return socket;
  };
  return { proxy, server, dial };
}

const echo = (socket: Socket) => void socket.on('data', (bytes) => socket.write(bytes)).on('end', () => socket.end());

async function readAll(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  await once(socket, 'end');
  return Buffer.concat(pieces);
}

/** Sends, ends, and reads to the end. */
async function exchange(socket: Socket, data: Buffer): Promise<{ answer: Buffer; ms: number }> {
  const started = performance.now();
  socket.end(data);
  const answer = await readAll(socket);
  return { answer, ms: performance.now() - started };
}

const noise = (length: number) => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7919) % 251));

describe('openShapingProxy', () => {
  it('passes bytes on unchanged, both ways, and counts them', async () => {
    const { proxy, dial } = await behind({}, echo);
    const data = noise(1_000_000);
    const { answer } = await exchange(dial(), data);
    expect(answer.equals(data)).toBe(true);
    expect(proxy.sent).toEqual({ up: 1_000_000, down: 1_000_000 });
  });

  it('takes a round trip to connect and one to answer', async () => {
    const slow = { ...LINK, delayMs: 40 };
    const { dial } = await behind({ up: slow, down: slow }, echo);
    const socket = dial();
    await once(socket, 'connect');
    const roundTrip = async () => {
      const started = performance.now();
      socket.write('x');
      await once(socket, 'data');
      return performance.now() - started;
    };
    const first = await roundTrip();
    expect(first).toBeGreaterThan(155);
    expect(first).toBeLessThan(400);
    const second = await roundTrip();
    expect(second).toBeGreaterThan(77);
    expect(second).toBeLessThan(200);
  });

  it('lets each direction have its bandwidth', async () => {
    // up 8 Mbit/s, down 4 Mbit/s: 100,000 bytes take 100 ms up and then at least 200 ms down
    const shape = { up: { ...LINK, bitsPerSecond: 8e6 }, down: { ...LINK, bitsPerSecond: 4e6 } };
    const { dial } = await behind(shape, (socket) => {
      void readAll(socket).then((all) => socket.end(all));
    });
    const { answer, ms } = await exchange(dial(), noise(100_000));
    expect(answer.length).toBe(100_000);
    expect(ms).toBeGreaterThan(295);
    expect(ms).toBeLessThan(600);
  });

  it('shares the bandwidth among connections', async () => {
    const { dial } = await behind({ up: { ...LINK, bitsPerSecond: 8e6 } }, (socket) => {
      void readAll(socket).then(() => socket.end('done'));
    });
    const started = performance.now();
    await Promise.all([1, 2, 3].map(() => exchange(dial(), noise(50_000))));
    const ms = performance.now() - started;
    expect(ms).toBeGreaterThan(147);
    expect(ms).toBeLessThan(500);
  });

  it('asks a sender to stop that is faster than the link', async () => {
    const { proxy, dial } = await behind({ up: { ...LINK, bitsPerSecond: 8e5 } }, (socket) => void socket.resume());
    const socket = dial();
    socket.write(noise(8_000_000));
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(proxy.sent.up).toBeLessThan(600_000);
  });

  it('resets every connection when offline', async () => {
    const { dial } = await behind({ offline: true }, () => expect.unreachable());
    const [error] = await once(dial(), 'error');
    expect((error as NodeJS.ErrnoException).code).toBe('ECONNRESET');
  });

  it('resets a connection that the server refuses', async () => {
    const { server, dial } = await behind({}, echo);
    await new Promise((resolve) => server.close(resolve));
    const [error] = await once(dial(), 'error');
    expect((error as NodeJS.ErrnoException).code).toBe('ECONNRESET');
  });

  it('cuts the other side when one is gone', async () => {
    const served: Socket[] = [];
    const { dial } = await behind({}, (socket) => {
      served.push(socket);
      socket.write('hello');
      socket.resume();
    });
    const socket = dial();
    await once(socket, 'data');
    const closed = new Promise((resolve) => served[0]!.once('close', resolve));
    socket.resetAndDestroy();
    await closed;
    const second = dial();
    await once(second, 'data');
    const gone = once(second, 'error');
    served[1]!.resetAndDestroy();
    await gone;
  });

  it('closes with connections open', async () => {
    const { proxy, dial } = await behind({}, echo);
    const socket = dial();
    socket.write('x');
    await once(socket, 'data');
    const cut = once(socket, 'error');
    await proxy.close();
    await cut;
  });
});
