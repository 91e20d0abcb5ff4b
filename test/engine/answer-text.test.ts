/** What of an answer may be shown: nothing of a stop text, whole characters. */

import { describe, expect, it } from 'vitest';
import { AnswerText } from '../../src/engine/answer-text.js';

const utf8 = (text: string) => new TextEncoder().encode(text);
const answer = (stop: string[] = [], dropLeadingSpace = false) => new AnswerText(stop, dropLeadingSpace);

describe('AnswerText', () => {
  it('shows whole characters only', () => {
    const text = answer();
    const shown = [...utf8('aé🙂')].map((byte) => text.push(Uint8Array.of(byte)));
    expect(shown).toEqual(['a', '', 'é', '', '', '', '🙂']);
    expect(text.end()).toBe('');
  });

  it('shows half a character as U+FFFD when nothing more comes', () => {
    const text = answer();
    expect(text.push(utf8('🙂').subarray(0, 2))).toBe('');
    expect(text.end()).toBe('\uFFFD');
    expect(answer().push(Uint8Array.of(0xff, 0x61))).toBe('\uFFFDa');
  });

  it('leaves out one leading space where it is no part of the answer', () => {
    const text = answer([], true);
    expect([text.push(utf8('')), text.push(utf8(' ')), text.push(utf8(' a'))].join('|')).toBe('|| a');
    expect(answer([], true).push(utf8('a b'))).toBe('a b');
  });

  it('holds back the beginning of a stop text, and gives it back when another one follows', () => {
    const text = answer(['END', 'ENVIRONS']);
    expect(text.push(utf8('the EN'))).toBe('the ');
    expect(text.push(utf8('V'))).toBe('');
    expect(text.push(utf8('Y EN'))).toBe('ENVY ');
    expect(text.end()).toBe('EN');
    expect(text.stopped).toBe(false);
  });

  it('ends before the first stop text to appear, across tokens and within one', () => {
    const text = answer(['\n\n', 'b']);
    expect(text.push(utf8('a\n'))).toBe('a');
    expect(text.push(utf8('\nb'))).toBe('');
    expect(text.stopped).toBe(true);
    expect(text.push(utf8('more'))).toBe('');
    expect(text.end()).toBe('');
    expect(answer(['c', 'bc']).push(utf8('abcd'))).toBe('a');
  });

  it('knows a stop text that begins within its own beginning', () => {
    const text = answer(['aab']);
    expect(text.push(utf8('a')) + text.push(utf8('a')) + text.push(utf8('a'))).toBe('a');
    expect(text.push(utf8('b'))).toBe('');
    expect(text.stopped).toBe(true);
  });

  it('takes an empty stop text for none', () => {
    expect(answer(['']).push(utf8('abc'))).toBe('abc');
  });
});
