/** Models as they are: the base model, and a larger one in its place. */

import { plain, type Strategy } from './strategy.js';

export const base: Strategy = {
  name: 'base',
  title: 'Base model',
  looksAtExamples: false,
  pools: () => [],
  customise: async (_cell, _user, context) => plain(context.base),
};

export const server: Strategy = {
  name: 'server',
  title: 'Server only',
  looksAtExamples: false,
  pools: () => [],
  customise: async (_cell, _user, context) => plain(context.server()),
};
