import { describe, expect, it } from 'vitest';
import { flatOf, listsOf, startsOf } from '../../src/pool/flat-lists.js';

describe('lists laid one behind the other', () => {
  it('come back as they were, empty ones too', () => {
    const lists = [[7, 8, 9], [], [1]];
    const [flat, starts] = [flatOf(lists), startsOf(lists)];
    expect([...flat]).toEqual([7, 8, 9, 1]);
    expect([...starts]).toEqual([0, 3, 3, 4]);
    expect(listsOf(flat, starts).map((list) => [...list])).toEqual(lists);
  });
});
