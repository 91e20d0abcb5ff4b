/**
 * SHA-256 of what is being written, on a thread of its own: hashing takes longer than writing, so doing it in turn would
 * nearly double the time of a `cat` blend.
 *
 * The buffers are shared memory and taken in turn; one may be filled again once the thread has hashed it, and `buffer`
 * waits for that. Waiting blocks the caller: file writing here is synchronous anyway.
 */
import assert from 'node:assert/strict';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';

/** One buffer being filled, one being written, one being hashed. */
const SLOTS = 3;

/** A thread that does not answer for so long is taken for dead. */
const PATIENCE_MS = 60_000;

/** Plain JavaScript as text, so that the thread starts within 20 ms from source and from dist alike, with no loader. */
const THREAD = `
const { workerData } = require('node:worker_threads');
const { createHash } = require('node:crypto');
const { port, slots, done } = workerData;
const hash = createHash('sha256');
port.on('message', ({ slot, bytes, length }) => {
  if (bytes !== undefined) hash.update(bytes);
  else if (slot !== undefined) hash.update(new Uint8Array(slots[slot], 0, length));
  else {
    port.postMessage(hash.digest('hex'));
    port.close();
  }
  Atomics.add(done, 0, 1);
  Atomics.notify(done, 0);
});
`;

export class HashThread {
  private readonly worker: Worker;
  private readonly port;
  private readonly slots: SharedArrayBuffer[];
  /** Messages that the thread has dealt with. */
  private readonly done = new Int32Array(new SharedArrayBuffer(4));
  private sent = 0;
  /** For each slot, how many messages must be done before it is free. */
  private readonly busyUntil = new Array<number>(SLOTS).fill(0);
  private current = 0;

  /** @param largest floats in the largest buffer that will be asked for */
  constructor(largest: number) {
    this.slots = Array.from({ length: SLOTS }, () => new SharedArrayBuffer(largest * 4));
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    this.worker = new Worker(THREAD, {
      eval: true,
      execArgv: [],
      workerData: { port: port2, slots: this.slots, done: this.done },
      transferList: [port2],
    });
    this.worker.unref();
  }

  /** Adds bytes by copy. */
  update(bytes: Uint8Array): void {
    this.send({ bytes });
  }

  /** The next buffer, of `length` floats, once it is free; hand it to `updateBuffer` when it is full. */
  buffer(length: number): Float32Array {
    this.current = (this.current + 1) % SLOTS;
    this.waitFor(this.busyUntil[this.current]!);
    return new Float32Array(this.slots[this.current]!, 0, length);
  }

  /** Adds the buffer last given out. It may still be read by the caller, but no longer changed. */
  updateBuffer({ byteLength }: Float32Array): void {
    this.send({ slot: this.current, length: byteLength });
    this.busyUntil[this.current] = this.sent;
  }

  /** The digest of everything added, as hexadecimal text. */
  digest(): string {
    this.send({});
    this.waitFor(this.sent);
    return receiveMessageOnPort(this.port)!.message as string;
  }

  close(): void {
    this.port.close();
    void this.worker.terminate();
  }

  private send(message: { bytes?: Uint8Array; slot?: number; length?: number }): void {
    this.port.postMessage(message);
    this.sent++;
  }

  private waitFor(count: number): void {
    for (;;) {
      const done = Atomics.load(this.done, 0);
      if (done >= count) return;
      const outcome = Atomics.wait(this.done, 0, done, PATIENCE_MS);
      assert.notEqual(outcome, 'timed-out', 'the hashing thread does not answer');
    }
  }
}
