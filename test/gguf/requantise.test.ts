/** A GGUF stored anew: what crayon makes of its own exact export is what it makes of the directory, byte for byte. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exportModelGguf } from '../../src/gguf/model.js';
import { GgufFile } from '../../src/gguf/read.js';
import { errorOf, temporaryDir } from '../helpers/files.js';
import { ROOT } from '../helpers/fixtures.js';
import { ggufModel, ggufPath, stringEntry, uintEntry } from '../helpers/gguf.js';

const EDGE = join(ROOT, 'models', 'crayon-edge');

describe('a GGUF stored anew', { tags: 'slow' }, () => {
  it('is the file that its directory gives, and from a quantised one only when allowed', { timeout: 180_000 }, () => {
    const dir = temporaryDir();
    const [full, again, direct] = ['full', 'again', 'direct'].map((name) => join(dir, `${name}.gguf`)) as [
      string,
      string,
      string,
    ];
    exportModelGguf({ model: EDGE, out: full, type: 'F32' });
    const result = exportModelGguf({ model: full, out: again, type: 'Q4_K_M' });
    expect(result).toEqual(exportModelGguf({ model: EDGE, out: direct, type: 'Q4_K_M' }));
    const [a, b] = [GgufFile.open(again), GgufFile.open(direct)];
    expect([...a.tensors]).toEqual([...b.tensors]);
    expect([...a.metadata]).toEqual([...b.metadata]);
    for (const name of a.tensors.keys()) expect(Buffer.from(a.readBytes(name)).equals(b.readBytes(name))).toBe(true);
    a.close();
    b.close();

    const twice = join(dir, 'twice.gguf');
    const options = { model: again, out: twice, type: 'Q8_0' } as const;
    expect(errorOf(() => exportModelGguf(options))).toMatchObject({
      code: 'bad-option',
      message: expect.stringMatching(/is quantised already, as Q\d_[01K], expected Q8_0/),
    });
    const { types } = exportModelGguf({ ...options, allowRequantize: true });
    expect(types).toEqual({ F32: 11, Q8_0: 36 });
    const same = exportModelGguf({ model: again, out: twice, type: 'Q4_K_M', force: true }); // nothing is quantised twice
    expect(same.types).toEqual(result.types);
    expect(readFileSync(twice)).toEqual(readFileSync(again));
  });

  it('is refused where the rules are not known', () => {
    const of = (architecture: string, ...more: Buffer[]) =>
      ggufPath(ggufModel([stringEntry('general.architecture', architecture), ...more], []));
    const out = join(temporaryDir(), 'out.gguf');
    const refused = (model: string) => errorOf(() => exportModelGguf({ model, out, type: 'Q4_0' }));
    expect(refused(of('falcon'))).toMatchObject({
      code: 'gguf-unsupported',
      message: expect.stringContaining('falcon'),
    });
    expect(refused(of('llama', uintEntry('llama.expert_count', 8)))).toMatchObject({
      code: 'gguf-unsupported',
      message: expect.stringContaining('experts'),
    });
    expect(refused(of('llama'))).toMatchObject({ code: 'gguf-invalid' });
  });
});
