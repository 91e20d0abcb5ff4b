/**
 * SHA-256 of what is being written, and whether all of it is finite, on a thread of its own: hashing takes longer than writing, so
 * doing it in turn would nearly double the time of a `cat` blend.
 *
 * The buffers are shared memory and taken in turn; one may be filled again once the thread has hashed it, and `buffer`
 * waits for that. Waiting blocks the caller: file writing here is synchronous anyway. The two sides talk through counters in
 * shared memory alone, because a message for each tensor would cost more than it says.
 */
import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';

/** Buffers in the ring; enough to keep the writer going while the thread starts. */
const SLOTS = 6;

/** A thread that does not answer for so long is taken for dead. */
const PATIENCE_MS = 60_000;

/** Places in the shared counters: buffers handed over (negated at the end), buffers hashed, 1 + the first with NaN or infinity, then each slot's length in bytes. */
const SENT = 0;
const DONE = 1;
const BAD = 2;
const LENGTHS = 3;

/** Plain JavaScript as text, so that the thread starts within 20 ms from source and from dist alike, with no loader. */
const THREAD = `
const { createHash } = require('node:crypto');
const { head, slots, counters, result } = require('node:worker_threads').workerData;
const hash = createHash('sha256').update(head);
// as firstNonFinite of core/vector.ts, which a thread of plain text cannot import
const isFinite = (x) => {
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0, i = 0;
  for (; i + 3 < x.length; i += 4) { s0 += x[i]; s1 += x[i + 1]; s2 += x[i + 2]; s3 += x[i + 3]; }
  for (; i < x.length; i++) s0 += x[i];
  return Number.isFinite(s0 + s1 + s2 + s3);
};
for (let done = 0; ; ) {
  const sent = Atomics.load(counters, ${SENT});
  if (sent === done) Atomics.wait(counters, ${SENT}, sent);
  else if (done === ~sent) break;
  else {
    const slot = done % ${SLOTS};
    const bytes = counters[${LENGTHS} + slot];
    hash.update(new Uint8Array(slots[slot], 0, bytes));
    if (counters[${BAD}] === 0 && !isFinite(new Float32Array(slots[slot], 0, bytes / 4))) counters[${BAD}] = done + 1;
    Atomics.store(counters, ${DONE}, ++done);
    Atomics.notify(counters, ${DONE});
  }
}
result.set(hash.digest());
Atomics.add(counters, ${DONE}, 1);
Atomics.notify(counters, ${DONE});
`;

export class HashThread {
  readonly #worker: Worker;
  readonly #slots: SharedArrayBuffer[];
  readonly #counters = new Int32Array(new SharedArrayBuffer((LENGTHS + SLOTS) * 4));
  readonly #result = new Uint8Array(new SharedArrayBuffer(32));
  #sent = 0;

  /**
   * @param head bytes that come first
   * @param largest floats in the largest buffer that will be asked for
   */
  constructor(head: Uint8Array, largest: number) {
    this.#slots = Array.from({ length: SLOTS }, () => new SharedArrayBuffer(largest * 4));
    const slots = this.#slots;
    const counters = this.#counters;
    const result = this.#result;
    this.#worker = new Worker(THREAD, { eval: true, execArgv: [], workerData: { head, slots, counters, result } });
    this.#worker.unref();
  }

  /** The next buffer, of `length` floats, once it is free. Fill it, then call `update`. */
  buffer(length: number): Float32Array {
    this.#waitFor(this.#sent - SLOTS + 1);
    return new Float32Array(this.#slots[this.#sent % SLOTS]!, 0, length);
  }

  /** Adds the buffer last given out. It may still be read by the caller, but no longer changed. */
  update({ byteLength }: Float32Array): void {
    this.#counters[LENGTHS + (this.#sent % SLOTS)] = byteLength;
    this.#sent++;
    this.#publish(this.#sent);
  }

  /** Nothing follows. The digest of everything added, as hexadecimal text, and which buffer was the first with NaN or infinity, or -1. */
  finish(): { digest: string; firstBad: number } {
    this.#publish(~this.#sent);
    this.#waitFor(this.#sent + 1);
    return { digest: Buffer.from(this.#result).toString('hex'), firstBad: Atomics.load(this.#counters, BAD) - 1 };
  }

  close(): void {
    void this.#worker.terminate();
  }

  #publish(sent: number): void {
    Atomics.store(this.#counters, SENT, sent);
    Atomics.notify(this.#counters, SENT);
  }

  #waitFor(count: number): void {
    for (;;) {
      const done = Atomics.load(this.#counters, DONE);
      if (done >= count) return;
      const outcome = Atomics.wait(this.#counters, DONE, done, PATIENCE_MS);
      assert.notEqual(outcome, 'timed-out', 'the hashing thread does not answer');
    }
  }
}
