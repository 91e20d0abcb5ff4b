/** The work and the words of `crayon pool`; loaded only when it runs. */

import { basename, resolve } from 'node:path';
import { remakeBlend } from '../blend/remake.js';
import { CrayonError } from '../core/errors.js';
import { formatCount } from '../core/format.js';
import { type DatasetOptions, type Example, loadDataset } from '../data/dataset.js';
import { openBase } from '../gguf/base.js';
import type { BaseModel } from '../hf/base-model.js';
import type { PromptFormName } from '../hf/prompt-form.js';
import { chooseBackend, releaseBackend } from '../model/backend.js';
import { rememberedBase } from '../pool/base-place.js';
import { type AdapterToAdd, addToPool, beginPool, type PoolChanged } from '../pool/life/add.js';
import { lifeOf } from '../pool/life/record.js';
import { mergePools, removeFromPool } from '../pool/life/remove.js';
import { retrainCluster, updateCluster } from '../pool/life/update.js';
import { isPoolDirectory, openPool, type PoolManifest } from '../pool/pool.js';
import type { BackendFlag } from './options.js';
import { stopSignal } from './stop-signal.js';
import type { Terminal } from './terminal.js';

export interface PoolFlags extends DatasetOptions, BackendFlag {
  model?: string;
  examples?: string[];
  probes?: string[];
  anyBase: boolean;
  embedding: string;
  centred: boolean;
  tau: number;
  promptForm?: PromptFormName;
  system?: string;
  force: boolean;
  cluster: number;
  data?: string[];
  adapter?: string;
  epochs?: number;
  learningRate?: number;
  out: string;
  seed: number;
}

type Run = (args: string[], flags: PoolFlags, terminal: Terminal) => Promise<void>;

const read = (paths: readonly string[] | undefined, flags: PoolFlags): Example[] | null =>
  paths === undefined ? null : paths.flatMap((path) => loadDataset(path, flags).examples);

/** Opens a pool's base model, and leaves the back end as it was. */
async function withBase<T>(path: string, use: (source: BaseModel) => Promise<T>): Promise<T> {
  const source = openBase(path);
  try {
    return await use(source);
  } finally {
    source.close();
    releaseBackend();
  }
}

function baseOf(pool: string, { model }: PoolFlags): string {
  if (model !== undefined) return model;
  const { base } = openPool(pool).manifest;
  return rememberedBase(base) ?? base.name;
}

const partsOf = (
  flags: PoolFlags,
  terminal: Terminal,
  update: (stage: string, done: number, total: number) => void,
) => ({
  probes: read(flags.probes, flags) ?? undefined,
  anyBase: flags.anyBase,
  forward: { backend: flags.backend, onBackend: (name: string) => terminal.note(`Back end: ${name}`) },
  onProgress: (done: number, total: number) => update('read', done, total),
});

const add: Run = async ([pool, dir], flags, terminal) => {
  const changed = await withBase(baseOf(pool!, flags), (source) =>
    terminal.during(({ update }) =>
      addToPool(
        pool!,
        source,
        [{ dir: dir!, examples: read(flags.examples, flags) }],
        partsOf(flags, terminal, update),
      ),
    ),
  );
  show(pool!, changed, 'Added', terminal);
};

const importAdapters: Run = async ([pool, ...dirs], flags, terminal) => {
  const added = namedExamples(dirs, flags);
  const goesOn = isPoolDirectory(pool!) && !flags.force;
  if (!goesOn && flags.model === undefined) {
    throw new CrayonError('bad-option', `${pool}: is no pool yet, and a new one needs its base model`, {
      hint: 'Give --model PATH: the base model that the adapters were trained on.',
    });
  }
  const changed = await withBase(goesOn ? baseOf(pool!, flags) : flags.model!, (source) =>
    terminal.during(({ update }) => {
      const parts = partsOf(flags, terminal, update);
      if (goesOn) return addToPool(pool!, source, added, parts);
      const { embedding, centred, tau, promptForm, system, force } = flags;
      return beginPool(pool!, source, added, { ...parts, embedding, centred, tau, promptForm, system, force });
    }),
  );
  show(pool!, changed, 'Imported', terminal);
};

/** @throws CrayonError `bad-option` for a name that is none of the directories */
function namedExamples(dirs: readonly string[], flags: PoolFlags): AdapterToAdd[] {
  const files = new Map<string, string[]>();
  for (const given of flags.examples ?? []) {
    const at = given.indexOf('=');
    const name = given.slice(0, at);
    if (at < 1 || !dirs.some((dir) => basename(resolve(dir)) === name)) {
      throw new CrayonError(
        'bad-option',
        `--examples ${given}: expected NAME=FILE with the name of one of the directories`,
        {
          hint: `Names are ${dirs.map((dir) => basename(resolve(dir))).join(', ')}.`,
        },
      );
    }
    files.set(name, [...(files.get(name) ?? []), given.slice(at + 1)]);
  }
  return dirs.map((dir) => ({ dir, examples: read(files.get(basename(resolve(dir))), flags) }));
}

const update: Run = async ([pool], flags, terminal) => {
  const { cluster, data, adapter, examples } = flags;
  if ((data === undefined) === (adapter === undefined)) {
    throw new CrayonError('bad-option', `cluster ${cluster}: expected either --data or --adapter`, {
      hint: 'Give --data FILE to train on, or --adapter DIR with --examples FILE or --probes FILE.',
    });
  }
  const model = baseOf(pool!, flags);
  const changed = await withBase(model, async (source) => {
    if (data === undefined) {
      const given = { dir: adapter!, examples: read(examples, flags) };
      return terminal.during(({ update }) =>
        updateCluster(pool!, source, cluster, given, partsOf(flags, terminal, update)),
      );
    }
    const { name, detail } = await chooseBackend(flags.backend);
    terminal.note(`Back end: ${name} (${detail})`);
    const stop = stopSignal();
    try {
      return await terminal.during(({ update }) =>
        retrainCluster(
          pool!,
          source,
          cluster,
          read(data, flags)!,
          { ...flags, model, data },
          {
            ...partsOf(flags, terminal, update),
            building: {
              signal: stop.signal,
              onProgress: ({ stage, done, total, note }) => update(stage, done, total, note),
            },
          },
        ),
      );
    } finally {
      stop.release();
    }
  });
  show(pool!, changed, 'Updated', terminal);
};

const remove: Run = async ([pool, ...ids], _, terminal) => {
  const numbers = ids.map((id) => {
    if (/^\d{1,9}$/.test(id)) return Number(id);
    throw new CrayonError('bad-option', `"${id}", expected the number of a cluster`, {
      hint: `See crayon pool list ${pool}.`,
    });
  });
  show(pool!, await removeFromPool(pool!, numbers), 'Removed', terminal);
};

const merge: Run = async ([first, second], { out, force }, terminal) =>
  show(out, mergePools(first!, second!, out, { force }), `Merged into ${out}, of ${second}`, terminal);

const remake: Run = async ([pool, blend], { out, force }, terminal) => {
  const { coefficients, notices } = await remakeBlend({ pool: pool!, blend: blend!, out, force });
  for (const notice of notices) terminal.note(notice);
  const { members } = lifeOf(openPool(pool!).manifest);
  terminal.document({
    pool,
    blend,
    out,
    notices,
    coefficients: members.map(({ id }, n) => ({ id, coefficient: coefficients[n] })),
  });
  terminal.print(`${terminal.colour.green('Written:')} ${out}`);
};

const list: Run = async ([pool], _, terminal) => {
  const { manifest } = openPool(pool!);
  const { version } = lifeOf(manifest);
  terminal.document({ pool, version, clusters: rowsOf(manifest) });
  terminal.print(`${terminal.colour.bold(pool!)}: version ${version}, ${manifest.N} clusters on ${manifest.base.name}`);
  table(manifest, terminal);
};

export const RUN = { add, import: importAdapters, update, remove, merge, remake, list } satisfies Record<string, Run>;

export function runPool(what: keyof typeof RUN, args: string[], flags: PoolFlags, terminal: Terminal): Promise<void> {
  return RUN[what](args, flags, terminal);
}

function rowsOf(manifest: PoolManifest) {
  return lifeOf(manifest).members.map((member, n) => {
    const { size, tasks, similarity } = manifest.clusters[n]!;
    const { r, loraAlpha, sha256 } = manifest.adapters[n]!;
    return { ...member, size, tasks, similarity: similarity.mean, r, loraAlpha, sha256 };
  });
}

function table(manifest: PoolManifest, terminal: Terminal): void {
  terminal.table(
    ['id', 'since', 'changed', 'found by', 'prompts', 'rank', 'what'],
    rowsOf(manifest).map(({ id, since, changed, gate, size, r, source, tasks }) => [
      ...[id, since, changed].map(String),
      gate === 'data' ? 'examples' : 'its adapter',
      formatCount(size),
      String(r),
      source ??
        Object.entries(tasks)
          .slice(0, 3)
          .map(([name, count]) => `${name} ${count}`)
          .join(', '),
    ]),
    ['right', 'right', 'right', 'left', 'right', 'right', 'left'],
  );
}

function show(pool: string, { manifest, ids, notices }: PoolChanged, done: string, terminal: Terminal): void {
  const { version } = lifeOf(manifest);
  for (const notice of notices) terminal.warn(notice);
  terminal.document({ pool, version, ids, notices, clusters: rowsOf(manifest) });
  terminal.print(
    `${terminal.colour.green(done)} ${ids.join(', ')}: ${pool} is now of version ${version}, N = ${manifest.N}`,
  );
  table(manifest, terminal);
}
