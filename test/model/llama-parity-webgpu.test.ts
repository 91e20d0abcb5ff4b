import { describe, it, vi } from 'vitest';
import { findSwiftShader } from '../../scripts/find-swiftshader.js';
import { chooseBackend } from '../../src/model/backend.js';
import { paritySuite } from '../helpers/parity-suite.js';

vi.setConfig({ testTimeout: 300_000 }); // the software adapter is slow

const software = findSwiftShader();
if (software !== null) process.env.VK_DRIVER_FILES ??= software;

const webgpu = await chooseBackend('webgpu').catch(() => undefined);

if (webgpu === undefined) {
  describe('WebGPU', () => {
    it.skip('finds no adapter here: docs/webgpu-testing.md says how to install a software one', () => {});
  });
} else {
  paritySuite('webgpu');
}
