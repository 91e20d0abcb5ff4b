/**
 * Does embedding the rendered conversation or its contents alone group tasks better? Crayon's own k-means on real task sets,
 * one cluster a task; purity against the tasks, and silhouette, over seeds.
 *
 * npx tsx benchmarks/prompt-form-embedding.ts --model <gguf> --data <folder with o-lora/ and llm-adapters/>
 */
import { parseArgs } from 'node:util';
import { createRandom } from '../src/core/random.js';
import { meanRows } from '../src/core/vector.js';
import { loadDataset } from '../src/data/dataset.js';
import { openBase } from '../src/gguf/base.js';
import { chooseBackend } from '../src/model/backend.js';
import { cosineSilhouette } from '../src/pool/cluster.js';
import { firstAttentionEmbedder } from '../src/pool/embed/kinds/first-attention.js';
import { inverseDocumentFrequencies, tfidfRows } from '../src/pool/embed/kinds/tfidf.js';
import { centreRows } from '../src/pool/embed/space.js';
import { sphericalKMeans } from '../src/pool/kmeans.js';
import { densePoints, type Points, sparsePoints } from '../src/pool/points.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    data: { type: 'string', default: '../shared/data' },
    limit: { type: 'string', default: '40' },
    seeds: { type: 'string', default: '5' },
  },
});
const TASKS = [
  ...['agnews', 'dbpedia', 'sst2', 'rte', 'qqp', 'wic', 'copa', 'boolqa'].map((name) => ['o-lora', name] as const),
  ...['arc-easy', 'piqa', 'winogrande', 'social-iqa', 'gsm8k', 'aqua'].map((name) => ['llm-adapters', name] as const),
];
const SPLITS = ['train', 'test', 'validation'];

await chooseBackend('auto');
const source = openBase(values.model!, { someWeights: true });
const tokenizer = source.tokenizer();
const embedder = firstAttentionEmbedder(source);
const seeds = Number(values.seeds);
const found = new Map<string, { purity: number[]; silhouette: number[] }>();
for (let seed = 0; seed < seeds; seed++) {
  const examples = TASKS.flatMap(([suite, name]) => {
    for (const split of SPLITS) {
      try {
        const options = { dataDir: values.data, split, limit: Number(values.limit), seed };
        return loadDataset(`configs/tasks/${suite}-${name}.yaml`, options).examples.map(({ prompt }) => ({
          task: name,
          prompt: prompt.trimEnd(),
        }));
      } catch {}
    }
    throw new Error(`${suite} ${name}: no split`);
  });
  createRandom(seed, 'order').shuffle(examples);
  const render = (prompt: string) => tokenizer.renderChat!([{ role: 'user', content: prompt }]);
  const forms = {
    rendered: examples.map(({ prompt }) => Int32Array.from(tokenizer.encode(render(prompt), { addBos: false }))),
    contents: examples.map(({ prompt }) => Int32Array.from(tokenizer.encode(prompt, { addBos: false }))),
  };
  const k = TASKS.length;
  for (const [form, sequences] of Object.entries(forms)) {
    const kinds: Record<string, () => Points> = {
      'first-attention, centred': () => attention(sequences, true),
      'first-attention': () => attention(sequences, false),
      tfidf: () => sparsePoints(tfidfRows(sequences, inverseDocumentFrequencies(sequences, tokenizer.vocabSize))),
    };
    for (const [kind, make] of Object.entries(kinds)) {
      const points = make();
      const { assignment } = sphericalKMeans(points, { k, seed });
      const entry = found.get(`${kind} | ${form}`) ?? { purity: [], silhouette: [] };
      entry.purity.push(
        purity(
          assignment,
          examples.map(({ task }) => task),
          k,
        ),
      );
      entry.silhouette.push(cosineSilhouette(points, assignment, k));
      found.set(`${kind} | ${form}`, entry);
      points.dispose();
    }
  }
}
source.close();
for (const [name, { purity, silhouette }] of found) {
  const all = (xs: number[]) =>
    `${(xs.reduce((a, b) => a + b) / xs.length).toFixed(3)} (${xs.map((x) => x.toFixed(3)).join(' ')})`;
  console.log(`${name} | purity ${all(purity)} | silhouette ${all(silhouette)}`);
}

function attention(sequences: readonly Int32Array[], centred: boolean): Points {
  const { d, embed } = embedder;
  const rows = embed(sequences);
  if (centred) centreRows(rows, Float32Array.from(meanRows(rows, sequences.length, d)));
  return densePoints(rows, sequences.length, d);
}

/** Share of the examples that belong to the commonest task of their cluster. */
function purity(assignment: Int32Array, tasks: readonly string[], k: number): number {
  let right = 0;
  for (let c = 0; c < k; c++) {
    const counts = new Map<string, number>();
    for (const [i, task] of tasks.entries()) if (assignment[i] === c) counts.set(task, (counts.get(task) ?? 0) + 1);
    right += Math.max(0, ...counts.values());
  }
  return right / tasks.length;
}
