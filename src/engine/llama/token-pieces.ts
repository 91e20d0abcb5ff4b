/**
 * What each token of a vocabulary is as text, in bytes: one token may be a part of a character, which llama.cpp's own
 * detokenizer would show as U+FFFD.
 */

const SPACE = '▁';
const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;
const NOTHING = new Uint8Array();
const utf8 = new TextEncoder();

/** What llama.cpp knows of a token (llama_token_attr). */
export type TokenKind = 'normal' | 'byte' | 'user-defined' | 'control' | 'unused';

export interface TokenPieces {
  /** bytes of the token's text; empty for control tokens and unused ones, as where llama.cpp detokenizes an answer */
  bytes(id: number): Uint8Array;
  /** bytes of what names the token in lists of likely tokens: control tokens by their name */
  nameBytes(id: number): Uint8Array;
}

/**
 * @param model `gpt2`: byte-level BPE, whose texts spell bytes as letters; anything else: SentencePiece's
 * @param texts of each token, by id
 */
export function tokenPieces(model: string, texts: readonly string[], kind: (id: number) => TokenKind): TokenPieces {
  const letters = model === 'gpt2' ? byteLetters() : null;
  const known = new Map<number, Uint8Array>();
  const piece = (id: number): Uint8Array => {
    const text = texts[id] ?? '';
    const what = kind(id);
    if (what === 'unused') return NOTHING;
    if (what === 'control' || what === 'user-defined') return utf8.encode(text);
    if (letters !== null) return Uint8Array.from([...text].flatMap((letter) => letters.get(letter) ?? encode(letter)));
    const byte = what === 'byte' ? BYTE_TOKEN.exec(text)?.[1] : undefined;
    return byte === undefined ? utf8.encode(text.replaceAll(SPACE, ' ')) : Uint8Array.of(Number.parseInt(byte, 16));
  };
  const nameBytes = (id: number): Uint8Array => {
    const found = known.get(id);
    if (found !== undefined) return found;
    const bytes = piece(id);
    known.set(id, bytes);
    return bytes;
  };
  return { nameBytes, bytes: (id) => (kind(id) === 'control' ? NOTHING : nameBytes(id)) };
}

/** Letters of no byte appear in damaged vocabularies only. */
const encode = (letter: string): number[] => [...utf8.encode(letter)];

/** GPT-2's bytes_to_unicode, turned round: printable bytes are themselves, the others letters from U+0100 on. */
function byteLetters(): Map<string, number> {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const letters = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) letters.set(String.fromCodePoint(isPrintable(byte) ? byte : next++), byte);
  return letters;
}
