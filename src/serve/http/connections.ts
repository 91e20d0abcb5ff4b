/**
 * Room for whoever asks: at the limit of connections a new one takes the place of the one that has been silent for longest, so that a
 * thousand clients that say nothing shut nobody out.
 */

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Keeps a server's connections below a number.
 *
 * The first to go is the connection that has waited longest without a request under way (none yet, one that is not complete, or
 * one that is answered); where all have one, that whose body is awaited longest; one that is being answered never. Where all are
 * being answered a new connection is closed at once.
 */
export function limitConnections(server: Server, most: number): void {
  // Sets keep the order in which sockets came to the state they are in.
  const waiting = new Set<Socket>();
  const reading = new Set<Socket>();
  const answering = new Set<Socket>();
  const states = [waiting, reading, answering];
  const move = (socket: Socket, to: Set<Socket>): void => {
    if (!states.some((state) => state.delete(socket))) return; // closed meanwhile
    to.add(socket);
  };

  server.on('connection', (socket: Socket) => {
    if (states.reduce((sum, { size }) => sum + size, 0) >= most) {
      const [oldest] = waiting.size > 0 ? waiting : reading;
      if (oldest === undefined) {
        socket.destroy();
        return;
      }
      for (const state of states) state.delete(oldest);
      oldest.destroy();
    }
    waiting.add(socket);
    socket.once('close', () => {
      for (const state of states) state.delete(socket);
    });
  });
  // Before all other listeners, which may answer at once.
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    move(socket, request.complete ? answering : reading);
    const begin = (): void => move(socket, answering);
    request.once('end', begin);
    response.once('close', () => {
      // A request that nobody read, as those without a body, ends after its answer.
      request.off('end', begin);
      move(socket, waiting);
    });
  });
}
