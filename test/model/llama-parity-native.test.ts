import { describe, it } from 'vitest';
import { chooseBackend } from '../../src/model/backend.js';
import { paritySuite } from '../helpers/parity-suite.js';

const native = await chooseBackend('node-gpu')
  .catch(() => chooseBackend('node'))
  .catch(() => undefined);

if (native === undefined) {
  describe('native TensorFlow', () => {
    it.skip('is not installed here: run scripts/link-libtensorflow.ts to check it', () => {});
  });
} else {
  paritySuite(native.name);
}
