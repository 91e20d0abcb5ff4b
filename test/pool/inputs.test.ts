import { describe, expect, it } from 'vitest';
import { BUILD_DEFAULTS, settingsOf } from '../../src/pool/inputs.js';

const options = { ...BUILD_DEFAULTS, model: 'm', data: ['d'], dataDir: 'x', split: 'train', limit: 9, out: 'pool' };

describe('the fingerprint of a build', () => {
  it('has the options that the bytes of a pool depend on, in one order', () => {
    const { training, targets } = BUILD_DEFAULTS;
    expect(JSON.stringify(settingsOf(options))).toBe(
      JSON.stringify({
        clusters: 8,
        embedding: 'first-attention',
        centred: true,
        tau: 0.1,
        mode: 'joint',
        r: 8,
        targets,
        long: 'error',
        training,
        evaluationExamples: 64,
        seed: 0,
        split: 'train',
        limit: 9,
      }),
    );
  });

  it('is the same wherever the pool is written, and however often a checkpoint is kept', () => {
    const elsewhere = { out: 'other', model: 'n', data: [], dataDir: 'y', force: true, fresh: true };
    expect(settingsOf({ ...options, ...elsewhere, checkpointSeconds: 1 })).toEqual(settingsOf(options));
    expect(settingsOf({ ...options, maxLength: 64 })).not.toEqual(settingsOf(options));
  });

  it('takes in nothing that only happens to lie beside the options, such as the flags of a command', () => {
    const flags = { ...options, json: true, backend: 'wasm' };
    expect(JSON.stringify(settingsOf(flags))).toBe(JSON.stringify(settingsOf(options)));
  });
});
