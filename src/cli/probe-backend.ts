/** Run by `crayon doctor` in a child process: loads one back end and prints one line of JSON. */

import { chooseBackend, measureMatMul, releaseBackend } from '../model/backend.js';
import type { BackendName } from '../model/names.js';

async function probe(name: BackendName): Promise<void> {
  try {
    const { detail } = await chooseBackend(name);
    const gigaflops = await measureMatMul(512, 1000);
    console.log(JSON.stringify({ name, available: true, detail, gigaflops }));
    releaseBackend();
  } catch (error) {
    const reason = /\(\S+: (.*)\)$/.exec((error as Error).message)?.[1];
    console.log(JSON.stringify({ name, available: false, detail: reason ?? (error as Error).message }));
  }
}

void probe(process.argv.at(-1) as BackendName);
