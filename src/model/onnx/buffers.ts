/** Arrays that are used again and again, each as large as the largest use of it so far: a training's memory is then what it says. */

export class Buffers {
  readonly #arrays = new Map<string, Float32Array>();

  /** An array of some length, whatever it held before. */
  take(name: string, length: number): Float32Array {
    let array = this.#arrays.get(name);
    if (array === undefined || array.length < length) {
      this.#arrays.delete(name); // the old one may go before the new one is made
      array = new Float32Array(length);
      this.#arrays.set(name, array);
    }
    return array.subarray(0, length);
  }

  clear(): void {
    this.#arrays.clear();
  }
}
