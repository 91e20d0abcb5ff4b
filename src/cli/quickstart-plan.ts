/** What the quickstart builds and whom it plays; chosen by the experiments in docs/experiments.md. */

import { BUILD_DEFAULTS } from '../pool/build-options.js';

export interface User {
  name: string;
  /** for the table */
  title: string;
  /** tasks of the suite that the user's examples and test come from, in equal parts */
  tasks: string[];
}

export const POOL_SETTINGS = {
  ...BUILD_DEFAULTS,
  clusters: 16,
  embedding: 'tfidf',
  r: 4,
  checkpointSeconds: 15,
  training: { ...BUILD_DEFAULTS.training, epochs: 2, batchSize: 32, learningRate: 5e-3, loraAlpha: 8 },
};

export const USERS: User[] = [
  { name: 'seen', title: 'A task the pool has seen', tasks: ['route-bank'] },
  { name: 'mixed', title: 'A mixture of two tasks', tasks: ['route-farm', 'intent'] },
  { name: 'unseen', title: 'An unseen task of a kind it has', tasks: ['list-last'] },
];
