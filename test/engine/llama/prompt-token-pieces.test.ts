import { describe, expect, it } from 'vitest';
import { renderPlain } from '../../../src/core/chat.js';
import { type TokenKind, tokenPieces } from '../../../src/engine/llama/prompt.js';

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

describe('tokenPieces', () => {
  it('reads byte-level letters, of each byte', () => {
    const pieces = tokenPieces('gpt2', ['Ġthe', 'Ċ', 'Ã©', 'Ń', '<s>', 'a b', '[PAD]'], (id): TokenKind => {
      return id === 4 ? 'control' : id === 5 ? 'user-defined' : id === 6 ? 'unused' : 'normal';
    });
    expect([0, 1, 5].map((id) => text(pieces.bytes(id)))).toEqual([' the', '\n', 'a b']);
    expect([...pieces.bytes(2)]).toEqual([...Buffer.from('é')]);
    expect([...pieces.bytes(3)]).toEqual([0xad]); // the soft hyphen is not printable
    expect(pieces.bytes(4)).toHaveLength(0);
    expect(text(pieces.nameBytes(4))).toBe('<s>');
    expect(pieces.nameBytes(6)).toHaveLength(0);
    expect(pieces.bytes(99)).toHaveLength(0);
  });

  it('reads SentencePiece pieces and byte tokens', () => {
    const pieces = tokenPieces('llama', ['▁the', '<0x0A>', '<0xF0>', '<0x0B>', '</s>'], (id): TokenKind => {
      return id === 1 || id === 2 ? 'byte' : id === 4 ? 'control' : 'normal';
    });
    expect(text(pieces.bytes(0))).toBe(' the');
    expect([...pieces.bytes(1), ...pieces.bytes(2)]).toEqual([10, 0xf0]);
    expect(text(pieces.bytes(3))).toBe('<0x0B>'); // a text that looks like a byte token
    expect(pieces.bytes(4)).toHaveLength(0);
  });
});

it('renders a conversation of a model without a template', () => {
  const messages = ['You are kind.', 'Hello ', 'there \n'].map((content) => ({ role: 'user', content }));
  expect(renderPlain(messages)).toBe('You are kind.\nHello \nthere');
  expect(renderPlain([])).toBe('');
});
