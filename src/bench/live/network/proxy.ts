/**
 * An emulated network between a client and a server that both run on this machine: a TCP proxy on loopback whose two
 * directions are shaped links. What it does not emulate: packet loss (TCP repairs it; it costs time that `jitter` and
 * outages stand for), slow start, and a link shared with other programs.
 */

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createRandom } from '../../../core/random.js';
import { type Clock, preciseClock } from '../../../engine/clock.js';
import { type NetworkShape, outageTimes, type ShapedLink, shapedLink } from './networks.js';

export interface ShapingProxyOptions {
  /** where the server listens */
  target: { host: string; port: number };
  shape: NetworkShape;
  /** of jitter and outages */
  seed: number;
  clock?: Clock;
}

export interface ShapingProxy {
  port: number;
  /** bytes taken from the client, and from the server */
  sent: { up: number; down: number };
  /** Cuts all connections and frees the port. */
  close(): Promise<void>;
}

/** What may wait in one direction of a connection before its sender is asked to stop, as a router's queue. */
const QUEUE_BYTES = 256 * 1024;
/** What Node's timers can tell apart: what is due within half of it is due now. */
const TIMER_MS = 1;

/**
 * @throws what listening on loopback throws
 *
 * @example
 * const proxy = await openShapingProxy({ target: { host: '127.0.0.1', port: 8000 }, shape: networkShape('4g'), seed: 0 });
 * const baseUrl = `http://127.0.0.1:${proxy.port}/v1`;
 */
export async function openShapingProxy(options: ShapingProxyOptions): Promise<ShapingProxy> {
  const { target, shape, seed, clock = preciseClock } = options;
  const passing = outageTimes(shape.outages, createRandom(seed, 'network-outages'), clock.now());
  const link = (direction: 'up' | 'down') =>
    shapedLink(shape[direction], passing, createRandom(seed, `network-${direction}`), clock);
  const links = { up: link('up'), down: link('down') };
  const sent = { up: 0, down: 0 };
  const open = new Set<Socket>();
  const track = (socket: Socket) => {
    open.add(socket);
    socket.setNoDelay(true);
    socket.on('close', () => open.delete(socket));
    return socket;
  };

  // half-open: one side may have ended what it sends and still read
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    track(client);
    client.on('error', () => {});
    if (shape.offline) {
      client.resetAndDestroy();
      return;
    }
    const upstream = track(connect({ ...target, allowHalfOpen: true }));
    // A real connection takes a round trip before the first byte can be sent; on loopback it takes none.
    const handshake = clock.now() + shape.up.delayMs + shape.down.delayMs;
    const count = (direction: 'up' | 'down') => (bytes: number) => {
      sent[direction] += bytes;
    };
    const stopUp = carry(client, upstream, links.up, clock, count('up'), handshake);
    const stopDown = carry(upstream, client, links.down, clock, count('down'), 0);
    const cut = () => {
      stopUp();
      stopDown();
      // A reset, which no side can take for an orderly end.
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    };
    upstream.on('error', cut);
    client.on('close', () => {
      if (!client.readableEnded || client.errored !== null) cut();
    });
    upstream.on('close', () => {
      if (!upstream.readableEnded) cut();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve());
  });
  return {
    port: (server.address() as AddressInfo).port,
    sent,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.resetAndDestroy();
      }),
  };
}

/** Takes what `from` sends to `to`, piece by piece at the link's pace. @returns a function that stops it */
function carry(
  from: Socket,
  to: Socket,
  link: ShapedLink,
  clock: Clock,
  count: (bytes: number) => void,
  connected: number,
): () => void {
  // One queue and one timer, so that nothing overtakes; null is the end.
  const queue: Array<{ arrives: number; piece: Buffer | null }> = [];
  let waiting = 0;
  let lastArrival = 0;
  let isTimed = false;

  const deliver = () => {
    isTimed = false;
    while (queue.length > 0 && queue[0]!.arrives - clock.now() < TIMER_MS / 2) {
      const { piece } = queue.shift()!;
      if (!to.writable) continue;
      if (piece === null) to.end();
      else to.write(piece);
      waiting -= piece?.length ?? 0;
    }
    if (from.isPaused() && waiting < QUEUE_BYTES / 2) from.resume();
    arm();
  };
  const arm = () => {
    if (isTimed || queue.length === 0) return;
    isTimed = true;
    cancel = clock.timer(Math.max(0, queue[0]!.arrives - clock.now()), deliver);
  };
  const send = (bytes: Buffer | null) => {
    for (let i = 0; bytes !== null && i < bytes.length; i += link.pieceBytes) {
      const piece = bytes.subarray(i, i + link.pieceBytes);
      lastArrival = link.send(piece.length, lastArrival);
      queue.push({ arrives: lastArrival, piece });
    }
    if (bytes === null) queue.push({ arrives: lastArrival, piece: null });
    if (queue[0]!.arrives <= clock.now() && !isTimed) deliver();
    else arm();
  };
  // What comes before the connection stands is not read yet.
  const stand = () => {
    from.on('data', (bytes: Buffer) => {
      count(bytes.length);
      waiting += bytes.length;
      if (waiting >= QUEUE_BYTES) from.pause();
      send(bytes);
    });
    from.on('end', () => send(null));
  };
  let cancel = () => {};
  if (clock.now() >= connected) stand();
  else cancel = clock.timer(connected - clock.now(), stand);
  return () => {
    cancel();
    queue.length = 0;
  };
}
