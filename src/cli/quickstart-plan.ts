/** What the quickstart builds and whom it plays; chosen by the experiments in docs/experiments.md. */

import { BUILD_DEFAULTS } from '../pool/options.js';

export interface User {
  name: string;
  /** for the table */
  title: string;
  /** tasks of the suite that the user's examples and test come from, in equal parts */
  tasks: string[];
}

/** The training set, below the package's own suite/. */
export const TRAIN_FILE = 'quickstart.yaml';

export const POOL_SETTINGS = {
  ...BUILD_DEFAULTS,
  clusters: 6,
  embedding: 'tfidf',
  r: 4,
  checkpointSeconds: 15,
  training: { ...BUILD_DEFAULTS.training, epochs: 2, batchSize: 32, learningRate: 1e-2, loraAlpha: 8 },
};

export const USERS: User[] = [
  { name: 'seen', title: 'A task the pool has seen', tasks: ['route-bank'] },
  { name: 'mixed', title: 'A mixture of two of its tasks', tasks: ['route-farm', 'intent'] },
  { name: 'unseen', title: 'An unseen task of a kind it has', tasks: ['route-clinic'] },
];
