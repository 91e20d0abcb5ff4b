/** The work and the words of `crayon measure-pool`; loaded only when it runs, because it loads a tensor library. */

import { loadDataset, noExamples } from '../data/dataset.js';
import { openBase } from '../gguf/base.js';
import { releaseBackend } from '../model/backend.js';
import { measurePool } from '../pool/measure.js';
import type { BackendFlag, DataFlags } from './options.js';
import type { Terminal } from './terminal.js';

export interface MeasurePoolFlags extends DataFlags, BackendFlag {
  pool: string;
  model: string;
  anyBase: boolean;
}

export async function runMeasurePool(flags: MeasurePoolFlags, terminal: Terminal): Promise<void> {
  const { pool, anyBase, backend } = flags;
  const source = openBase(flags.model);
  try {
    const examples = flags.data.flatMap((path) => loadDataset(path, flags).examples);
    if (examples.length === 0) throw noExamples(flags.data);
    const onBackend = (name: string) => terminal.note(`Back end: ${name}`);
    const standards = await terminal.during(({ update }) =>
      measurePool(pool, source, examples, {
        anyBase,
        forward: { backend, onBackend },
        onProgress: (done, total) => update('score', done, total),
      }),
    );
    const { similarity, loss } = standards;
    terminal.document({ pool, ...standards });
    const cosine = similarity!.mean;
    terminal.table(
      ['n', 'mean cosine', 'loss', 'its deviation'],
      loss!.mean.map((x, n) =>
        [n, cosine[n]!, x, loss!.deviation[n]!].map((v, i) => (i === 0 ? `${v}` : v.toFixed(3))),
      ),
      ['right', 'right', 'right', 'right'],
    );
    terminal.print(`${terminal.colour.green('Written:')} ${pool} (${loss!.examples} examples)`);
  } finally {
    source.close();
    releaseBackend();
  }
}
