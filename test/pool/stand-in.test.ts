import { describe, expect, it } from 'vitest';
import { openPool } from '../../src/pool/pool.js';
import { standIn } from '../../src/pool/stand-in.js';

describe('standIn', () => {
  it('has the shape of its pool’s members in its own rank, and no weights', () => {
    const [adapter] = openPool('models/crayon-edge-pool').openMembers();
    const other = standIn({ dir: 'adapters/7', r: 2, loraAlpha: 8 }, adapter!);
    adapter!.close();
    expect(other.modules.map(({ name, in: a, out }) => [name, a, out])).toEqual(
      adapter!.modules.map(({ name, in: a, out }) => [name, a, out]),
    );
    expect(other.modules[0]).toMatchObject({ r: 2, scale: 4 });
    expect(other.config).toMatchObject({ r: 2, loraAlpha: 8, targetModules: adapter!.config.targetModules });
    expect(() => other.readA(other.modules[0]!)).toThrow(/adapters\/7 was not fetched/);
  });
});
