import { describe, it } from 'vitest';
import { chooseBackend } from '../../src/model/backend.js';
import { paritySuite } from '../helpers/parity-suite.js';

const webgpu = await chooseBackend('webgpu').catch(() => undefined);

if (webgpu === undefined) {
  describe('WebGPU', () => {
    it.skip('finds no adapter here: docs/webgpu-testing.md says how to install a software one', () => {});
  });
} else {
  paritySuite('webgpu');
}
