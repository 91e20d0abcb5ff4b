import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { RecordLog, refuseOtherRun } from '../../src/files/resume.js';
import { errorOf, temporaryDir } from '../helpers/files.js';

describe('refuseOtherRun', () => {
  const before = { seed: 0, users: [{ name: 'u', k: 3 }], pool: { tau: 0.1, dir: undefined }, rates: [null] };

  it('lets the same settings go on, in whatever order their keys were written', () => {
    const now = { pool: { tau: 0.1 }, users: [{ k: 3, name: 'u' }], seed: 0, rates: [Number.POSITIVE_INFINITY] };
    expect(() => refuseOtherRun('run', before, now, 'Choose another.')).not.toThrow();
  });

  it('names every setting that differs, with both values where they are short', () => {
    const error = errorOf(() => refuseOtherRun('run', before, { ...before, seed: 7, pool: { tau: 0.2 } }, 'Choose.'));
    expect(error).toMatchObject({ code: 'checkpoint-mismatch', hint: 'Choose.' });
    expect(error.message).toBe('run: left by a run with another seed (0, now 7), pool.tau (0.1, now 0.2)');
    const users = [
      { name: 'u', k: 3 },
      { name: 'another user', k: 50 },
    ];
    expect(errorOf(() => refuseOtherRun('run', before, { ...before, users }, '')).message).toMatch(/another users$/);
  });
});

const FINGERPRINT = { model: 'm', data: ['d1'] };

describe('RecordLog', () => {
  let path: string;
  beforeEach(() => {
    path = join(temporaryDir(), 'records.jsonl');
  });

  it('gives a later run what earlier ones have written', () => {
    const first = new RecordLog(path, FINGERPRINT);
    expect(first.earlier).toEqual([]);
    first.append({ id: 'a' });
    const second = new RecordLog(path, FINGERPRINT);
    second.append({ id: 'b' });
    expect(new RecordLog(path, FINGERPRINT).earlier).toEqual([{ id: 'a' }, { id: 'b' }]);
    expect(new RecordLog(path, FINGERPRINT, { fresh: true }).earlier).toEqual([]);
  });

  it('loses nothing that another process adds while it is opened', () => {
    const first = new RecordLog(path, FINGERPRINT);
    first.append({ id: 'a' });
    const inode = statSync(path).ino;
    new RecordLog(path, FINGERPRINT).append({ id: 'b' });
    first.append({ id: 'c' });
    expect(statSync(path).ino).toBe(inode); // not replaced, so no instant for a record to fall between
    expect(new RecordLog(path, FINGERPRINT).earlier).toEqual([{ id: 'a' }, { id: 'b' }, { id: 'c' }]);
  });

  it('drops a line that was cut short, and goes on after the ones before it', () => {
    new RecordLog(path, FINGERPRINT).append({ id: 'a' });
    appendFileSync(path, '{"id":"b","sco');
    const log = new RecordLog(path, FINGERPRINT);
    expect(log.earlier).toEqual([{ id: 'a' }]);
    log.append({ id: 'c' });
    expect(new RecordLog(path, FINGERPRINT).earlier).toEqual([{ id: 'a' }, { id: 'c' }]);
  });

  it('refuses records of other inputs, naming them, and leaves them as they are', () => {
    new RecordLog(path, FINGERPRINT).append({ id: 'a' });
    const before = readFileSync(path, 'utf8');
    expect(() => new RecordLog(path, { model: 'm', data: ['d2'], limit: 3 })).toThrow(
      expect.objectContaining({
        code: 'checkpoint-mismatch',
        message: expect.stringContaining('data (["d1"], now ["d2"]), limit (none, now 3)'),
      }),
    );
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  it.each(['not json\n', '[1]\n', '{"model":"m","data":["d1"]}\nnot json\n'])(
    'refuses a file of another kind: %j',
    (content) => {
      writeFileSync(path, content);
      expect(() => new RecordLog(path, FINGERPRINT)).toThrow(expect.objectContaining({ code: 'json-invalid' }));
      expect(readFileSync(path, 'utf8')).toBe(content);
    },
  );
});
